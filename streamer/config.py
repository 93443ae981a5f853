"""The configuration: one tree of settings, from a YAML file, `PUPPETCAST_…` variables and the command line."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pipeline.follow.tuning import Region, Tuning
from pipeline.liveportrait.options import Build, Compile, MotionOptions, Precision, Settings

from .errors import ConfigError

Gain = Annotated[float, Field(ge=0, le=3)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_S = TypeVar("_S", bound=_Section)


class Http(_Section):
    """The web server."""

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for every network.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    allowed_origins: list[str] = Field(
        default_factory=list, description="Pages of other sites that may use this server, such as https://a.example; '*' for all."
    )


class Budget(_Section):
    """The rolling frame budget of each stream."""

    window_s: float = Field(1.0, gt=0, le=10, description="Length of the rolling window.")
    max_frames: int = Field(30, ge=1, le=240, description="At most so many frames are animated per window.")
    max_busy: float = Field(0.9, gt=0, le=1, description="At most this share of the window is spent animating.")
    max_age_ms: float = Field(150, gt=0, le=5000, description="A driving frame older than this is not animated.")


class Device(_Section):
    """The device that animates for all streams, and who may still be driven."""

    min_fps: float = Field(
        10, gt=0, le=120, description="A driver that comes later and would leave the streams with fewer fps gets 503."
    )
    max_streams: int = Field(0, ge=0, le=1000, description="Streams driven at one time; 0: as many as min_fps allows.")
    max_busy: float = Field(0.9, gt=0, le=1, description="The share of device and processor that is given away.")
    gather_ms: float = Field(2, ge=0, le=50, description="How long a batch waits at most for more streams' frames.")


class Engine(_Section):
    """The animation engine."""

    name: str = Field("auto", description="auto, mesh or liveportrait.")
    max_side: int = Field(640, ge=128, le=2048, description="Longest side of the animated picture, in pixels.")
    max_crop: int = Field(512, ge=128, le=2048, description="Largest side of the face crop, in pixels.")


class LivePortrait(_Section):
    """The liveportrait engine; mesh reads nothing here."""

    checkpoints: Path | None = Field(None, description="Folder of the checkpoints; none for the models' folder.")
    device: str | None = Field(None, description="Such as cuda:1 or cpu; none for the best one.")
    precision: Precision | None = Field(None, description="fp16, bf16 or fp32; none for the fastest that gives finite values.")
    channels_last: bool | None = Field(None, description="Layout of convolutions; none for channels-last where it pays.")
    compile: Compile | None = Field(None, description="off, on or auto (on where it succeeds); none for auto on CUDA, else off.")
    graph: bool | None = Field(None, description="A frame's whole way as one CUDA graph; none for where there is CUDA.")
    max_batch: Literal[1, 2, 4, 8] = Field(8, description="Streams animated in one go.")
    relative: bool = Field(MotionOptions.relative, description="Add the driver's motion to the portrait, or take it as it is.")
    multiplier: float = Field(MotionOptions.multiplier, ge=0, le=3, description="Strength of all motion.")
    stitching: bool = Field(MotionOptions.stitching, description="Keep shoulders and background in their place.")
    close_lips: bool = Field(MotionOptions.close_lips, description="Close an open mouth of the portrait before moving it.")

    def settings(self) -> Settings:
        """For the engine."""
        motion = {
            field.name: getattr(self, field.name) for field in fields(MotionOptions) if field.name in type(self).model_fields
        }
        build = Build(channels_last=self.channels_last, compile=self.compile, graph=self.graph)
        own = self.checkpoints, self.device, self.precision
        return Settings(*own, motion=MotionOptions(**motion), build=build, max_batch=self.max_batch)


class IceServer(_Section):
    """A STUN or TURN server; clients are told of it, and the server itself uses the first of each kind."""

    url: str = Field(
        pattern=r"^(stun|turns?):\S+$", description="Such as stun:stun.example.org:3478 or turn:turn.example.org:3478."
    )
    username: str = Field("", description="For TURN.")
    credential: str = Field("", description="For TURN: the password.")
    secret: str = Field("", description="For TURN instead of both: the secret shared with it; credentials then last for ttl_s.")
    ttl_s: int = Field(3600, ge=60, le=604800, description="How long credentials made from the secret are good.")


class Auth(_Section):
    """Who may do what. A token comes as 'Authorization: Bearer TOKEN' or '?token=TOKEN'."""

    token: str = Field("", description="Needed to publish and to control; empty for nobody has to show one.")
    view_token: str = Field("", description="Needed to watch; empty for the same one as above.")
    requests_per_minute: int = Field(120, ge=1, le=100000, description="WHIP and WHEP requests taken from one address.")


class WebRtc(_Section):
    """WebRTC sessions."""

    bind_addresses: list[str] = Field(
        default_factory=list, description="Local addresses to use for media; empty for all of this machine."
    )
    host_address: str = Field(
        "", description="Address that others reach this machine by, where it is not its own: containers, NAT."
    )
    ports: tuple[int, int] | None = Field(None, description="First and last UDP port for media; none for any free ones.")
    ice_servers: list[IceServer] = Field(default_factory=list, description="STUN and TURN servers.")
    max_sessions: int = Field(32, ge=1, le=1000, description="Publishers and viewers at one time.")
    handshake_timeout_s: float = Field(10, gt=0, le=60, description="A session not connected by then is closed.")
    idle_timeout_s: float = Field(10, gt=0, le=300, description="A publisher that sends nothing for so long is closed.")
    bitrate_kbps: int = Field(2500, ge=100, le=20000, description="Where the bitrate to a stream's viewers starts.")
    min_bitrate_kbps: int = Field(300, ge=50, le=20000, description="It never goes below this.")
    max_bitrate_kbps: int = Field(4000, ge=100, le=50000, description="Nor above this.")
    shared_bitrate_kbps: int = Field(
        1000, ge=50, le=20000, description="Nor below this for the sake of one viewer among others; that one gets fewer frames."
    )
    uplink_kbps: tuple[int, int, int] = Field(
        (1500, 2000, 3000), description="Least, first and highest bitrate asked of a browser's camera."
    )


class Sink(_Section):
    """One more way out of a stream, beside viewers."""

    kind: Literal["push", "whip", "virtual_camera", "recording"] = Field(
        description="push (RTSP, RTMP), whip, virtual_camera or recording."
    )
    target: str = Field(
        "",
        description="For push: rtsp:// or rtmp://. For whip: the endpoint, http(s)://. "
        "For virtual_camera: the device; empty for the first one.",
    )
    token: str = Field("", description="For whip: the bearer token.")


class Recording(_Section):
    """Recordings of the animated picture."""

    folder: Path = Field(Path("recordings"), description="Where they go.")
    max_minutes: float = Field(60, gt=0, le=1440, description="A new file begins after so long.")
    max_mb: float = Field(2000, gt=0, le=100000, description="Or when the file is so large.")


class Puppet(_Section):
    """How the puppet follows its driver; all of it can be changed while live."""

    mirror: bool = Field(False, description="Swap left and right of the driver.")
    paused: bool = Field(False, description="Do not look at the driver: the puppet rests.")
    muted: bool = Field(False, description="Do not let the driver be heard.")
    pose_gain: Gain = Field(1.0, description="Strength of head motion.")
    expression_gain: Gain = Field(1.0, description="Strength of all expression.")
    mouth_gain: Gain = Field(1.0, description="Strength of the mouth, times the above.")
    eyes_gain: Gain = Field(1.0, description="Strength of lids and gaze, times the above.")
    brows_gain: Gain = Field(1.0, description="Strength of the brows, times the above.")
    region: Region = Field(Region.ALL, description="What moves: all, exp, pose, lip or eyes.")
    smoothing: float = Field(0.5, ge=0, le=1, description="0: none; 1: the most, for a noisy camera.")
    scale_lock: bool = Field(False, description="Keep the head's size when the driver comes nearer.")
    eye_retargeting: bool = Field(False, description="Open the eyes as far as the driver's. Only liveportrait.")
    lip_retargeting: bool = Field(False, description="Open the lips as far as the driver's. Only liveportrait.")
    recalibrate_after_s: float = Field(
        10, ge=0, le=3600, description="A face that was away for so long gets a new neutral; 0 for never."
    )
    max_fps: int | None = Field(None, ge=1, le=240, description="Frames per second at most; none for budget.max_frames.")
    max_age_ms: float | None = Field(None, gt=0, le=5000, description="As budget.max_age_ms; none for that.")

    def tuning(self) -> Tuning:
        """For the engine."""
        return Tuning(**{field.name: getattr(self, field.name) for field in fields(Tuning)})


class Stream(_Section):
    """One stream: a portrait, what drives it, and where it goes."""

    portrait: str = Field("astronaut", description="A bundled portrait or a picture file.")
    engine: str = Field("", description="auto, mesh or liveportrait; empty for the one of the section engine.")
    source: Literal["browser", "network", "file", "webcam", "pattern"] = Field("browser", description="What drives the portrait.")
    path: str = Field(
        "",
        description="For network: rtsp://, rtsps://, rtmp://, srt:// or http(s)://. For file: the clip. "
        "For webcam: name, number or device; empty for the first one.",
    )
    transport: Literal["tcp", "udp"] = Field("tcp", description="For network with rtsp://: how packets come.")
    open_timeout_s: float = Field(5, gt=0, le=60, description="For network: opening is given up after so long.")
    read_timeout_s: float = Field(5, gt=0, le=60, description="For network: so is a read in which nothing comes.")
    stale_after_s: float = Field(5, gt=0, le=600, description="A source without a frame for so long is opened again.")
    fps: int = Field(30, ge=1, le=120, description="For webcam and pattern: frames per second.")
    size: tuple[int, int] = Field((640, 480), description="For webcam: width and height asked of the camera.")
    puppet: Puppet = Puppet()
    sinks: list[Sink] = Field(default_factory=list, description="Ways out beside viewers, from the start.")


class Downloads(_Section):
    """Model files (their folder: PUPPETCAST_MODELS)."""

    fetch: bool = Field(True, description="Download the face model at the first start.")
    timeout_s: float = Field(4, gt=0, le=600, description="Give up after so long without an answer.")


class Mqtt(_Section):
    """Control and telemetry over an MQTT broker."""

    url: str = Field("", description="mqtt://, mqtts://, ws:// or wss://host[:port]; empty for no MQTT.")
    username: str = Field("", description="For the broker.")
    password: str = Field("", description="For the broker.")
    ca_file: Path | None = Field(None, description="For mqtts and wss: who signs the broker; none for the system's.")
    cert_file: Path | None = Field(None, description="For mqtts and wss: a certificate of our own, with key_file.")
    key_file: Path | None = Field(None, description="The key of cert_file.")
    protocol: Literal["5", "3.1.1"] = Field("5", description="Version of MQTT.")
    base_topic: str = Field("puppetcast", pattern=r"^[^#+\s]+$", description="All topics begin with this.")
    telemetry_s: float = Field(1, ge=0.2, le=3600, description="Seconds between telemetry messages.")
    picture_s: float = Field(10, ge=0, le=3600, description="Seconds between pictures as JPEG; 0 for none.")
    discovery: bool = Field(True, description="Let Home Assistant find the streams.")
    discovery_prefix: str = Field("homeassistant", pattern=r"^[^#+\s]+$", description="Where Home Assistant looks.")


class Persistence(_Section):
    """What was changed while live, kept for the next start."""

    file: Path | None = Field(None, description="Where it is kept, as JSON; none for nowhere.")


class Config(BaseSettings):
    """Everything. Unknown keys are refused."""

    model_config = SettingsConfigDict(
        env_prefix="PUPPETCAST_", env_nested_delimiter="__", extra="forbid", frozen=True, nested_model_default_partial_update=True
    )

    http: Http = Http()
    auth: Auth = Auth()
    engine: Engine = Engine()
    liveportrait: LivePortrait = LivePortrait()
    budget: Budget = Budget()
    device: Device = Device()
    webrtc: WebRtc = WebRtc()
    recording: Recording = Recording()
    mqtt: Mqtt = Mqtt()
    persistence: Persistence = Persistence()
    downloads: Downloads = Downloads()
    streams: dict[Name, Stream] = Field(default_factory=lambda: {"live": Stream()})

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        return env_settings, init_settings  # a variable wins over the file


def load_config(path: Path | None = None) -> Config:
    """Read `path`, or take the defaults; ConfigError names the key and what is wrong with it."""
    data = {} if path is None else _read(path)
    try:
        return Config(**data)
    except ValidationError as exc:
        raise ConfigError(_explain(exc, str(path or "environment"))) from exc
    except ValueError as exc:  # a variable that is not JSON
        raise ConfigError(f"environment: {exc}") from exc


def changed(section: _S, options: dict[str, Any]) -> _S:
    """`section` with `options` of the command line in it, checked as those of a file; ConfigError."""
    try:
        return type(section).model_validate(section.model_dump() | options)
    except ValidationError as exc:
        raise ConfigError(_explain(exc, "command line")) from exc


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text("utf-8")) or {}
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: not YAML ({str(exc).splitlines()[0]})") from exc
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a mapping of sections is expected, such as 'http:'")
    return data


def _explain(exc: ValidationError, where: str) -> str:
    problems = []
    for error in exc.errors():
        key = ".".join(str(part) for part in error["loc"])
        unknown = error["type"] == "extra_forbidden"
        problems.append(f"{key}: unknown key" if unknown else f"{key}: {error['msg'].lower()} (given: {error['input']!r})")
    return f"{where}: " + "; ".join(problems)
