"""STUN and TURN servers: what clients are told, and what the server itself uses."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

from aiortc import RTCIceServer

from ..config import IceServer


class IceServers:
    """The servers of the config, with credentials that are good now."""

    def __init__(self, servers: list[IceServer]) -> None:
        self._servers = servers

    def links(self) -> list[str]:
        """A Link header for each (RFC 9725 §4.6)."""
        return [_link(server.url, *credentials(server)) for server in self._servers]

    def own(self) -> list[RTCIceServer]:
        """For aiortc, which takes one STUN and one TURN server and would ask a public one if it were given none."""
        out = []
        for server in self._servers:
            username, credential = credentials(server)
            out.append(RTCIceServer(server.url, username or None, credential or None))
        return out


def credentials(server: IceServer) -> tuple[str, str]:
    """User and password. From a shared secret: draft-uberti-behave-turn-rest-00, as coturn's use-auth-secret has it."""
    if not server.secret:
        return server.username, server.credential
    username = f"{int(time.time()) + server.ttl_s}:{server.username or 'puppetcast'}"
    digest = hmac.new(server.secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


def _link(url: str, username: str, credential: str) -> str:
    link = f'<{url}>; rel="ice-server"'
    if username:
        link += f'; username="{username}"; credential="{credential}"; credential-type="password"'
    return link
