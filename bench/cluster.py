"""A fleet on Ray on one machine: two nodes, Redis, and ways to break any of it. Runs in a network and a process namespace of its
own, so that nothing of it is left.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from pipeline.errors import PuppetError

HEAD, SECOND = "127.0.0.1", "127.0.0.2"
PORT, REDIS = 8090, 6399
INSIDE = "PUPPETCAST_IN_NAMESPACE"
LIMIT_S = 180.0
PROGRAM = [sys.executable, "-m", "streamer"]
PARTS = {  # of command lines, by what the process is
    "head": "gcs_server", "raylet": "raylet/raylet ", "worker": "ray::WorkerActor", "director": "ray::DirectorActor",
    "front": "ray::ServeReplica", "proxy": "ray::ProxyActor", "serve": "ray::ServeController", "redis": "redis-server",
}  # fmt: skip


def enter(module: str, arguments: Sequence[str]) -> None:
    """Go on in namespaces of our own, where this is process 1's child and only the loopback address is; needs root."""
    if os.environ.get(INSIDE):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    for program in ("unshare", "ip", "redis-server"):
        if shutil.which(program) is None:
            raise PuppetError(f"bench fleet: {program} is not here; 'make peers' installs it")
    command = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-m", module, *arguments]
    with tempfile.TemporaryDirectory(prefix="pc", ignore_cleanup_errors=True) as folder:  # short: it gets sockets
        code = subprocess.run(command, env=os.environ | {INSIDE: folder}, check=False).returncode
    raise SystemExit(code)


def until(holds: Callable[[], Any], what: str, limit_s: float = LIMIT_S, look_s: float = 0.05) -> Any:
    """What it gives, once that is true; PuppetError after the limit."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(look_s)
    raise PuppetError(f"not within {limit_s:g} s: {what}")


@dataclass
class Process:
    """One of the namespace's. threads share its memory; pss_mb: its share of what it has in common with others."""

    pid: int
    parent: int
    command: str

    @property
    def pss_mb(self) -> float:
        try:
            lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            return 0.0
        return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024

    @property
    def cpu_s(self) -> float:
        """Of a processor, so far."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


def processes() -> list[Process]:
    """All that there are."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            found.append(Process(int(folder.name), parent, command))
    return found


def of(part: str) -> list[Process]:
    """The processes of one of PARTS."""
    return [each for each in processes() if PARTS[part] in each.command and "ps aux" not in each.command]


def rest() -> list[Process]:
    """What else is Ray's: agents, monitors, idle workers."""
    return [each for each in processes() if "ray" in each.command and not any(name in each.command for name in PARTS.values())]


def _ss(*options: str) -> str:
    return subprocess.run(["ss", *options], capture_output=True, text=True, check=True).stdout


def _listener(line: str) -> Process:
    """Whose socket a line of `ss` is about."""
    pid = int(line.partition("pid=")[2].partition(",")[0])
    return next(each for each in processes() if each.pid == pid)


