"""A portrait and a driver's crops in one file, for machines that have neither FFmpeg nor a tracker:
`python -m bench.gpu.footage crops.npz [CLIP]` writes it here, in about a minute."""

from __future__ import annotations

import argparse
import sys
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from bench.gpu.png import read_png, write_png
from pipeline.frames import Image
from pipeline.liveportrait.crop import SIDE
from pipeline.liveportrait.networks import INPUT

FRAMES = 148  # of the prototype


class Footage:
    """source: the portrait's crop (512, 512, 3); crops: the driver's, (n, 256, 256, 3)."""

    def __init__(self, name: str, source: Image, crops: list[Image]) -> None:
        self.name, self.source, self.crops = name, source, crops

    def write(self, path: Path) -> None:
        """As an npz of PNGs."""
        pictures = {f"{k:03}.png": np.frombuffer(write_png(crop), np.uint8) for k, crop in enumerate(self.crops)}
        arrays: dict[str, Any] = {"source.png": np.frombuffer(write_png(self.source), np.uint8), **pictures}
        np.savez(path, name=np.array(self.name), **arrays)

    @classmethod
    def read(cls, path: Path) -> Footage:
        with np.load(path, allow_pickle=False) as file:
            crops = [read_png(file[key].tobytes()) for key in sorted(file.files) if key[:3].isdigit()]
            return cls(str(file["name"]), read_png(file["source.png"].tobytes()), crops)

    @classmethod
    def synthetic(cls, count: int) -> Footage:
        """Soft spots that drift: no face, which costs the networks the same."""
        spots = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(3))

        def picture(side: int, step: int) -> Image:
            soft = F.interpolate(spots, size=(side, side), mode="bicubic").clamp(0, 1)[0]
            return np.ascontiguousarray((soft.permute(1, 2, 0).roll(step, dims=1) * 255).to(torch.uint8).numpy())

        return cls("synthetic", picture(SIDE, 0), [picture(INPUT, 3 * k) for k in range(count)])


def main() -> None:
    """Of a clip by the face tracker that is here; a clip that is shorter than FRAMES goes there and back."""
    from bench.amp import driving_crops
    from pipeline.liveportrait.crop import SOURCE, cut, mesh_box
    from pipeline.portrait import DEMO_CLIP, bundled

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("clip", type=Path, nargs="?", default=DEMO_CLIP)
    arguments = parser.parse_args()
    portrait = bundled("astronaut")
    crops = driving_crops(arguments.clip, FRAMES)
    if not crops:
        sys.exit(f"{arguments.clip}: no face is seen in it")
    there_and_back = cycle(chain(crops, crops[-2:0:-1]))
    source = cut(portrait.image, mesh_box(portrait.landmarks, SOURCE).to_crop())
    Footage(arguments.clip.name, source, list(islice(there_and_back, FRAMES))).write(arguments.out)
    size = arguments.out.stat().st_size / 1e6
    print(f"{arguments.out}: {FRAMES} crops of {arguments.clip.name} ({len(crops)} of them different), {size:.1f} MB")


if __name__ == "__main__":
    main()
