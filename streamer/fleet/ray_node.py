"""Ray on one machine: how its processes are started, with what a live service needs of them. Imports nothing of Ray's.

Ray's defaults are for batch work: it makes its workers nice by 15, so that any other process starves live media; a minute after
its head has gone every node ends, and the media with it; a machine that hangs is noticed after 15 s; and whoever reaches its
ports may run code there.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_data_path

from pipeline.cores import available
from pipeline.installation import pip_install

from ..errors import ConfigError, StreamerError
from . import processes, ray_head, redis

if TYPE_CHECKING:
    from ..config import Fleet

SERIES = "2.60."
SLOTS = "stream_slots"  # the resource of which each worker takes one
HEAD = "fleet_head"  # the resource of the first machine: director and fronts are there, and so not on one that only works
START_S = 180.0
STOP_S = 10.0
ASK_S = 3.0
ADDRESS = r"[^\s:/]+:\d{1,5}"
# A client of HTTP/2, as gRPC is one, begins with this and its settings, and a server answers with its own (RFC 9113, 3.4, 6.5).
OF_SETTINGS = 4
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, OF_SETTINGS, 0, 0, 0, 0, 0))
START = "PUPPETCAST_FLEET_START"  # in the environment of all that one start begins
FLEET = "PUPPETCAST_FLEET"  # in that of all that is the fleet's
RAY = (sys.executable, "-m", "ray.scripts.scripts")  # the command `ray`, of this Python
SETTINGS = {
    "RAY_worker_niceness": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "3600",  # media goes on without a head
    "RAY_health_check_initial_delay_ms": "5000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_AUTH_MODE": "token",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # a busy machine takes longer than its 5 s to start one
}


def check_installed() -> None:
    """ConfigError where Ray is not here, or of another series than `ray_head` knows."""
    if find_spec("ray") is None:
        raise ConfigError(f"fleet: Ray is not installed; {pip_install('fleet')}")
    if not version("ray").startswith(SERIES):
        raise ConfigError(f"fleet: Ray {version('ray')} is here, {SERIES}x is needed; {pip_install('fleet')}")


def token_file(fleet: Fleet) -> Path:
    """Where the token lies that Ray's processes ask of each other."""
    return (fleet.ray.token_file or user_data_path("puppetcast") / "ray_token").expanduser()


def make_token(fleet: Fleet) -> None:
    """Make the token if there is none; ConfigError."""
    path = token_file(fleet)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        path.chmod(0o600)
    except OSError as exc:
        raise ConfigError(f"fleet.ray.token_file: {path} cannot be written ({exc.strerror})") from exc


def environment(fleet: Fleet) -> dict[str, str]:
    """What every process of Ray's, and whoever speaks to it, has in its environment. ConfigError without the token."""
    path = token_file(fleet)
    if not path.is_file():
        raise ConfigError(f"fleet.ray.token_file: {path} is not here; copy it from the machine where 'puppetcast fleet up' ran")
    return SETTINGS | {"RAY_AUTH_TOKEN_PATH": str(path)}


def answers(address: str) -> bool:
    """Whether a head of Ray's is there and works. Ray itself asks one that is away for minutes."""
    host, _, port = address.rpartition(":")
    with suppress(OSError, OverflowError), socket.create_connection((host, int(port)), ASK_S) as connection:
        if os.environ.get("RAY_USE_TLS", "0") != "0":
            return True  # it would have to be spoken to by certificates
        connection.sendall(HELLO)
        return connection.recv(9, socket.MSG_WAITALL)[3:4] == bytes((OF_SETTINGS,))
    return False


def check_address(address: str) -> None:
    """ConfigError where it cannot be a head's."""
    if not re.fullmatch(ADDRESS, address):
        raise ConfigError(f"'{address}' is no address of a fleet: HOST:PORT is expected, as 'puppetcast fleet up' tells it")


def check_head(address: str) -> None:
    """ConfigError where none is."""
    check_address(address)
    if not answers(address):
        raise ConfigError(f"no fleet's head answers at {address}; 'puppetcast fleet up' tells its address")


def start_head(fleet: Fleet, host: str, slots: int | None = None) -> str:
    """Start the cluster's first node on this machine, which keeps its state in Redis; its address. ConfigError."""
    redis.check(fleet.ray.redis, fleet.ray.redis_password)
    make_token(fleet)
    own = {"RAY_REDIS_ADDRESS": fleet.ray.redis, ray_head.PASSWORD: fleet.ray.redis_password, **ray_head.HOOK}
    _start(fleet, own, host, slots, {HEAD: 1}, "--head", f"--port={fleet.ray.port}", "--include-dashboard=false", "--no-monitor")
    return f"{host}:{fleet.ray.port}"


