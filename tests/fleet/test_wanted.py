"""What the fleet is to do, while what keeps it is away."""

from __future__ import annotations

import json

import pytest

from streamer.fleet.base import DirectorAway
from streamer.fleet.wanted import Stream, Wanted

PATTERN = Stream({"source": "pattern"})


class Store:
    """kept: what a restart would find. away: whether it answers."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.away = False

    async def read(self) -> dict[str, str]:
        return dict(self.kept)

    async def keep(self, key: str, text: str) -> None:
        self._check()
        self.kept[key] = text

    async def forget(self, key: str) -> None:
        self._check()
        self.kept.pop(key, None)

    def _check(self) -> None:
        if self.away:
            raise OSError("away")

    def settings(self) -> dict[str, dict[str, str]]:
        return {key: json.loads(text)["settings"] for key, text in self.kept.items()}


async def test_a_stream_that_cannot_be_forgotten_now_is_as_it_was():
    store = Store()
    wanted = Wanted(store)
    await wanted.keep("live", PATTERN)
    store.away = True
    with pytest.raises(DirectorAway):
        await wanted.forget("live")
    assert wanted.streams == {"live": PATTERN}
    store.away = False
    store.kept.clear()  # it was on its way all the same
    await wanted.keep("live", PATTERN)
    assert store.settings() == {"stream:live": PATTERN.settings}
    await wanted.forget("live")
    assert (wanted.streams, store.kept) == ({}, {})


async def test_a_stream_that_could_not_begin_is_not_there_later():
    store = Store()
    wanted = Wanted(store)
    store.away = True
    with pytest.raises(DirectorAway):
        await wanted.keep("new", PATTERN)
    await wanted.take_back("new")
    assert wanted.streams == {}
    store.away = False
    store.kept["stream:new"] = json.dumps({"settings": {}, "spec": None})  # it was on its way all the same
    await wanted.keep("live", PATTERN)
    assert store.settings() == {"stream:live": PATTERN.settings}
