"""Passes: who has one may drive the portraits that are locked for it, and may let others drive for a while by a grant.

A lock is a public key (Ed25519), so that whoever holds the portrait's file, or the server that shows it, has no pass.
"""

from __future__ import annotations

import base64
import binascii
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .errors import PuppetError

BYTES = 32  # of a key
PASS = re.compile(r"pass\.([A-Za-z0-9_-]{43})")
GRANT = re.compile(r"grant\.(\d{1,12})\.([A-Za-z0-9_-]{86})")
LOCK = re.compile(r"[A-Za-z0-9_-]{43}")


def made() -> str:
    """A new pass."""
    return f"pass.{_text(Ed25519PrivateKey.generate().private_bytes_raw())}"


def lock_of(given: str) -> str:
    """The lock that a pass opens; PuppetError for what is none."""
    return _text(_key(given).public_key().public_bytes_raw())


def is_lock(text: str) -> bool:
    """Whether a text is a lock, which some pass may open."""
    return LOCK.fullmatch(text) is not None


def grant(given: str, until_s: float) -> str:
    """What opens the lock of a pass as well, until `until_s` (Unix time). PuppetError for what is no pass."""
    until = int(until_s)
    return f"grant.{until}.{_text(_key(given).sign(_signed(until)))}"


def opens(given: str, lock: str, now_s: float) -> bool:
    """Whether a pass, or a grant that still holds at `now_s` (Unix time), opens a lock. Takes any text."""
    if PASS.fullmatch(given):
        return lock_of(given) == lock
    parts = GRANT.fullmatch(given)
    if parts is None or now_s > int(parts[1]):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(_bytes(lock)).verify(_bytes(parts[2]), _signed(int(parts[1])))
    except (InvalidSignature, ValueError):
        return False
    return True


def _key(given: str) -> Ed25519PrivateKey:
    parts = PASS.fullmatch(given)
    if parts is None:
        raise PuppetError("this is no pass; one begins with 'pass.'")
    return Ed25519PrivateKey.from_private_bytes(_bytes(parts[1]))


def _signed(until: int) -> bytes:
    return f"puppetcast grant {until}".encode()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as exc:
        raise ValueError(str(exc)) from exc
