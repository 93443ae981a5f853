"""Files that say what they are: signing them, and reading what they say. The library is imported when it is needed first."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipeline.errors import OutputError, PuppetError
from pipeline.mark.marker import Marker
from pipeline.outfile import finished, scratch_beside, written
from pipeline.portrait import Portrait

from ..config import Signing
from ..errors import ConfigError
from .keys import Credentials, credentials
from .manifest import Made, Statement

STARTS = {
    b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"GIF8": "image/gif", b"RIFF": "image/webp",
    b"\x1a\x45\xdf\xa3": "video/webm",
}  # fmt: skip
HEAD = 12  # bytes that tell of what kind a file is
BESIDE = ("video/webm",)  # C2PA has no place in them: the statement lies in a file of its own beside
SIDECAR, FRESH = ".c2pa", ".signing"
SETTINGS = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"verify_after_sign": False}}


def kind_of(head: bytes) -> str:
    """The media type of a file by its first bytes; nothing for what is not signed."""
    if head[4:8] == b"ftyp":
        return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"
    return next((kind for start, kind in STARTS.items() if head.startswith(start)), "")


@dataclass(frozen=True)
class Signer:
    """Signs with a key; for any thread. authority: of time, "" for none."""

    credentials: Credentials
    authority: str = ""

    def sign(self, path: Path, made: Made, to: Path | None = None, named: Path | None = None) -> Path | None:
        """Write a finished file as `to`, or in its own place, so that it says what it is. named: what it will be called, if that
        is neither; the statement of a kind that cannot hold one is written beside that, as the file that is returned.
        OutputError; nothing has changed then."""
        to = to or path
        named = named or to
        with written(to), path.open("rb") as source:
            kind = kind_of(source.read(HEAD))
            source.seek(0)
            if kind in BESIDE:
                beside = named.with_suffix(SIDECAR)
                with finished(beside) as part:
                    part.write_bytes(self._signed(source, io.BytesIO(), kind, made, named))
                return beside
            with scratch_beside(to, FRESH) as fresh:
                with fresh.open("w+b") as target:
                    self._signed(source, target, kind, made, named)
                shutil.copymode(path, fresh)
                os.replace(fresh, to)
        return None

    def signed(self, data: bytes, made: Made, title: str) -> bytes:
        """A file in memory that says what it is, of a kind that can; OutputError."""
        target = io.BytesIO()
        self._signed(io.BytesIO(data), target, kind_of(data[:HEAD]), made, Path(title))
        return target.getvalue()

    def _signed(self, source: IO[bytes], target: IO[bytes], kind: str, made: Made, path: Path) -> bytes:
        """The statement, which has been written into `target` with what is in `source` unless it goes beside."""
        import c2pa

        own = self.credentials
        info = c2pa.C2paSignerInfo(
            alg=own.algorithm.encode(), sign_cert=own.chain, private_key=own.key, ta_url=self.authority.encode() or None
        )
        try:
            context = c2pa.Context(c2pa.Settings.from_dict(SETTINGS))
            with c2pa.Builder(json.dumps(made.manifest(path.name)), context) as builder, c2pa.Signer.from_info(info) as signer:
                if kind in BESIDE:
                    builder.set_no_embed()
                return bytes(builder.sign(signer, kind, source, target))
        except c2pa.C2paError as exc:
            raise OutputError(f"{path}: cannot be signed ({exc})") from exc


def sign_files(
    signer: Signer | None, engine: str, source: Portrait | Path, marker: Marker
) -> Callable[[Path, Path], Path | None]:
    """What signs files that `engine` makes of a portrait or a clip, see `offline.mux.Output`."""
    if signer is None:
        return lambda part, path: None
    payload = marker.payload
    portrait, mark = source.sha256 if isinstance(source, Portrait) else "", payload.hex if payload is not None else ""
    made = Made.of([(engine, portrait, mark)])
    return lambda part, path: signer.sign(part, made, named=path)


def open_signer(config: Signing) -> Signer | None:
    """As the config says; None where nothing is to be signed. ConfigError, also for a certificate that C2PA does not take."""
    if not config.enabled:
        return None
    signer = Signer(credentials(config), config.time_authority)
    if not signer.credentials.own:
        try:
            signer.signed(_dot(), Made(), "dot.png")
        except OutputError as exc:
            raise ConfigError(f"signing.certificate: {config.certificate}: {exc}") from exc
    return signer


def _dot() -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.new("L", (2, 2)).save(data, "png")
    return data.getvalue()


def read(path: Path) -> Statement | None:
    """What a file says of itself, or what lies beside it does; None where nothing is said, as in files of before. PuppetError for
    what cannot be read."""
    beside = path.with_suffix(SIDECAR)
    try:
        with path.open("rb") as source:
            kind = kind_of(source.read(HEAD))
            source.seek(0)
            kept = beside.read_bytes() if kind in BESIDE and beside.exists() else None
            return None if not kind or (kind in BESIDE and kept is None) else _read(source, kind, kept)
    except OSError as exc:
        raise PuppetError(f"{path}: {exc.strerror}") from exc


def _read(source: IO[bytes], kind: str, kept: bytes | None) -> Statement | None:
    import c2pa

    try:
        with c2pa.Reader(kind, source, manifest_data=kept) as reader:
            store: dict[str, Any] = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError as exc:  # a statement that is broken is one that does not hold
        return Statement("", "", False, False, (str(exc),), "", Made())
    return Statement.of(store)
