"""Tokens: those of the config, one that was made, and links that hold for a while."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from ..addresses import is_loopback
from ..config import Auth, Config
from ..errors import ConfigError
from .rights import Needs, Of, Right

LINK = re.compile(r"link\.([a-z]+)\.([a-z0-9_-]+)\.(\d{1,12})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class Grant:
    """A right to one stream, or to all of them and the server."""

    right: Right
    stream: str | None = None

    def allows(self, right: Right, of: Of, stream: str | None = None) -> bool:
        """Whether it is enough. stream: which one it is about, of Of.STREAM."""
        return self.right >= right and (of is Of.ANY or self.stream is None or (of is not Of.SERVER and self.stream == stream))

    def __str__(self) -> str:
        return f"the right to {self.right.name.lower()} " + ("every stream" if self.stream is None else f"stream '{self.stream}'")


EVERYTHING = Grant(Right.CONTROL)


class Tokens:
    """What tokens are good for. clock: seconds since 1970."""

    def __init__(self, auth: Auth, clock: Callable[[], float] = time.time) -> None:
        self._key = auth.token
        self._clock = clock
        given = [(auth.token, EVERYTHING), (auth.view_token, Grant(Right.VIEW))]
        for name, own in auth.streams.items():
            given += [(own.token, Grant(Right.CONTROL, name)), (own.view_token, Grant(Right.VIEW, name))]
        self._known = [(token.encode(), grant) for token, grant in given if token]

    @property
    def wanted(self) -> bool:
        """Whether any token is needed."""
        return bool(self._key)

    def grants(self, token: str) -> list[Grant]:
        """What `token` is good for; nothing if it is unknown, or over."""
        given = token.encode("utf-8", "surrogateescape")
        found = [grant for known, grant in self._known if hmac.compare_digest(known, given)]
        return found or self._linked(token)

    def _linked(self, token: str) -> list[Grant]:
        parts = LINK.fullmatch(token)
        if parts is None or not self._key:
            return []
        right, stream, until, _ = parts.groups()
        good = hmac.compare_digest(token.encode(), _signed(self._key, right, stream, int(until)).encode())
        if not good or self._clock() > int(until):
            return []
        return [Grant(Right[right.upper()], stream)]

    def link(self, right: Right, stream: str, minutes: float) -> str:
        """A token for one stream that holds for so long."""
        return _signed(self._key, right.name.lower(), stream, int(self._clock() + minutes * 60))


def _signed(key: str, right: str, stream: str, until: int) -> str:
    text = f"link.{right}.{stream}.{until}"
    digest = hmac.new(key.encode(), f"puppetcast {text}".encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def allowed(grants: list[Grant], asked: Needs, stream: str | None) -> bool:
    """Whether one of the grants is enough for a route."""
    return asked.right is None or any(grant.allows(asked.right, asked.of, stream) for grant in grants)


def in_words(grants: list[Grant]) -> str:
    """What somebody may do."""
    return " and ".join(map(str, grants))


def is_open(config: Config) -> bool:
    """Whether others than programs of this machine reach the server: by its address, or by a proxy before it."""
    return not is_loopback(config.http.host) or bool(config.http.names or config.http.trusted_proxies)


def token_file(auth: Auth) -> Path:
    """Where a token that was made is kept."""
    return (auth.token_file or user_data_path("puppetcast") / "token").expanduser()


def kept_token(auth: Auth) -> str:
    """The token that was made; nothing if there is none. ConfigError where it cannot be read."""
    path = token_file(auth)
    try:
        token = path.read_text("utf-8").strip()
        if token and path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"auth.token_file: {path}: {getattr(exc, 'strerror', None) or 'not text'}") from exc
    return token


def closed(config: Config) -> tuple[Config, bool]:
    """The config with a token where it is open to others and has none, made if need be; and whether it has just been made.
    ConfigError where it cannot be kept."""
    auth = config.auth
    if auth.token or not is_open(config):
        return config, False
    token = kept_token(auth)
    made = not token
    if made:
        token = secrets.token_urlsafe(24)
        _keep(token_file(auth), token)
    return config.model_copy(update={"auth": auth.model_copy(update={"token": token})}), made


def _keep(path: Path, token: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # an empty one
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(token + "\n")
    except OSError as exc:
        raise ConfigError(
            f"auth: others reach this server, and the token made for it cannot be kept in {path} ({exc.strerror}); "
            "set auth.token or auth.token_file"
        ) from exc
