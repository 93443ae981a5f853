"""Many servers as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from .section import Section, either, written

Address = Annotated[str, written(r"(|[^\s:/]+:\d{1,5})", "an address with its port is expected, such as 10.0.0.1:6379")]
Slots = Annotated[int, Field(ge=1, le=10_000)]


FIRST, LAST = 10_001, 19_999  # Ray's client server and its workers


def _not_of_ray(port: int) -> int:
    if FIRST <= port <= LAST:
        raise PydanticCustomError("port", f"ports from {FIRST} to {LAST} are kept by Ray for its own processes; choose another")
    return port


class Ray(Section):
    """Ray, which starts the workers and begins them anew. Media never goes through it."""

    address: Address = Field(
        "", description="Address of a Ray cluster that runs already, HOST:PORT. If empty, 'puppetcast fleet up' starts one here."
    )
    port: Annotated[int, AfterValidator(_not_of_ray)] = Field(
        6380, ge=1, le=65535,
        description=f"TCP port of the cluster that is started here. Not {FIRST} to {LAST}, which Ray keeps for its processes.",
    )  # fmt: skip
    redis: Address = Field(
        "",
        description="Address of the Redis server that keeps the fleet's state, HOST:PORT. With it a head that died comes back; "
        "a cluster is not started without it.",
    )
    redis_password: str = Field("", description="Password of that server. One that has none is refused.")
    token_file: Path | None = Field(
        None,
        description="File with the token that Ray's processes ask of each other; made at the first start. Every machine of the "
        "fleet needs the same. If not set, 'ray_token' in the user's data folder.",
    )


class Fleet(Section):
    """Many servers as one: see docs/fleet.md. `puppetcast serve` has no use for it."""

    workers: Annotated[Slots | Literal["auto"], either("a number from 1 to 10000, or 'auto', is expected")] = Field(
        "auto", description="Number of workers. auto: one for each place that there is."
    )
    cores: float = Field(2, gt=0, le=1024, description="Cores that one worker counts on.")
    gpus: float = Field(0, ge=0, le=64, description="GPUs that one worker takes; 0 for workers without.")
    fronts: int = Field(2, ge=1, le=100, description="Number of processes that answer clients and pass requests on.")
    limit: float = Field(0.9, gt=0, le=1, description="Share of a worker up to which it is given streams.")
    spread: bool = Field(
        True,
        description="Whether a stream goes to the emptiest worker, which suits a fixed number of them. Otherwise to the fullest "
        "that has room, which suits machines that come and go.",
    )
    cost: float = Field(
        0.25, gt=0, le=1, description="Share of a worker that a driven stream takes, as long as none has been measured."
    )
    uplink_kbps: int | None = Field(
        None, ge=100, description="Bitrate that one worker can send to viewers, in kbit/s. If not set, it is no limit."
    )
    poll_ms: int = Field(250, ge=50, le=10_000, description="Time between two looks at a worker, in milliseconds.")
    dead_after_ms: int = Field(
        1500, ge=200, le=60_000,
        description="Time without an answer, in milliseconds, after which a worker is dead and its streams go elsewhere.",
    )  # fmt: skip
    drain_s: float = Field(
        600, ge=0, le=86400,
        description="Time, in seconds, that streams driven by browsers may stay on a worker that is being emptied.",
    )  # fmt: skip
    ray: Ray = Ray()