@dataclass
class Cluster:
    """sections: of the config, beside what every one has."""

    sections: dict[str, Any] = field(default_factory=dict)
    folder: Path = field(default_factory=lambda: Path(os.environ[INSIDE]))

    def __post_init__(self) -> None:
        self.url = f"http://{HEAD}:{PORT}"
        self.http = httpx.Client(base_url=self.url, timeout=10, trust_env=False)
        self.config = self.folder / "fleet.yaml"
        self.environment = os.environ | {"RAY_TMPDIR": str(self.folder), "PYTHONPATH": str(Path(__file__).parents[1])}
        self.password = secrets.token_hex(8)
        data: dict[str, Any] = {
            "http": {"port": PORT, "max_listeners_per_address": 1000},
            "downloads": {"fetch": False},
            "portraits": {"folder": str(self.folder / "portraits")},
            "recording": {"folder": str(self.folder / "recordings")},
            "auth": {"requests_per_minute": 100_000},
            "webrtc": {"bind_addresses": ["127.0.0.1"], **dict.fromkeys(SEATS, 200)},
            "fleet": {"cores": 1, "ray": self._ray(self.password)},
            "streams": {},
        }
        for key, value in self.sections.items():
            data[key] = {**data.get(key, {}), **value} if isinstance(data.get(key), dict) else value
        self.config.write_text(yaml.safe_dump(data))
        self._start_redis()

    def _ray(self, password: str) -> dict[str, Any]:
        return {"redis": f"{HEAD}:{REDIS}", "redis_password": password, "token_file": str(self.folder / "ray_token")}

    def _start_redis(self) -> None:
        settings = ["--port", str(REDIS), "--bind", HEAD, "--requirepass", self.password, "--save", ""]
        with (self.folder / "redis.log").open("w") as log:
            subprocess.Popen(["redis-server", *settings, "--dir", str(self.folder)], stdout=log, stderr=log)
        until(lambda: "Ready to accept" in (self.folder / "redis.log").read_text(), "Redis")

    def command(self, *words: str, check: bool = True) -> str:
        """What `puppetcast fleet …` says."""
        done = subprocess.run(
            [*PROGRAM, "fleet", *words], env=self.environment, capture_output=True, text=True, timeout=2 * LIMIT_S, check=False
        )
        if check and done.returncode:
            raise PuppetError(f"fleet {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def up(self) -> float:
        """Both nodes, with a place each; seconds until the front answers and both workers are there. On a machine that is very
        busy Ray does not always start: then from the beginning."""
        for last in (False, False, True):
            began = time.monotonic()
            try:
                self._both()
                return time.monotonic() - began
            except (PuppetError, subprocess.TimeoutExpired) as exc:
                if last:
                    raise
                print(f"once more: {exc}", file=sys.stderr, flush=True)
                self.clear()
        raise AssertionError

    def _both(self) -> None:
        """The second node joins while the first one still begins its fronts."""
        with ThreadPoolExecutor(1) as pool:
            up = pool.submit(self.first)
            until(lambda: of("director") or up.done(), "the first node")
            if not up.done():
                self.join()
            up.result()
        until(lambda: len(self.alive()) == 2, "two workers")

    def first(self) -> str:
        """What `fleet up` says: it begins the first node, or brings its head back."""
        return self.command("up", str(self.config), "--host", HEAD, "--places", "1")

    def clear(self, *, keeps_redis: bool = False) -> None:
        """Nothing of it runs any more, and nothing is kept but what Redis has."""
        parts = r"\bray|gcs_server|streamer" + ("" if keeps_redis else "|redis-server")
        for each in processes():
            if re.search(parts, each.command) and each.pid != os.getpid():
                with suppress(ProcessLookupError):
                    each.send(signal.SIGKILL)
        if not keeps_redis:
            until(lambda: not of("redis"), "Redis ends")
            self._start_redis()

    def join(self) -> None:
        """The second node. Ray gives up after 30 s, which a busy machine may take: what it left has been ended then."""
        words = ("join", f"{HEAD}:6380", str(self.config), "--host", SECOND, "--places", "1")
        for _ in range(2):
            with suppress(PuppetError, subprocess.TimeoutExpired):
                self.command(*words)
                return
        self.command(*words)

    def status(self) -> str:
        return self.command("status", str(self.config))

    def drain(self, worker: str) -> None:
        """Back when it is empty."""
        self.command("drain", worker, str(self.config))

    def state(self) -> dict[str, Any]:
        """GET /api/fleet; nothing while the director is away."""
        try:
            reply = self.http.get("/api/fleet")
        except httpx.HTTPError:
            return {}
        return dict(reply.json()) if reply.status_code == 200 else {}

    def alive(self) -> dict[str, dict[str, Any]]:
        """Workers that answer, by name."""
        return {each["worker"]: each for each in self.state().get("workers", []) if each["alive"]}

    def process_of(self, worker: str) -> Process:
        """By the port that it listens on."""
        port = self.alive()[worker]["url"].rpartition(":")[2]
        return _listener(_ss("-ltnpH", f"sport = :{port}"))

    def director(self) -> Process:
        """The one of both that directs: it listens for its stand-in."""
        return _listener(next(line for line in _ss("-lxpH").splitlines() if "@puppetcast-director-" in line))

    def node_of(self, process: Process) -> Process:
        """The raylet that started it."""
        return next(each for each in processes() if each.pid == process.parent)

    def is_second(self, worker: str) -> bool:
        """Whether it is on the node that has no head."""
        return SECOND in str(self.alive()[worker]["url"])

    def kill_head(self) -> Callable[[], None]:
        """kill -9; what starts it again, by its own command line, as a supervisor would."""
        (head,) = of("head")
        words = Path(f"/proc/{head.pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        own = Path(f"/proc/{head.pid}/environ").read_bytes().split(b"\0")
        environment = dict(each.split(b"=", 1) for each in own if b"=" in each)
        head.send(signal.SIGKILL)

        def again() -> None:
            with (self.folder / "head.log").open("w") as log:
                subprocess.Popen(words, env=environment, stdout=log, stderr=log)

        return again

    def listening(self) -> list[str]:
        """Every listening TCP socket: address and who it is of."""
        lines = _ss("-ltnpH").splitlines()
        return sorted(f"{line.split()[3]} {line.partition('((')[2].split(',')[0].strip(chr(34))}" for line in lines)

    def cpu_s(self) -> dict[str, float]:
        """Of a processor, so far, of each part, and of all else that is Ray's."""
        parts = {part: sum(each.cpu_s for each in of(part)) for part in PARTS}
        return {**parts, "rest of Ray": sum(each.cpu_s for each in rest())}

    def memory_mb(self) -> dict[str, float]:
        """Of each part, and of all that is not ours."""
        parts = {part: round(sum(each.pss_mb for each in of(part))) for part in PARTS}
        return {**parts, "rest of Ray": round(sum(each.pss_mb for each in rest()))}


SEATS = ("max_sessions", "max_sessions_per_address", "max_connecting", "max_connecting_per_address")


def save(figures: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(figures, indent=1) + "\n")
