"""The options of `puppetcast animate`: their names, limits and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.follow.tuning import Region
from pipeline.offline.formats import FASTEST
from pipeline.offline.mux import Sound

from ..config import Portraits, Puppet
from .console import ENGINE_HELP, LP
from .files import Kind


def _gain(key: str) -> Any:
    return typer.Option(min=0, max=3, help=Puppet.model_fields[key].description)


def _seconds(key: str) -> Any:
    return typer.Option(
        f"--{key.removesuffix('_s').replace('_', '-')}", min=0, max=3600, help=Puppet.model_fields[key].description
    )


PortraitArgument = Annotated[
    str, typer.Argument(help="Name of a bundled portrait, a picture, a .puppet file, or a clip whose face is animated.")
]
Drivers = Annotated[
    list[Path],
    typer.Argument(
        metavar="DRIVER…",
        help="What the portrait follows: a clip, a picture, or a motion template; several of them, or folders, for a file "
        "each; - for a clip by standard input.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        help="File to write: .mp4, .mov, .webm, .gif, .webp, or .png for a file each frame (out-%05d.png says where the "
        "number goes); a picture (.png, .jpg, .webp) if portrait and driver are both pictures. For several drivers a folder, "
        "which is made. - for standard output. Default: out.mp4, out.png for one picture, or the folder out.",
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace what is there already, once the new file is whole.")]
KindOption = Annotated[
    Kind | None,
    typer.Option("--format", help="What to write into a folder, or to standard output. Default: mp4.", show_default=False),
]
Fps = Annotated[
    float | None,
    typer.Option(min=1, max=FASTEST, help="Even frames a second. Default: the driver's own times.", show_default=False),
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="WxH or N",
        help="Size of the result: width and height, such as 1280x720, with bars where the shape is another; or its longer "
        "side, such as 480. Default: the portrait's, up to 1280.",
        show_default=False,
    ),
]
EngineName = Annotated[str, typer.Option(help=ENGINE_HELP)]
MaxFrames = Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.", show_default=False)]
SideBySide = Annotated[bool, typer.Option("--side-by-side", help="Show driver, portrait and result side by side.")]
Transparent = Annotated[
    bool,
    typer.Option(
        "--transparent", help="Leave the background out: .webm, .gif, .webp and .png, of a portrait that stands out from it."
    ),
]
Audio = Annotated[
    Sound, typer.Option(help="Sound of the result: the driver's (the source's if it has none), the source's, or none.")
]
Mirror = Annotated[bool, typer.Option("--mirror", help="Swap the driver's left and right.")]
RegionOption = Annotated[Region, typer.Option(help="Part of the driver's motion that is used.")]
PoseGain = Annotated[float, _gain("pose_gain")]
ExpressionGain = Annotated[float, _gain("expression_gain")]
MouthGain = Annotated[float, _gain("mouth_gain")]
EyesGain = Annotated[float, _gain("eyes_gain")]
BrowsGain = Annotated[float, _gain("brows_gain")]
WrinklesGain = Annotated[float, _gain("wrinkles_gain")]
CalibrateAt = Annotated[
    float,
    typer.Option(min=0, help="From when on, in seconds, the driver looks straight ahead for a moment with a closed mouth."),
]
RecalibrateAfterS = Annotated[float, _seconds("recalibrate_after_s")]
RecentreS = Annotated[float, _seconds("recentre_s")]
PassOption = Annotated[
    str | None,
    typer.Option("--pass", help="Pass or grant, for a portrait that only who has its pass may drive.", show_default=False),
]
Background = Annotated[
    str | None,
    typer.Option(
        help="What is put behind the person, of a portrait that stands out: a colour such as #00b140, or a picture's file. "
        f"Default: the portrait's own; where that is transparent, the configuration's, {Portraits().background}."
    ),
]
Smoothing = Annotated[float, typer.Option(min=0, max=1, help=Puppet.model_fields["smoothing"].description)]
ScaleLock = Annotated[bool, typer.Option("--scale-lock", help="Keep the head's size when the driver moves closer or away.")]
PasteBack = Annotated[
    bool, typer.Option(help="Write the whole picture, or only the square of 512 pixels around the face.", rich_help_panel=LP)
]
Relative = Annotated[
    bool,
    typer.Option(
        "--relative/--absolute",
        help="Add the driver's motion to the portrait's pose and expression, or replace them by it.",
        rich_help_panel=LP,
    ),
]
Multiplier = Annotated[
    float, typer.Option(min=0, max=3, help="Strength of all motion; 1 is as strong as the driver's.", rich_help_panel=LP)
]
Stitching = Annotated[bool, typer.Option(help="Keep shoulders and background in place while the head moves.", rich_help_panel=LP)]
EyeRetargeting = Annotated[bool, typer.Option(help="Open the eyes as far as the driver's.", rich_help_panel=LP)]
LipRetargeting = Annotated[bool, typer.Option(help="Open the lips as far as the driver's.", rich_help_panel=LP)]
CloseLips = Annotated[
    bool, typer.Option(help="Close a mouth that is open in the portrait before animating it.", rich_help_panel=LP)
]