def bring_back(fleet: Fleet, own: list[processes.Process]) -> str:
    """Start the head anew if it has gone, and give its address; nothing where it is there. own: what runs on this machine.
    ConfigError where this is not its machine, or Redis is away."""
    address = address_of(own)
    if not address:
        raise ConfigError("a fleet is being begun here, or parts of one are left; 'puppetcast fleet down' ends those")
    head = next((each for each in _nodes(own) if "--head" in each.command), None)
    if head is None:
        raise ConfigError(f"this machine has joined the fleet of {address}; 'puppetcast fleet up' is for its first one")
    if answers(address):
        return ""
    redis.check(fleet.ray.redis, fleet.ray.redis_password)
    variables = environment(fleet) | mark(fleet) | {"RAY_REDIS_ADDRESS": fleet.ray.redis}
    ray_head.begin_again(head, fleet.ray.redis, fleet.ray.redis_password, variables)
    end = time.monotonic() + START_S
    while not answers(address):
        if time.monotonic() > end:
            raise StreamerError(f"fleet: its head does not answer at {address}; see Ray's logs, in /tmp/ray")
        time.sleep(processes.LOOK_S)
    return address


def join(fleet: Fleet, head: str, host: str, slots: int | None = None) -> None:
    """Make this machine one of the cluster's. ConfigError."""
    environment(fleet)  # a token that lacks is told before anything is asked
    check_address(head)
    if any(f"--node_ip_address={host}" in each.command for each in _nodes(running(fleet))):
        raise ConfigError(f"{host} is one of the fleet's machines already; 'puppetcast fleet down' there ends what it does")
    check_head(head)
    _start(fleet, {}, host, slots, {}, f"--address={head}")


def _start(fleet: Fleet, own: dict[str, str], host: str, slots: int | None, resources: dict[str, float], *options: str) -> None:
    cores = max(round(available()), 1)
    places = json.dumps({SLOTS: max(int(available() / fleet.cores), 1) if slots is None else slots, **resources})
    given = [f"--node-ip-address={host}", f"--num-cpus={cores}", f"--resources={places}", "--disable-usage-stats"]
    command = [*RAY, "start", *given, "--include-log-monitor=false", *options, *_free_ports()]
    start = secrets.token_hex(16)
    variables = os.environ | environment(fleet) | own | {START: start} | mark(fleet)
    try:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=START_S, check=False)
    except subprocess.TimeoutExpired as exc:
        processes.end(processes.marked(START, start), 0.0)
        raise StreamerError(f"fleet: Ray has not started within {START_S:g} s; see its logs, in /tmp/ray") from exc
    if done.returncode:
        processes.end(processes.marked(START, start), 0.0)  # Ray does not, and the next start would find its ports taken
        raise ConfigError(f"fleet: Ray does not start here: {_why(done.stdout + done.stderr)}")


def _free_ports() -> list[str]:
    """Ports of the node's agents. Without them the node waits for what its agents choose, for 15 s, which a busy machine may take
    to begin them."""
    options = ("dashboard-agent-grpc-port", "dashboard-agent-listen-port", "metrics-export-port", "runtime-env-agent-port")
    with ExitStack() as open_ports:
        probes = [open_ports.enter_context(socket.create_server(("", 0))) for _ in options]
        return [f"--{option}={probe.getsockname()[1]}" for option, probe in zip(options, probes, strict=True)]


def _why(said: str) -> str:
    """The last line that tells what went wrong."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or "already" in line or "in use" in line]
    return (telling or lines or ["it says nothing"])[-1][:300]


def mark(fleet: Fleet) -> dict[str, str]:
    """What tells a fleet's processes from those of others: by its token, which all of its machines have."""
    return {FLEET: sha256(token_file(fleet).read_bytes()).hexdigest()[:16]}


def running(fleet: Fleet) -> list[processes.Process]:
    """What of this fleet's Ray runs on this machine, and all that this has begun; nothing where its token is not."""
    return processes.marked(FLEET, mark(fleet)[FLEET]) if token_file(fleet).is_file() else []


def address_of(own: list[processes.Process]) -> str:
    """That of the head, as a node was told; empty where none is left."""
    words = [word for each in _nodes(own) for word in each.command]
    return next((word.partition("=")[2] for word in words if word.startswith("--gcs-address=")), "")


def _nodes(own: list[processes.Process]) -> list[processes.Process]:
    return [each for each in own if Path(each.command[0]).name == "raylet"]


def stop(own: list[processes.Process]) -> None:
    """End them."""
    processes.end(own, STOP_S)
