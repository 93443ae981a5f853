"""A certificate that vouches for itself, made once: browsers give cameras to pages by https alone."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from platformdirs import user_data_path

from ..errors import ConfigError

LASTS = timedelta(days=800)  # Apple's systems take none that lasts longer than 825 days
LEFT = timedelta(days=30)  # before its end it is made anew
MOST_ADDRESSES = 16
_Address = IPv4Address | IPv6Address


def own_folder() -> Path:
    """Where it is kept."""
    return user_data_path("puppetcast") / "tls"


def own_certificate(addresses: Iterable[str], folder: Path | None = None) -> tuple[Path, Path]:
    """The certificate's file and its key's; made where there is none for all of these addresses, or it ends soon. One that is
    made anew is for the addresses of before, too: a laptop comes back. ConfigError where it cannot be kept."""
    folder = folder or own_folder()
    paths = folder / "certificate.pem", folder / "key.pem"
    wanted, known = [ip_address(address) for address in addresses], _addresses_of(*paths)
    if known is None or not set(wanted) <= set(known):
        _make(paths, list(dict.fromkeys([*wanted, *(known or [])]))[:MOST_ADDRESSES])
    return paths


def _addresses_of(certificate: Path, key: Path) -> list[_Address] | None:
    """Those that a kept certificate is for; None for none that can be used."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        own = serialization.load_pem_private_key(key.read_bytes(), None)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return None
    if own.public_key() != found.public_key() or found.not_valid_after_utc < datetime.now(UTC) + LEFT:
        return None
    return names.get_values_for_type(x509.IPAddress)  # type: ignore[return-value]


def _make(paths: tuple[Path, Path], addresses: list[_Address]) -> None:
    key, now, host = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC), socket.gethostname()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"puppetcast on {host}"[:64])])
    names = [x509.DNSName(each) for each in ("localhost", f"{host}.local") if each.isascii()]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks of phones
        .not_valid_after(now + LASTS)
        .add_extension(x509.SubjectAlternativeName([*names, *map(x509.IPAddress, addresses)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for path, data in zip(paths, (certificate.public_bytes(pem), secret), strict=True):
        _keep(path, data)


def _keep(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        fresh.replace(path)
    except OSError as exc:
        raise ConfigError(
            f"--lan: a certificate cannot be kept in {path.parent} ({exc.strerror}); give one of your own with "
            "http.tls_certificate and http.tls_key"
        ) from exc


def fingerprint(certificate: Path) -> str:
    """Its SHA-256, as browsers show it."""
    return x509.load_pem_x509_certificate(certificate.read_bytes()).fingerprint(hashes.SHA256()).hex(":").upper()
