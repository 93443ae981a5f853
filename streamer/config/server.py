"""How the server is reached, and what it reaches."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.pictures.colours import GROUND, Colour, parse_colour, to_text

from ..limits import Bitrates
from .section import Section, written

Port = Annotated[int, Field(ge=1, le=65535)]
IceUrl = Annotated[
    str, written(r"(stun|turns?):\S+", "an address begins with stun:, turn: or turns:, such as stun:stun.example.org:3478")
]
Topic = Annotated[str, written(r"[^#+\s]+", "a topic has no spaces, '#' or '+', such as home/puppetcast")]


class Http(Section):
    """The web server."""

    host: Annotated[str, written(r"\S+", "an address is expected, such as 127.0.0.1, or 0.0.0.0 for every network")] = Field(
        "127.0.0.1",
        description="Address to listen on: 127.0.0.1 for connections from this machine only, 0.0.0.0 for every network.",
    )
    port: int = Field(8080, ge=0, le=65535, description="TCP port to listen on. 0 picks a free one.")
    allowed_origins: list[str] = Field(
        default_factory=list,
        description="Other sites whose pages may use this server, such as https://a.example. '*' allows every site.",
    )
    names: list[str] = Field(
        default_factory=list,
        description="Names by which this server is reached, such as puppet.example.org. Requests for any other name are "
        "refused, except localhost and this machine's own addresses.",
    )
    tls_certificate: Path | None = Field(
        None, description="Certificate to serve https with, a PEM file with all of its chain. Its key is tls_key."
    )
    tls_key: Path | None = Field(None, description="Private key of tls_certificate, a PEM file.")
    trusted_proxies: list[str] = Field(
        default_factory=list,
        description="IP addresses or networks of proxies whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host "
        "are believed. If empty, none are.",
    )
    max_body_kb: int = Field(
        64, ge=1, le=10_000, description="Largest body of a request, in KB. Pictures and clips have limits of their own."
    )
    max_streams: int = Field(
        32, ge=0, le=1000,
        description="Largest number of streams, up to which PUT /api/streams/NAME may add more. Those in this file count, "
        "but are never refused. With 0, none can be added.",
    )  # fmt: skip
    max_uploads: int = Field(4, ge=1, le=100, description="Largest number of uploads at the same time.")
    max_listeners: int = Field(
        64, ge=1, le=10_000, description="Largest number of endless answers (events and MJPEG) at the same time."
    )
    max_listeners_per_address: int = Field(
        16, ge=1, le=10_000, description="Largest number of them to one IP address (IPv6: one /64 network)."
    )
    header_timeout_s: float = Field(
        10,
        gt=0,
        le=300,
        description="Longest time, in seconds from the start of the connection, that a request's head may take to arrive.",
    )
    body_timeout_s: float = Field(
        10, gt=0, le=300,
        description="Longest time, in seconds, that a request's body may take to arrive, unless it comes at 16 KB/s or more.",
    )  # fmt: skip
    keep_alive_s: float = Field(
        5, gt=0, le=300, description="Time without a request, in seconds, after which a connection is closed."
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _are_addresses(cls, values: list[str]) -> list[str]:
        for value in values:
            try:
                ip_network(value)
            except ValueError as exc:
                raise ValueError(f"'{value}' is no IP address or network; write one such as 10.0.0.2 or 10.0.0.0/24") from exc
        return values

    @model_validator(mode="after")
    def _has_both_files(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together; set both, or neither")
        return self


class StreamAuth(Section):
    """Tokens for one stream alone."""

    token: str = Field("", description="Token with which clients may watch, publish to and control this stream, and no other.")
    view_token: str = Field("", description="Token with which clients may watch this stream, and no other.")


class Auth(Section):
    """Who may do what. Clients send a token as 'Authorization: Bearer TOKEN' or '?token=TOKEN'."""

    token: str = Field(
        "",
        description="Token that clients must send to publish a camera or to control streams. If empty, everybody may, as long "
        "as the server listens on a loopback address; for other addresses, one is made.",
    )
    token_file: Path | None = Field(
        None,
        description="File that keeps a token made by the server. If not set, 'token' in the user's data folder.",
    )
    view_token: str = Field(
        "",
        description="Token that clients must send to watch, unless they send that of auth.token. "
        "If empty, watching needs the token of auth.token, if that is set.",
    )
    requests_per_minute: int = Field(
        120, ge=1, le=100000, description="Largest number of WHIP and WHEP requests per minute from one IP address."
    )
    wrong_tokens: int = Field(
        10,
        ge=1,
        le=1000,
        description="Number of different wrong tokens in a minute from one IP address (IPv6: one /64 network) after which "
        "further ones are answered 429. Those with a good one are still let in from there.",
    )
    streams: dict[str, StreamAuth] = Field(default_factory=dict, description="Tokens for one stream alone, by the stream's name.")

    @model_validator(mode="after")
    def _is_closed(self) -> Self:
        """A token for some things alone would leave the others open to everybody."""
        if not self.token and (self.view_token or self.streams):
            given = "view_token" if self.view_token else "streams"
            raise ValueError(f"{given} is set and token is not: everybody could control; set auth.token too")
        return self


class IceServer(Section):
    """A STUN or TURN server. Clients are told of every one; the server itself uses the first of each kind."""

    url: IceUrl = Field(description="Address of the server, such as stun:stun.example.org:3478 or turn:turn.example.org:3478.")
    username: str = Field("", description="User name for a TURN server.")
    credential: str = Field("", description="Password for a TURN server.")
    secret: str = Field(
        "",
        description="Secret shared with a TURN server, from which temporary credentials are made; then no credential is needed.",
    )
    ttl_s: int = Field(3600, ge=60, le=604800, description="Lifetime of temporary TURN credentials, in seconds.")


class WebRtc(Section):
    """WebRTC sessions: publishers, who send their camera, and viewers."""

    bind_addresses: list[str] = Field(
        default_factory=list, description="Local IP addresses used for media. If empty, all addresses of this machine."
    )
    host_address: str = Field(
        "",
        description="IP address at which clients reach this machine, if that is not its own: in a container or behind NAT.",
    )
    ports: tuple[Port, Port] | None = Field(
        None, description="First and last UDP port used for media. If not set, any free ports."
    )
    ice_servers: list[IceServer] = Field(
        default_factory=list, description="STUN and TURN servers, for clients and for this server."
    )
    max_sessions: int = Field(
        32, ge=1, le=1000, description="Largest number of sessions, publishers and viewers together, at the same time."
    )
    max_sessions_per_address: int = Field(
        8, ge=1, le=1000, description="Largest number of sessions from one IP address (IPv6: one /64 network) at the same time."
    )
    max_sessions_per_token: int = Field(
        24, ge=1, le=1000, description="Largest number of sessions with one token, or one link, at the same time."
    )
    max_connecting: int = Field(
        16, ge=1, le=1000, description="Largest number of sessions that have not connected yet, among max_sessions."
    )
    max_connecting_per_address: int = Field(
        4, ge=1, le=1000, description="Largest number of sessions from one IP address that have not connected yet."
    )
    max_channels: int = Field(4, ge=1, le=64, description="Largest number of data channels read from one viewer.")
    max_candidates: int = Field(
        16, ge=1, le=64, description="Largest number of addresses that one session's candidates may name; the rest are ignored."
    )
    max_offer_lines: int = Field(1500, ge=100, le=10000, description="Largest number of lines of an offer.")
    max_codecs: int = Field(64, ge=8, le=128, description="Largest number of payload types of each medium of an offer.")
    max_frame_pixels: int = Field(
        4096 * 4096, ge=64 * 64, le=16384 * 16384,
        description="Largest picture of a publisher, in pixels. Larger ones are not decoded.",
    )  # fmt: skip
    handshake_timeout_s: float = Field(
        10, gt=0, le=60, description="A session that has not connected after this many seconds is closed."
    )
    idle_timeout_s: float = Field(
        10, gt=0, le=300, description="A publisher that has sent no picture for this many seconds is disconnected."
    )
    bitrate_kbps: int = Field(
        Bitrates.start // 1000, ge=100, le=20000,
        description="Initial video bitrate sent to viewers, in kbit/s; also that of push outputs.",
    )  # fmt: skip
    min_bitrate_kbps: int = Field(
        Bitrates.least // 1000, ge=50, le=20000,
        description="Lowest video bitrate sent to viewers, in kbit/s, however slow their connections are.",
    )  # fmt: skip
    max_bitrate_kbps: int = Field(
        Bitrates.most // 1000, ge=100, le=50000,
        description="Highest video bitrate sent to viewers, in kbit/s, however fast their connections are.",
    )  # fmt: skip
    shared_bitrate_kbps: int = Field(
        1000, ge=50, le=20000,
        description="Lowest video bitrate, in kbit/s, to which one slow viewer may bring down the other viewers of a stream. "
        "Below that it receives fewer frames instead.",
    )  # fmt: skip
    uplink_kbps: tuple[int, int, int] = Field(
        (300, 2000, 3000), description="Lowest, initial and highest bitrate asked of a publishing browser, in kbit/s."
    )

    @field_validator("ports", "uplink_kbps")
    @classmethod
    def _rise(cls, values: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if values is not None and list(values) != sorted(values):
            raise ValueError(f"the lowest comes first; write {sorted(values)} (given: {list(values)})")
        return values

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.min_bitrate_kbps > self.max_bitrate_kbps:
            raise ValueError(
                f"min_bitrate_kbps, {self.min_bitrate_kbps}, is above max_bitrate_kbps, {self.max_bitrate_kbps}; "
                "lower the one or raise the other"
            )
        return self


class Mqtt(Section):
    """Control and telemetry over an MQTT broker."""

    url: str = Field(
        "",
        description="Address of the MQTT broker: mqtt://, mqtts://, ws:// or wss://, then HOST or HOST:PORT. "
        "If empty, MQTT is not used.",
    )
    username: str = Field("", description="User name for the MQTT broker.")
    password: str = Field("", description="Password for the MQTT broker.")
    ca_file: Path | None = Field(
        None, description="CA certificates to check the broker's with, for mqtts:// and wss://. If not set, the system's."
    )
    cert_file: Path | None = Field(
        None, description="Client certificate to show to the broker, for mqtts:// and wss://. Its key is key_file."
    )
    key_file: Path | None = Field(None, description="Private key of cert_file.")
    protocol: Literal["5", "3.1.1"] = Field("5", description="Version of MQTT: 5 or 3.1.1.")
    base_topic: Topic = Field("puppetcast", description="First part of all topics.")
    server: Annotated[str, written(r"[A-Za-z0-9_.-]{0,64}", "a name has up to 64 letters, digits, '-', '_' and '.'")] = Field(
        "",
        description="Name of this server, where several with different streams share a broker: each then says for itself whether "
        "it is there, and only the one that has a stream answers its commands. If empty, this server is the only one.",
    )
    response_topics: list[str] = Field(
        default_factory=list,
        description="First parts of further topics, besides base_topic/…/result, to which a command may have its answer sent.",
    )
    telemetry_s: float = Field(1, ge=0.2, le=3600, description="Time between telemetry messages, in seconds.")
    picture_s: float = Field(10, ge=0, le=3600, description="Time between JPEG pictures, in seconds. 0 sends none.")
    discovery: bool = Field(True, description="Whether the streams are announced to Home Assistant, so that they appear there.")
    discovery_prefix: Topic = Field(
        "homeassistant", description="First part of the topics where Home Assistant looks for devices."
    )


class Persistence(Section):
    """Whether settings that are changed while live survive a restart."""

    file: Path | None = Field(
        None, description="JSON file that keeps changed settings. If not set, they are lost when the server stops."
    )


class Portraits(Section):
    """Uploaded portraits and puppets."""

    keep: bool = Field(True, description="Whether uploads survive a restart.")
    folder: Path | None = Field(
        None, description="Folder of the uploads that are kept. If not set, 'portraits' in the user's data folder."
    )
    max_count: int = Field(
        200,
        ge=1,
        le=2000,
        description="Largest number of uploads. Once it is reached, a new upload must name those that it replaces.",
    )
    max_mb: int = Field(
        1000,
        ge=64,
        le=1_000_000,
        description="Largest size of all uploads together, in MB. Once it is reached, the same applies.",
    )
    ask_whose: Literal["page", "always", "never"] = Field(
        "page",
        description="Whether whoever uploads a portrait has to say whose face it shows: on the page (page), by every way "
        "(always) or by none (never).",
    )
    max_megapixels: float = Field(
        16, ge=0.1, le=40,
        description="Largest picture that may be uploaded, in millions of pixels; each needs up to ten bytes of memory for "
        "a moment. JPEGs may have 250, HEIC pictures 50.",
    )  # fmt: skip
    background: str = Field(to_text(GROUND), description="Colour behind the transparent parts of a picture.")

    @field_validator("background", mode="before")
    @classmethod
    def _is_a_colour(cls, value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError(f'a colour in quotes is expected, such as "{to_text(GROUND)}": a bare # begins a comment')
        parse_colour(value)
        return value

    @property
    def ground(self) -> Colour:
        """The background's red, green and blue."""
        return parse_colour(self.background)


class Drives(Section):
    """The log of who drove what, and when; it stays on this machine."""

    keep: bool = Field(
        True,
        description="Whether it is kept who drove which portrait when: of a camera the network that it is published from, of a "
        "source its name. No picture, and nothing of a face.",
    )
    file: Path | None = Field(
        None,
        description="File that keeps it, a line of JSON for each change. If not set, 'drives.jsonl' in the user's data folder.",
    )
    max_kb: int = Field(1000, ge=16, le=100_000, description="Largest size of that file, in KB; the oldest lines go first.")
    max_days: float = Field(90, gt=0, le=3650, description="Age, in days, after which lines go.")


class Downloads(Section):
    """Model files. The variable PUPPETCAST_MODELS sets their folder."""

    fetch: bool = Field(
        True,
        description="Whether the face model is downloaded at the first start, or, where its host cannot be reached, those of "
        "the litert tracker, with pip.",
    )
    timeout_s: float = Field(
        4, gt=0, le=600, description="Time without an answer, in seconds, after which a download is abandoned."
    )
