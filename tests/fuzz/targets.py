"""All targets by name, their corpus, and a mutator for where nothing guides."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from . import CORPUS, files, packets, texts

MOST = 4096  # bytes of an input; a corpus may have larger ones

TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        texts.offers, texts.answers, texts.fragments, texts.commands, texts.mqtt, texts.yaml_files, texts.configs,
        files.pictures, files.puppets, files.templates, files.identified,
        packets.stun_messages, packets.checks, packets.rtp, packets.rtcp, packets.sctp, packets.sizes, packets.depayloaded,
    )
}  # fmt: skip


def corpus(name: str) -> list[bytes]:
    """The kept inputs of a target, always in the same order."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def mutants(seeds: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """So many inputs that are almost those; the same ones for the same `seed`."""
    rng = random.Random(seed)
    for _ in range(count):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 4)):
            _change(data, seeds, rng)
        yield bytes(data)


def _change(data: bytearray, seeds: list[bytes], rng: random.Random) -> None:
    """Another byte, or a part of some input in the place of a part, of no length or none."""
    at = rng.randrange(len(data) + 1)
    if rng.random() < 0.4 and at < len(data):
        data[at] = rng.choice((rng.randrange(256), data[at] ^ 1 << rng.randrange(8), 0, 255))
        return
    other = rng.choice(seeds)
    begin = rng.randrange(len(other) + 1)
    data[at : at + rng.choice((0, 1, 4, 32))] = other[begin : begin + rng.choice((0, 1, 4, 32))]
