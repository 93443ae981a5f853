"""REST of presets: listed, kept, deleted; and the shapes that they are made of. A command switches them on."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel

from pipeline.shapes.names import RANGES, REGION, SLIDERS, slider_range
from pipeline.shapes.preset import Preset

from ..control.control import Control
from ..control.presets import KEYS
from ..errors import BadPreset
from .rights import ANY, CONTROL, SERVER, VIEW, Guarded, needs

EXAMPLE = {"version": 1, "shapes": {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7}, "mode": "over", "ease_s": 0.5}


class PresetInfo(BaseModel):
    """A preset. shapes: by name, see /api/shapes; regions: where it holds; mode: "over" the driver's motion there, or
    "instead" of it; ease_s: seconds in which it comes and goes. hotkey: its key on the page; own: it can be deleted."""

    version: int
    name: str
    shapes: dict[str, float]
    regions: list[str]
    mode: str
    ease_s: float
    hotkey: int | None
    own: bool


class ShapeInfo(BaseModel):
    """A shape. least, most: its range, 0 at rest; head in degrees, or shares of the eyes' distance."""

    least: float
    most: float
    region: str


class SliderInfo(BaseModel):
    """A slider. shapes: by how much it moves each; with its negative half where that is negative."""

    least: float
    most: float
    shapes: dict[str, float]


class ShapesInfo(BaseModel):
    """All that can be held: ARKit's shapes with head and gaze, and sliders that move several at once. Left and right are the
    portrait's own."""

    shapes: dict[str, ShapeInfo]
    sliders: dict[str, SliderInfo]


def router(control: Control) -> APIRouter:
    """Endpoints under /api/presets, and /api/shapes."""
    api = APIRouter(prefix="/api", route_class=Guarded, tags=["presets"])
    kept = control.presets

    def info(preset: Preset) -> PresetInfo:
        return PresetInfo(**preset.data(), hotkey=kept.hotkey(preset.name), own=kept.is_own(preset.name))

    @api.get("/shapes", summary="Shapes and sliders")
    @needs(VIEW, ANY)
    async def shapes() -> ShapesInfo:
        return SHAPES

    @api.get("/presets", summary="All presets")
    @needs(VIEW, ANY)
    async def presets() -> list[PresetInfo]:
        return [info(preset) for preset in kept.all().values()]

    @api.get("/presets/{name:path}", summary="A preset")
    @needs(VIEW, ANY)
    async def preset(name: str) -> PresetInfo:
        return info(kept.get(name))

    @api.put("/presets/{name:path}", summary="Keep a preset")
    @needs(CONTROL, SERVER)
    async def put(
        name: str, preset: Annotated[Any, Body(examples=[EXAMPLE])], hotkey: Annotated[int | None, Query(ge=1, le=KEYS)] = None
    ) -> PresetInfo:
        """The body is what GET gives; regions are those of its shapes where it names none. Kept with the portraits, also in
        place of one that comes with the program. hotkey: the key that it gets, before the one in the body."""
        data, key = _without_key(preset)
        return info(await control.put_preset(name, data, key if hotkey is None else hotkey))

    @api.delete("/presets/{name:path}", status_code=204, summary="Delete a preset")
    @needs(CONTROL, SERVER)
    async def delete(name: str) -> None:
        """One of the program's own comes back where another had taken its place."""
        await control.delete_preset(name)

    return api


def _without_key(data: Any) -> tuple[Any, int | None]:
    """A preset as GET gives it, in two: itself, and its key. BadPreset."""
    if not isinstance(data, dict):
        return data, None
    key = data.get("hotkey")
    if key is not None and (isinstance(key, bool) or key not in range(1, KEYS + 1)):
        raise BadPreset(f"preset: hotkey: 1 to {KEYS}, or null, not {json.dumps(key):.40}")
    return {name: value for name, value in data.items() if name not in ("hotkey", "own")}, key


SHAPES = ShapesInfo(
    shapes={name: ShapeInfo(least=low, most=high, region=REGION[name]) for name, (low, high) in RANGES.items()},
    sliders={
        name: SliderInfo(least=slider_range(name)[0], most=slider_range(name)[1], shapes=dict(shapes))
        for name, shapes in SLIDERS.items()
    },
)
