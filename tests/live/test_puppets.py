"""Puppets over HTTP: uploaded like portraits, made of a clip beside a running stream, shown, and fetched."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from pipeline.portrait import DEMO_CLIP, Picture, bundled, pack_puppet, read_portrait
from pipeline.puppetfile import About
from streamer.control import workshop

from ..media import beginning
from ..waiting import LIMIT_S


@pytest.fixture
def small_puppet() -> bytes:
    """Two pictures."""

    portrait = bundled("astronaut")
    return pack_puppet(
        replace(portrait, more=(Picture(portrait.image[:600, :600], portrait.landmarks),)), About("two", label="a puppet")
    )


async def test_a_puppet_is_uploaded_shown_and_fetched_like_a_portrait(server, small_puppet):
    async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http:
        reply = await http.post("/api/portraits", files={"file": ("two.puppet", small_puppet)})
        assert reply.status_code == 201, reply.text
        info = reply.json()
        assert (info["pictures"], info["label"], info["name"]) == (2, "a puppet", "two.puppet")
        assert (await http.get(f"/api/portraits/{info['id']}/image")).headers["content-type"] == "image/jpeg"
        shown = await http.patch("/api/streams/live", json={"portrait": info["id"]})
        assert shown.json()["portrait"] == info["id"]
        back = await http.get(f"/api/portraits/{info['id']}/puppet")
        puppet = read_portrait("back", back.content, server.control.gallery._faces)
        assert np.array_equal(puppet.image, bundled("astronaut").image)
        assert puppet.about.label == "a puppet"


async def test_a_damaged_puppet_is_refused_in_one_line(server, small_puppet):
    async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http:
        reply = await http.post("/api/portraits", files={"file": ("two.puppet", small_puppet[:5000])})
    assert reply.status_code == 422
    assert reply.json()["code"] == "PortraitError"
    assert reply.json()["detail"].startswith("two.puppet: not a puppet, or not whole")


async def ended(http: httpx.AsyncClient, key: str) -> list[dict]:
    """The states of a making until it ends."""
    states: list[dict[str, Any]] = []
    async with asyncio.timeout(120):
        while not states or states[-1]["state"] == "making":
            states.append((await http.get(f"/api/puppets/{key}")).json())
            await asyncio.sleep(0.2)
    return states


async def test_a_clip_becomes_a_puppet_beside_the_stream(server, model, tmp_path):
    beginning(DEMO_CLIP, tmp_path / "clip.mp4", 120)
    async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http:
        reply = await http.post("/api/puppets?name=me&label=for+a+test", content=(tmp_path / "clip.mp4").read_bytes())
        assert reply.status_code == 202, reply.text
        assert reply.json()["state"] == "making"
        second = await http.post("/api/puppets", content=b"x")
        assert second.status_code == 503
        assert "already" in second.json()["detail"]
        states = await ended(http, reply.json()["id"])
        assert (states[-1]["state"], states[-1]["warnings"]) == ("done", []), states[-1]
        assert any(0 < s["done"] <= s["total"] == 120 for s in states)
        portrait = states[-1]["portrait"]
        infos = {info["id"]: info for info in (await http.get("/api/portraits")).json()}
        assert infos[portrait]["pictures"] > 5
        assert (infos[portrait]["name"], infos[portrait]["label"]) == ("me", "for a test")
        assert (await http.patch("/api/streams/live", json={"portrait": portrait})).json()["portrait"] == portrait
        assert (await http.delete(f"/api/puppets/{reply.json()['id']}")).status_code == 204
        assert (await http.get(f"/api/puppets/{reply.json()['id']}")).status_code == 404


async def test_what_is_no_clip_fails_in_words_and_the_next_may_come(server, model):
    async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http:
        for _ in range(2):
            reply = await http.post("/api/puppets?name=me", content=b"no clip at all")
            states = await ended(http, reply.json()["id"])
            assert states[-1]["state"] == "failed"
            assert states[-1]["problem"].startswith("me: ")


async def test_a_making_can_be_ended(server, model):
    async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http:
        reply = await http.post("/api/puppets", content=DEMO_CLIP.read_bytes())
        assert (await http.delete(f"/api/puppets/{reply.json()['id']}")).status_code == 204
        assert (await http.get("/api/puppets")).json() == []
        assert not [info for info in (await http.get("/api/portraits")).json() if not info["bundled"]]


async def test_a_clip_that_is_too_large_is_refused(server, monkeypatch):
    monkeypatch.setattr(workshop, "MAX_CLIP", 1000)
    async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http:
        reply = await http.post("/api/puppets", content=b"x" * 5000)
    assert (reply.status_code, reply.json()["code"]) == (413, "TooLarge")
    assert server.control.workshop.states() == []
