"""A portrait photographer in NumPy: soft lights that cast soft shadows, light that spreads under skin, hair strand by strand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Image

from .figure import Array, Colour, Mesh, Person

Pixels = NDArray[np.float32]
WIDTH, HEIGHT, FINER = 640, 768, 2  # pixels, and by how much it is rendered larger
DISTANCE, SHOWN, MIDDLE = 24.0, 4.2, 6.85  # camera, height that the picture shows, and its middle; units of 10 cm
NECKLINE = 5.95
SKY = 64  # directions that light comes from
MAP, AROUND, REACH = 120, np.array([0, 7.0, 0.3]), 2.6  # shadow maps: pixels, what they show
SPLATS = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5), (1 / 3, 1 / 3, 1 / 3)])
SPREAD = (7.0, 3.5, 2.0)  # of red, green and blue under skin, pixels of the finer picture
GLOSS = {"skin": (0.016, 18), "cloth": (0.006, 12), "eye": (0.5, 1500)}  # strength, exponent
OPAQUE, LAYERS = ("skin", "cloth", "eye"), ("hair", "brow", "lash")
GRAIN = ((0.010, 2.2), (0.008, 5.0), (0.010, 16.0), (0.016, 60.0))  # of skin: strength, size


class Light(NamedTuple):
    """where: direction to it; width: small for a lamp, large for a window."""

    where: tuple[float, float, float]
    colour: Colour
    width: float

    @property
    def direction(self) -> Array:
        return np.array(self.where) / np.linalg.norm(self.where)

    @property
    def shine(self) -> Array:
        """The normal that mirrors it to the viewer."""
        half = self.direction + (0, 0, 1)
        return np.asarray(half / np.linalg.norm(half))


class Lighting(NamedTuple):
    """lights: the main one first, then what fills its shadows, then one from behind; ambient: from everywhere."""

    lights: tuple[Light, Light, Light]
    ambient: Colour


DAY = Lighting(
    (Light((-0.75, 0.55, 0.8), (9, 8.4, 7.6), 0.05), Light((0.9, 0.25, 0.5), (1.5, 1.7, 2.1), 0.12),
     Light((0.6, 0.6, -0.9), (5, 4.6, 4.2), 0.05)), (0.34, 0.36, 0.4),
)  # fmt: skip
CANDLE = Lighting(
    (Light((-0.8, 0.6, 0.55), (13, 10.5, 7), 0.05), Light((0.9, 0.1, 0.4), (0.5, 0.45, 0.4), 0.12),
     Light((0.6, 0.6, -0.9), (3, 2.4, 1.6), 0.05)), (0.15, 0.14, 0.12),
)  # fmt: skip


def photograph(person: Person, meshes: list[Mesh], lighting: Lighting) -> Image:
    """(HEIGHT, WIDTH, 3) RGB of a figure, see `figure`."""
    for mesh in meshes:
        mesh.points = _turned(mesh.points, person.yaw)
    light = _light(meshes, lighting)
    film = Film(person, lighting)
    for mesh, lit in zip(meshes, light, strict=True):
        if mesh.kind in OPAQUE:
            film.expose(mesh, lit)
    film.develop()
    for mesh, lit in zip(meshes, light, strict=True):
        if mesh.kind == "eye":
            film.catchlights(mesh)
        if mesh.kind in LAYERS:
            film.layer(mesh, lit)
    return film.print()


def _turned(points: Array, yaw: float) -> Array:
    cos, sin = np.cos(yaw), np.sin(yaw)
    return points @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])


def _light(meshes: list[Mesh], lighting: Lighting) -> list[Array]:
    """What reaches each point of each mesh, (n, 3): a sky of lights, as far as nothing stands in the way."""
    ends = np.cumsum([0, *(len(mesh.points) for mesh in meshes)])
    points, normals = np.concatenate([m.points for m in meshes]), np.concatenate([m.normals() for m in meshes])
    solid = np.concatenate([m.triangles()[0] + at for m, at in zip(meshes, ends, strict=False) if m.kind in ("skin", "hair")])
    solid = solid[np.linalg.norm(points[solid].mean(1) - AROUND, axis=1) < REACH + 0.6]
    total = np.zeros_like(points)
    for way in _directions():
        radiance = np.array(lighting.ambient) * (0.65 + 0.35 * way[1])
        for light in lighting.lights:
            radiance = radiance + np.array(light.colour) * np.exp((way @ light.direction - 1) / light.width)
        facing = np.clip((normals @ way + 0.12) / 1.12, 0, 1)
        total += (facing * _seen(points, solid, way))[:, None] * radiance * 4 / SKY
    return [
        _even(total[a:b], m) if m.kind in ("skin", "cloth") else total[a:b]
        for m, a, b in zip(meshes, ends, ends[1:], strict=False)
    ]


def _directions() -> Array:
    """(SKY, 3), evenly over the sphere."""
    k = np.arange(SKY) + 0.5
    y, turn = 1 - 2 * k / SKY, k * np.pi * (3 - np.sqrt(5))
    return np.stack([np.sqrt(1 - y * y) * np.cos(turn), y, np.sqrt(1 - y * y) * np.sin(turn)], 1)


def _seen(points: Array, solid: Array, way: Array) -> Array:
    """How much of the light from there reaches each point, 0 to 1: a coarse map of depths, splatted."""
    right = np.cross([1.0, 0, 0] if abs(way[1]) >= 0.9 else [0, 1.0, 0], way)
    right /= np.linalg.norm(right)
    place = points - AROUND
    xy, depth = (np.stack([place @ right, place @ np.cross(way, right)], 1) / REACH + 1) / 2 * MAP, place @ way
    nearest = np.full((MAP, MAP), -np.inf)
    for share in SPLATS:
        spot = (xy[solid] * share[:, None]).sum(1).astype(int)
        inside = ((spot >= 0) & (spot < MAP)).all(1)
        np.maximum.at(nearest, (spot[inside, 1], spot[inside, 0]), (depth[solid] @ share)[inside])
    x, y = np.clip(xy.astype(int), 0, MAP - 1).T
    return np.where(((xy > 0) & (xy < MAP - 1)).all(1), np.clip(1 - (nearest[y, x] - depth - 0.05) / 0.06, 0, 1), 1)


def _even(light: Array, mesh: Mesh) -> Array:
    """Without the steps of the coarse maps."""
    for _ in range(2):
        total, count = np.zeros_like(light), np.zeros(len(light))
        for corner in mesh.faces.T:
            np.add.at(total, corner, light[mesh.faces].mean(1))
            np.add.at(count, corner, 1)
        light = total / np.maximum(count, 1)[:, None]
    return light


@dataclass
class Film:
    """The picture while it is made, FINER times as large: what is nearest, its own colour, the light on it, its gloss."""

    person: Person
    lighting: Lighting
    size: tuple[int, int] = (WIDTH * FINER, HEIGHT * FINER)
    image: Pixels = field(init=False)

    def __post_init__(self) -> None:
        width, height = self.size
        y, x = np.linspace(0, 1, height)[:, None, None], np.linspace(-1, 1, width)[None, :, None]
        glow = 1.25 - 0.75 * y - 0.25 * (x - 0.25) ** 2 + 0.15 * np.exp(-2 * ((x + 0.2) ** 2 + 3 * (y - 0.35) ** 2))
        self.image = (np.array(self.person.ground) * glow).astype(np.float32)
        self.depth = np.full((height, width), -np.inf)
        self.kind = np.full((height, width), "", "U5")
        self.colour, self.light, self.gloss = (np.zeros((height, width, 3), np.float32) for _ in range(3))

    def project(self, points: Array) -> Array:
        """(n, 2) pixels."""
        width, height = self.size
        xy = (points[:, :2] - (0, MIDDLE)) * (DISTANCE / (DISTANCE - points[:, 2:])) * height / SHOWN
        return np.asarray(xy * (1, -1) + (width / 2, height / 2))

    def expose(self, mesh: Mesh, light: Array) -> None:
        """An opaque mesh, where it is nearest."""
        corners, places = mesh.triangles()
        xy, normals = self.project(mesh.points)[corners], mesh.normals()
        front = np.cross(xy[:, 1] - xy[:, 0], xy[:, 2] - xy[:, 0]) < 0
        corners, places = corners[front], places[front]
        depth, which, weights = _nearest(xy[front], mesh.points[corners][..., 2], self.size)
        points = (mesh.points[corners[which]] * weights[..., None]).sum(2)
        hem = NECKLINE - 0.02 * points[..., 0] ** 2 - 0.10 * np.clip(points[..., 2], -1, 1) - points[..., 1]
        depth[{"cloth": hem < 0, "skin": hem > 0.12}.get(mesh.kind, np.zeros_like(hem, bool))] = -np.inf
        hit = depth > self.depth
        triangle, share = which[hit], weights[hit][..., None]
        colour = _sampled(mesh.texture, (places[triangle] * share).sum(1))[:, :3]
        if mesh.kind == "eye":
            colour = (0.6 * colour + 0.4 * colour.mean(1, keepdims=True)) * 0.6
        if mesh.kind == "cloth":
            seam = 0.35 * np.exp(-(((hem[hit] - 0.10) / 0.012) ** 2)) + 0.5 * np.exp(-((hem[hit] / 0.01) ** 2))
            colour = colour * (1 - seam)[:, None]
        lit = (light[corners[triangle]] * share).sum(1)
        normal = (normals[corners[triangle]] * share).sum(1)
        self.depth[hit], self.kind[hit], self.colour[hit], self.light[hit] = depth[hit], mesh.kind, colour, lit
        self.gloss[hit] = self._gloss(normal, GLOSS[mesh.kind]) * np.clip(1.2 * lit.mean(1, keepdims=True), 0, 1)

    def _gloss(self, normals: Array, gloss: tuple[float, float]) -> Array:
        normals = normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9)
        lights = self.lighting.lights[:2]
        return np.asarray(
            sum(np.clip(normals @ x.shine, 0, 1)[:, None] ** gloss[1] * gloss[0] * np.array(x.colour) for x in lights)
        )

    def develop(self) -> None:
        """Opaque things as they look: light spreads under skin, and nothing is quite even."""
        skin, covered = (self.kind == "skin").astype(np.float32), self.kind != ""
        for channel, spread in enumerate(SPREAD):
            blurred = cv2.GaussianBlur(self.light[..., channel] * skin, (0, 0), spread)
            even = blurred / np.maximum(cv2.GaussianBlur(skin, (0, 0), spread), 1e-3)
            self.light[..., channel] = np.where(skin > 0, even, self.light[..., channel])
        width, height = self.size
        rng, noise = np.random.default_rng(5), np.zeros((height, width), np.float32)
        for strength, size in GRAIN:
            small = rng.standard_normal((int(height / size) + 1, int(width / size) + 1)).astype(np.float32)
            noise += strength * cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        uneven = 1 + noise[..., None] * np.where(skin[..., None] > 0, (0.8, 1.15, 1.1), 0.6 * (self.kind == "cloth")[..., None])
        self.image[covered] = (self.colour * uneven * self.light + self.gloss)[covered]

    def catchlights(self, eyes: Mesh) -> None:
        """The main light, mirrored in both eyes."""
        half = self.lighting.lights[0].direction + (0, 0, 1.35)
        middle, spots = np.median(eyes.points[:, 0]), np.zeros(self.depth.shape, np.float32)
        for eye in (eyes.points[eyes.points[:, 0] < middle], eyes.points[eyes.points[:, 0] > middle]):
            radius = np.ptp(eye[:, 1]) / 2
            x, y = self.project((eye.mean(0) + radius * half / np.linalg.norm(half))[None])[0]
            axes = np.array([0.085, 0.11]) * radius * self.size[1] / SHOWN
            cv2.ellipse(spots, (int(x), int(y)), (max(int(axes[0]), 1), max(int(axes[1]), 1)), 0, 0, 360, 1.0, -1, cv2.LINE_AA)
        spots = cv2.GaussianBlur(spots, (0, 0), 1.0) * (self.kind == "eye")
        self.image += spots[..., None] * np.float32(1.2)

    def layer(self, mesh: Mesh, light: Array) -> None:
        """A mesh with holes, drawn from back to front."""
        corners, places = mesh.triangles()
        order = np.argsort(mesh.points[corners][..., 2].mean(1))
        corners, places, z = corners[order], places[order], mesh.points[:, 2]
        shine = np.abs(mesh.normals() @ self.lighting.lights[0].shine) ** 14 * (mesh.kind == "hair")
        bright = 1.1 if mesh.kind == "hair" else 1.0
        lit = bright * (light + 0.12 * np.array(self.lighting.ambient))
        lit = lit + 0.05 * shine[:, None] * np.array(self.lighting.lights[0].colour)
        for triangle, y, x, weights in _spans(self.project(mesh.points)[corners], self.size):
            near = weights @ z[corners[triangle]] > self.depth[y, x] - (0.03 if mesh.kind == "hair" else 0.06)
            if near.any():
                y, x, weights = y[near], x[near], weights[near]
                sampled = _sampled(mesh.texture, weights @ places[triangle])
                alpha = sampled[:, 3:] ** (0.6 if mesh.kind == "brow" else 1.0)
                colour = sampled[:, :3] * (weights @ lit[corners[triangle]])
                self.image[y, x] = self.image[y, x] * (1 - alpha) + colour * alpha

    def print(self) -> Image:
        """The finished picture, with a film's soft shoulder in the lights."""
        small = cv2.resize(self.image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).clip(0)
        curve = small * (1 + small / 6) / (1 + 0.55 * small)
        return np.clip(255 * curve.clip(0, 1) ** (1 / 2.2) + 0.5, 0, 255).astype(np.uint8)


