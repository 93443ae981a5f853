"""Make pipeline/mesh/expressions.npz: what a face does in the bundled clip, as principal components.

python -m tools.expressions
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from pipeline.engine import open_engine
from pipeline.face.faces import faces_for
from pipeline.face.motion import rest
from pipeline.mesh import template
from pipeline.mesh.picture import BASIS
from pipeline.portrait import DEMO_CLIP

KEPT = 8


def main() -> None:
    """Follow the clip, and keep its strongest components with how strong they are."""
    with closing(open_engine("mesh", faces_for("expressions")).open()) as puppeteer:
        made = template.make(puppeteer, DEMO_CLIP)
    motions = np.stack([motion.expression.ravel() for _, motion, followed in made.motions() if followed])
    assert motions.shape[1] == rest().expression.size
    _, sizes, directions = np.linalg.svd(motions, full_matrices=False)
    strengths = sizes[:KEPT] / np.sqrt(len(motions))
    np.savez_compressed(Path(str(BASIS)), directions=directions[:KEPT].astype(np.float16), strengths=strengths.astype(np.float32))
    shares = np.square(sizes) / np.square(sizes).sum()
    print(f"{len(motions)} frames; {shares[:KEPT].sum():.1%} of what they do", strengths)


if __name__ == "__main__":
    main()
