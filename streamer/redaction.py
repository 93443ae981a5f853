"""Addresses with user and password in them: taken apart, checked, and as they may be shown."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import quote, unquote

from .errors import ConfigError

HIDDEN = "***"
# Keys whose values are secrets, as cameras have them in path and query, separated by "&" or "_": user=admin_password=x_channel=1
_NAMES = (
    r"[\w.-]*?(?:pass|pwd|pword|psw|token|key|user|usr|login|secret|auth|sig|cred|sess|streamid|(?<![a-z])(?:pw|pin)(?![a-z]))"
    r"[\w.-]*?"
)
_PAIR = re.compile(rf"({_NAMES})=(.*?)(?=[&;]|_[a-z]+=|$)", re.IGNORECASE)
_SEGMENT = re.compile(rf"(?<=/)({_NAMES})/[^/]+", re.IGNORECASE)
# A part of a path that nobody makes up: long, and ever changing between digits and letters, large and small.
_OPAQUE = re.compile(r"(?<=/)[\w~=+-]{16,}", re.ASCII)
_CHANGE = re.compile(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])")
_HEX = re.compile(r"[0-9a-f-]{24,}", re.IGNORECASE)
MIXED = 0.16  # changes a character
STREAM_KEYS = ("rtmp", "rtmps", "rtmpt", "rtmpts")  # the last part of their paths says who may publish
ODD = re.compile(
    r"[\s#/?\[\]\\\"<>^`{|}]"
)  # end a user or password for one reader of addresses or another, if written as they are

TELLTALES = ("httpx", "httpcore.connection", "httpcore.http11")  # loggers that tell whole addresses, and headers of answers
_unlogged: ContextVar[bool] = ContextVar("unlogged", default=False)
for _name in TELLTALES:
    logging.getLogger(_name).addFilter(lambda record: not _unlogged.get())


@contextmanager
def unlogged() -> Iterator[None]:
    """Let httpx log nothing of what this task asks, whatever the level: who embeds a server may well log at INFO."""
    before = _unlogged.set(True)
    try:
        yield
    finally:
        _unlogged.reset(before)


@dataclass(frozen=True)
class Address:
    """scheme://user:password@host/path?query. user, password: as they are written; host: with its port; path: from its "/";
    query: with what may follow it, without "?"."""

    scheme: str
    user: str
    password: str
    host: str
    path: str
    query: str

    @classmethod
    def of(cls, url: str) -> Address:
        """Of any text. Who may log in is what stands before the last "@", as a password may have every character in it."""
        scheme, found, rest = url.partition("://")
        if not found:
            scheme, rest = "", url
        before, at, after = rest.rpartition("@")
        if at and not (":" in before or "/" not in before):  # an "@" in a path
            before, after = "", rest
        user, _, password = before.partition(":")
        cut = re.search(r"[/?#]", after)
        host, tail = (after, "") if cut is None else (after[: cut.start()], after[cut.start() :])
        path, query = re.fullmatch(r"([^?#]*)[?#]?(.*)", tail, re.DOTALL).groups()  # type: ignore[union-attr]
        return cls(scheme.lower(), user, password, host, path, query)

    @property
    def login(self) -> tuple[str | None, str | None]:
        """User and password as they are meant: decoded, None where there is none."""
        return unquote(self.user) or None, unquote(self.password) or None

    def shown(self) -> str:
        """Without anything that is a secret."""
        path = _SEGMENT.sub(rf"\1/{HIDDEN}", _PAIR.sub(rf"\1={HIDDEN}", self.path))
        path = _OPAQUE.sub(lambda part: HIDDEN if _is_opaque(part[0]) else part[0], path)
        folder, slash, last = path.rpartition("/")
        if self.scheme in STREAM_KEYS and folder and last:
            path = f"{folder}{slash}{HIDDEN}"
        start = f"{self.scheme}://" if self.scheme else ""
        login = f"{HIDDEN}@" if self.user or self.password else ""
        return f"{start}{login}{self.host}{path}{f'?{HIDDEN}' if self.query else ''}"


def _is_opaque(part: str) -> bool:
    changes = len(_CHANGE.findall(part))
    return any(c.isdigit() for c in part) and (changes >= MIXED * len(part) or (changes > 0 and _HEX.fullmatch(part) is not None))


def redacted(url: str) -> str:
    """The address without user, password, query, and what else of it is a secret. Takes any text."""
    return Address.of(url).shown()


def check_address(url: str) -> None:
    """ConfigError, with the cure, where user or password have characters that end them for what opens the address, or where
    there is no such port."""
    address = Address.of(url)
    port = re.search(r":(\d+)$", address.host)
    if port is not None and int(port[1]) > 65535:
        raise ConfigError(f"'{redacted(url)}': there is no port {port[1]}; the last one is 65535")
    odd = dict.fromkeys(ODD.findall(f"{address.user}{address.password}"))
    if odd:
        signs, cures = (" and ".join(each) for each in ([f"'{c}'" for c in odd], [quote(c, safe="") for c in odd]))
        raise ConfigError(
            f"'{redacted(url)}': the user or password has {signs} in it; write that as {cures} (and an '@' of the path as %40)"
        )
