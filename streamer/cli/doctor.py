"""`puppetcast doctor`: what this machine has, what it lacks, and what will run because of it."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from pipeline import models
from pipeline.engine import choose, cuda_device
from pipeline.face.faces import faces_by
from pipeline.installation import command, pip_install
from pipeline.liveportrait.files import FILES, is_installed, missing_files

from ..config import Config, load_config
from ..errors import ConfigError
from ..sinks.camera import LOAD
from ..sinks.microphone import CURE, TOOLS, has_tools
from ..sources.webcam import cameras
from .console import one_line_errors

VIRTUAL = Path("/sys/devices/virtual/video4linux")  # where v4l2loopback's devices appear


@dataclass(frozen=True)
class Finding:
    """ok: None for what is merely not there. cure: what to do about it, where there is something."""

    name: str
    ok: bool | None
    what: str
    cure: str = ""


def doctor(
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML) that the server would be started with.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what is here, what is missing, and which engine and tracker will run and why. Changes and downloads nothing.

    Exit code 1 if something would keep the server from starting.
    """
    with one_line_errors():
        loaded = load_config(config)
        found = [check(loaded) for check in CHECKS]
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
    else:
        for each in found:
            typer.echo(f"{ {True: 'ok', None: '-', False: 'NO'}[each.ok]:3} {each.name:18} {each.what}")
            if each.cure:
                typer.echo(f"{'':22} {each.cure}")
    if any(each.ok is False for each in found):
        raise typer.Exit(1)


def _system(config: Config) -> Finding:
    about = f"puppetcast {version('puppetcast')}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return Finding("system", True, f"{about}, {config.device.usable():g} processor cores")


def _engine(config: Config) -> Finding:
    name, why = choose(config.liveportrait.settings())
    return Finding("engine", True, f"{name}: {why}" if config.engine.name == "auto" else f"{config.engine.name}: so configured")


def _tracker(config: Config) -> Finding:
    name, path = "face tracker", models.find(models.FACE_LANDMARKER)
    faces, fetch = faces_by(path), command("models fetch")
    if path is not None:
        return Finding(name, True, f"{faces.name}: its model is here ({path})")
    if faces.name == "litert":
        return Finding(name, True, "litert: its models are here; mediapipe's, which is a little better, is not", fetch)
    if config.downloads.fetch:
        return Finding(name, None, "its model is not here; the server downloads it at its start (3.8 MB)")
    return Finding(name, None, f"{faces.name}, which is rough: the better ones' models are not here", fetch)


def _liveportrait(config: Config) -> Finding:
    name = "liveportrait"
    if not is_installed():
        return Finding(name, None, "PyTorch is not installed", f"{pip_install('liveportrait')}, for an NVIDIA GPU")
    here = f"PyTorch {version('torch')}, {cuda_device() or 'no CUDA device'}"
    folder = config.liveportrait.settings().checkpoints or models.folder()
    if missing := missing_files(folder):
        of = "its checkpoint files" if len(missing) == len(FILES) else ", ".join(missing)
        what = f"{here}; {of} {'is' if len(missing) == 1 else 'are'} not in {folder}"
        return Finding(name, None, what, f"{command('models fetch liveportrait')} (520 MB)")
    return Finding(name, True, f"{here}; checkpoints in {folder}")


def _cameras(config: Config) -> Finding:
    found = [camera.name for camera in cameras()]
    if found:
        return Finding("cameras", True, ", ".join(found))
    return Finding("cameras", None, "none on this machine; a browser's camera, a clip or a network camera can drive")


def _virtual_camera(config: Config) -> Finding:
    name = "virtual camera"
    try:
        package = f"pyvirtualcam {version('pyvirtualcam')}"
    except PackageNotFoundError:
        return Finding(name, None, "pyvirtualcam is not installed", pip_install("camera"))
    if sys.platform != "linux":
        return Finding(name, None, f"{package}; it uses the camera that OBS installs")
    if any(VIRTUAL.glob("video*")):
        return Finding(name, True, f"{package}; {', '.join(sorted(node.name for node in VIRTUAL.glob('video*')))}")
    return Finding(name, None, f"{package}, but no device", f"install v4l2loopback-dkms and load it: {LOAD}")


def _virtual_microphone(config: Config) -> Finding:
    name = "virtual microphone"
    return Finding(name, True, TOOLS) if has_tools() else Finding(name, None, f"{TOOLS} are not here", CURE)


def _port(config: Config) -> Finding:
    from ..http.web import listen  # brings the web server, which '--help' can do without

    host, port = config.http.host, config.http.port
    try:
        listen(host, port).close()
    except ConfigError as exc:
        if _is_ours(host, port):
            return Finding("port", True, f"a puppetcast is running there already ({port} on {host})")
        return Finding("port", False, str(exc), f"stop what listens there, or take another: {command('serve --port 0')}")
    return Finding("port", True, f"{port} on {host} is free")


def _is_ours(host: str, port: int) -> bool:
    """Whether what listens there shows our page; by https too, which `serve --lan` brings whatever the configuration says."""
    import httpx

    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    for scheme in ("http", "https"):
        page = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"
        try:
            with httpx.stream("GET", page, timeout=2, verify=False, trust_env=False) as reply:
                if b"<title>puppetcast" in next(reply.iter_bytes(2000), b""):
                    return True
        except httpx.HTTPError:
            pass
    return False


CHECKS: tuple[Callable[[Config], Finding], ...] = (
    _system, _engine, _tracker, _liveportrait, _cameras, _virtual_camera, _virtual_microphone, _port,
)  # fmt: skip