def _spans(xy: Array, size: tuple[int, int]) -> Iterator[tuple[int, Array, Array, Array]]:
    """Of each triangle of (k, 3, 2) its number, the pixels in it as y and x, and the weights of its corners (n, 3)."""
    low = np.maximum(np.floor(xy.min(1)).astype(int), 0)
    high = np.minimum(np.ceil(xy.max(1)).astype(int) + 1, size)
    area = np.cross(xy[:, 1] - xy[:, 0], xy[:, 2] - xy[:, 0])
    for k in np.flatnonzero((low < high).all(1) & (np.abs(area) > 1e-9)):
        a, b, c = xy[k]
        x, y = np.arange(low[k, 0], high[k, 0]) + 0.5, np.arange(low[k, 1], high[k, 1])[:, None] + 0.5
        second = ((x - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (y - a[1])) / area[k]
        third = ((b[0] - a[0]) * (y - a[1]) - (x - a[0]) * (b[1] - a[1])) / area[k]
        rows, columns = np.nonzero((second >= 0) & (third >= 0) & (second + third <= 1))
        if len(rows):
            two, three = second[rows, columns], third[rows, columns]
            yield int(k), rows + low[k, 1], columns + low[k, 0], np.stack([1 - two - three, two, three], 1)


def _nearest(xy: Array, z: Array, size: tuple[int, int]) -> tuple[Array, Array, Array]:
    """At each pixel the depth of the nearest triangle, its number and the weights of its corners."""
    depth, which = np.full(size[::-1], -np.inf), np.zeros(size[::-1], int)
    weights = np.zeros((*size[::-1], 3), np.float32)
    for k, y, x, share in _spans(xy, size):
        here = share @ z[k]
        near = here > depth[y, x]
        y, x = y[near], x[near]
        depth[y, x], which[y, x], weights[y, x] = here[near], k, share[near]
    return depth, which, weights


def _sampled(texture: Any, uv: Array) -> Pixels:
    """(n, 4) of a texture at places (n, 2) from its lower left."""
    height, width = texture.shape[:2]
    x, y = (uv * (width, height) * (1, -1) + (-0.5, height - 0.5)).astype(np.float32).T
    parts = [slice(k, k + 30000) for k in range(0, len(x), 30000)]  # OpenCV takes no more rows than 32767
    return np.concatenate([cv2.remap(texture, x[p], y[p], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT) for p in parts])[:, 0]
