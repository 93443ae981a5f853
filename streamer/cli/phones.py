"""What `puppetcast serve --lan` says: how a phone becomes the camera."""

from __future__ import annotations

from urllib.parse import urlsplit

from rich.text import Text

from ..config import Config
from .console import console


def tell_phones(config: Config, url: str) -> None:
    """url: of the page, as others reach it."""
    from ..http.certificate import fingerprint, own_folder
    from ..http.lan import lan_addresses
    from ..http.phone import HOLDS_MIN, link
    from ..http.qr import qr_text
    from ..http.tokens import Tokens

    if not (found := lan_addresses()):
        console.print("this machine is in no network: no phone reaches it")
        return
    for stream in config.streams:
        page = link(url, stream, Tokens(config.auth))
        console.print(Text.assemble(f"\na phone as camera of '{stream}', for {HOLDS_MIN // 60} hours: ", (page, "bold")))
        if console.is_terminal and console.encoding.startswith("utf"):
            console.print(Text(qr_text(page), "black on white"))
    if config.http.tls_certificate and config.http.tls_certificate.parent == own_folder():
        console.print("The phone warns of this server's own certificate, once: go on. Its SHA-256 fingerprint is")
        console.print(Text(fingerprint(config.http.tls_certificate)))  # ":AB:" is an emoji in a str
    others = [f"{address} ({name})" for address, name in found.items() if address != urlsplit(url).hostname]
    if others:
        console.print(f"other addresses of this machine: {', '.join(others)}")
