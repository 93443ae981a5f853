"""Certificates that vouch for themselves, as files."""

from __future__ import annotations

from pathlib import Path

from aiortc import RTCCertificate
from cryptography.hazmat.primitives import serialization

PEM = serialization.Encoding.PEM


def write_pem(folder: Path) -> tuple[Path, Path]:
    """A certificate's file, and that of its key, which holds the certificate too."""
    own = RTCCertificate.generateCertificate()
    certificate, key = own._cert.public_bytes(PEM), own._key
    secret = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate)
    paths[1].write_bytes(secret + certificate)
    return paths
