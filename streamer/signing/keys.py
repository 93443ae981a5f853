"""Whose key signs: a company's, or one that is made once, which nobody vouches for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from platformdirs import user_data_path

from pipeline.errors import OutputError
from pipeline.outfile import finished

from ..config import Signing
from ..errors import ConfigError

OWN = "own.pem"  # key and certificates in one file: two processes may make it at once
LASTS = timedelta(days=3650)
LEFT = timedelta(days=30)  # before its end it is made anew
PEM = serialization.Encoding.PEM
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True)
class Credentials:
    """chain, key: PEM, the own certificate first. algorithm: as C2PA calls it. signer: whose they are; own: made here."""

    chain: bytes
    key: bytes
    algorithm: str
    signer: str
    own: bool


def credentials(config: Signing) -> Credentials:
    """Those of the config, or those that are kept here, made if need be. ConfigError."""
    if config.certificate is not None and config.key is not None:
        return _read(config.certificate, config.key, own=False)
    folder = (config.folder or user_data_path("puppetcast") / "signing").expanduser()
    path = folder / OWN
    try:
        if not path.exists() or _ends(path) < datetime.now(UTC) + LEFT:
            _make(path)
    except (OSError, OutputError) as exc:
        raise ConfigError(
            f"signing: the key that is made cannot be kept in {folder} ({exc}); set signing.folder, or signing.certificate and "
            "signing.key, or signing.enabled to false"
        ) from exc
    return _read(path, path, own=True)


def _ends(chain: Path) -> datetime:
    """When a certificate that was made here does. ConfigError for what is none: with another key, signatures would be somebody
    else's from now on, and nobody told."""
    try:
        return x509.load_pem_x509_certificates(chain.read_bytes())[0].not_valid_after_utc
    except ValueError as exc:
        raise ConfigError(
            f"signing: {chain} is damaged; put back what it was, or delete it: then another key is made, and it signs as "
            "somebody else"
        ) from exc


def _read(chain: Path, key: Path, own: bool) -> Credentials:
    texts = {}
    for name, path in (("certificate", chain), ("key", key)):
        try:
            texts[name] = path.expanduser().read_bytes()
        except OSError as exc:
            raise ConfigError(f"signing.{name}: {path}: {exc.strerror}") from exc
    try:
        certificates = x509.load_pem_x509_certificates(texts["certificate"])
        first = certificates[0]
    except ValueError as exc:
        raise ConfigError(f"signing.certificate: {chain}: no certificate in PEM") from exc
    try:
        secret = serialization.load_pem_private_key(texts["key"], None)
    except (ValueError, TypeError) as exc:
        why = "has a password; write it without one" if isinstance(exc, TypeError) else "no private key in PEM"
        raise ConfigError(f"signing.key: {key}: {why}") from exc
    if secret.public_key() != first.public_key():
        raise ConfigError(f"signing.key: {key}: not the key of {chain}")
    if first.not_valid_after_utc < datetime.now(UTC):
        raise ConfigError(f"signing.certificate: {chain}: ended on {first.not_valid_after_utc:%Y-%m-%d}; get a new one")
    pem = b"".join(each.public_bytes(PEM) for each in certificates)
    return Credentials(pem, _pkcs8(secret), _algorithm(secret, key), _named(first), own)


def _algorithm(key: PrivateKeyTypes, path: Path) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
        return CURVES[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise ConfigError(f"signing.key: {path}: C2PA knows keys of P-256, P-384, P-521, Ed25519 and RSA alone")


def _named(certificate: x509.Certificate) -> str:
    """Whose it is, in words."""
    for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
        if names := certificate.subject.get_attributes_for_oid(oid):
            return str(names[0].value)
    return certificate.subject.rfc4514_string()


def _pkcs8(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _make(path: Path) -> None:
    """A certificate, and one that signed it: C2PA takes none that vouches for itself. The key of that one is thrown away."""
    root, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    above, name = (_name(f"puppetcast on this machine, {what}") for what in ("root", "signer"))
    leaf = _certificate(name, above, own.public_key(), root, False)
    top = _certificate(above, above, root.public_key(), root, True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with finished(path) as part:
        os.chmod(part, 0o600)  # before there is anything in it
        part.write_bytes(_pkcs8(own) + leaf.public_bytes(PEM) + top.public_bytes(PEM))


def _name(common: str) -> x509.Name:
    pairs = ((NameOID.ORGANIZATION_NAME, "puppetcast"), (NameOID.COMMON_NAME, common))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs])


def _certificate(
    subject: x509.Name, issuer: x509.Name, public: PublicKeyTypes, by: ec.EllipticCurvePrivateKey, ca: bool
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())  # type: ignore[arg-type]
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LASTS)
        .add_extension(x509.BasicConstraints(ca, 0 if ca else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)  # type: ignore[arg-type]
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(by, hashes.SHA256())
