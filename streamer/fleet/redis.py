"""Whether the Redis server that is to keep the fleet's state is there, and lets in those alone who know its password."""

from __future__ import annotations

import socket

from ..errors import ConfigError

ASK_S = 3.0
KEY = "fleet.ray.redis"


def check(address: str, password: str) -> None:
    """ConfigError says what is wrong, and the cure."""
    if not address:
        raise ConfigError(f"{KEY}: not set; a fleet's state is kept by Redis (apt install redis-server), such as 127.0.0.1:6379")
    if not password:
        raise ConfigError(f"{KEY}_password: not set; whoever reaches {address} could change the fleet's state: give it one")
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), ASK_S) as connection:
            open_to_all = _said(connection, "PING")
            let_in = _said(connection, "AUTH", password)
            alive = _said(connection, "PING")
    except (OSError, OverflowError) as exc:
        raise ConfigError(f"{KEY}: no Redis answers at {address} ({getattr(exc, 'strerror', None) or exc})") from exc
    if open_to_all.startswith("+"):
        raise ConfigError(f"{KEY}: {address} lets everybody in; set requirepass in its redis.conf")
    if not open_to_all.startswith(("-NOAUTH", "-DENIED")):
        raise ConfigError(f"{KEY}: what answers at {address} is no Redis ({open_to_all[:60]!r})")
    if not (let_in.startswith("+OK") and alive.startswith("+PONG")):
        raise ConfigError(f"{KEY}_password: {address} does not take it ({(let_in if let_in[:1] == '-' else alive)[1:80]})")


def _said(connection: socket.socket, *words: str) -> str:
    """The first line of the answer to a command (RESP)."""
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
    return connection.recv(512).decode("utf-8", "replace").partition("\r\n")[0]
