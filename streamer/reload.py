"""A config that is read anew while the server runs: what can be taken from it now, and what has to wait for a restart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TypeVar

from pydantic import BaseModel

from .config import Config

M = TypeVar("M", bound=BaseModel)

# Keys that are followed while the server runs.
LIVE = (
    "auth.*", "budget.max_frames", "budget.max_age_ms", "device.min_fps", "device.max_streams", "device.max_busy",
    "device.on_loss", "engine.name", "recording.max_minutes", "recording.max_mb",
    "webrtc.max_sessions*", "webrtc.max_connecting*", "webrtc.max_channels", "webrtc.max_candidates",
    "webrtc.max_offer_lines", "webrtc.max_codecs", "webrtc.handshake_timeout_s", "webrtc.idle_timeout_s", "webrtc.uplink_kbps",
    "streams.*.puppet.*", *(f"streams.*.{key}" for key in ("portrait", "face", "marks", "engine")),
    *(f"streams.*.{key}" for key in (
        "source", "path", "transport", "open_timeout_s", "read_timeout_s", "stale_after_s", "fps", "size",
        "driver_pass")),
)  # fmt: skip
STREAM = re.compile(r"streams\.[^.]+")  # one that comes or goes


def is_live(key: str) -> bool:
    """Whether a key, such as streams.live.portrait, is followed while the server runs."""
    return STREAM.fullmatch(key) is not None or any(fnmatchcase(key, pattern) for pattern in LIVE)


def changes(old: BaseModel, new: BaseModel, at: str = "") -> Iterator[str]:
    """The keys whose values differ; a stream that came or went is one key."""
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, BaseModel) and isinstance(after, BaseModel):
            yield from changes(before, after, f"{at}{name}.")
        elif isinstance(old, Config):
            yield from (f"streams.{key}" for key in sorted(before.keys() ^ after.keys()))
            for key in before.keys() & after.keys():
                yield from changes(before[key], after[key], f"streams.{key}.")
        elif before != after:
            yield f"{at}{name}"


def followed(old: Config, new: Config) -> Config:
    """`old`, with the values of live keys from `new`."""
    return _followed(old, new, "")


def _followed(old: M, new: M, at: str) -> M:
    update = {}
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, BaseModel):
            update[name] = _followed(before, after, f"{at}{name}.")
        elif isinstance(old, Config):
            update[name] = {
                key: _followed(before[key], one, f"streams.{key}.") if key in before else one for key, one in after.items()
            }
        elif before != after and is_live(f"{at}{name}"):
            update[name] = after
    return old.model_copy(update=update)
