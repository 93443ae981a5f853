"""Builds the processor image with buildah and runs it for real: `make image`, as root on a Debian machine.

Read-only root, no capabilities, user 10001, a network of its own: its health check has to pass, a viewer to see pictures,
SIGTERM to end it with its recording whole. Where Debian's prometheus is, it scrapes the container by docker/prometheus.yml, and
every query of the dashboard and every alert rule is asked of it.

Without a registry, BASE=debian makes the base image of Debian's packages (debootstrap): its Python is Debian's own.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import yaml

from .peers import connected, negotiate, peer, pictures

DOCKER = Path(__file__).parent.parent / "docker"
IMAGE, BASE = "puppetcast:cpu", "docker.io/library/python:3.12-slim-bookworm"
STORE = {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}
LARGEST = 1.3e9
TOKEN = "for-this-run"
STREAMS = {"live": {}, "pattern": {"source": "pattern"}, "gone": {"source": "network", "path": "rtsp://127.0.0.1:9/x"}}
SETTINGS = {"AUTH__TOKEN": TOKEN, "DOWNLOADS__FETCH": "false", "STREAMS": json.dumps(STREAMS)}
SET_UP = """
ip link set lo up
ip link add one type veth peer name other
ip address add 10.77.1.1/24 dev one
ip link set one up
ip link set other up
mount --make-rprivate /
mount --bind {root} {root}
mount -o remount,bind,ro {root}
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
mount --rbind /sys {root}/sys
mount -t tmpfs -o mode=1777 tmpfs {root}/tmp
mount --bind {data} {root}/data
mount --bind {models} {root}/models
exec chroot {root} setpriv --reuid {user} --regid {user} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
  env -i -C /data {environment} {command}
"""
SILENT = {"puppetcast_source_lag_seconds"}  # of cameras that tell the time alone
URL = "http://127.0.0.1:8080"


def buildah(*args: str) -> str:
    return subprocess.run(["buildah", *args], env={**os.environ, **STORE}, check=True, stdout=subprocess.PIPE, text=True).stdout


def make_base() -> None:
    """The base image from Debian's packages."""
    with TemporaryDirectory() as folder:
        packages = "python3,python3-venv,python3-pip,ca-certificates"
        subprocess.run(["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", folder], check=True)
        Path(folder, "usr/bin/python").symlink_to("python3")
        for left in ("var/cache/apt", "var/lib/apt/lists"):
            shutil.rmtree(Path(folder, left))
        made = buildah("from", "scratch").strip()
        buildah("add", "--quiet", made, folder, "/")
        buildah("commit", "--quiet", "--rm", made, BASE)


def build() -> None:
    """From docker/Dockerfile.cpu; certificates are this machine's, for whom the way to the packages leads by a proxy."""
    certificates = "/etc/ssl/certs"
    options = ["--pull-never"] if os.environ.get("BASE") == "debian" else []
    options += ["--network", "host", "--format", "docker", "--layers", "--volume", f"{certificates}:{certificates}:ro"]
    options += ["--build-arg", f"BASE={BASE}"]  # by its name, also where the file has its digest
    buildah("bud", *options, "--file", str(DOCKER / "Dockerfile.cpu"), "--tag", IMAGE, str(DOCKER.parent))


@contextmanager
def running(folder: Path) -> Iterator[int]:
    """The image as a container; the id of its first process. `/data` is `folder`/data."""
    container = buildah("from", "--pull-never", IMAGE).strip()
    try:
        root, about = buildah("mount", container).strip(), json.loads(buildah("inspect", "--type", "image", IMAGE))
        config = about["Docker"]["config"]
        user = config["User"]
        models = Path(os.environ.get("PUPPETCAST_MODELS", folder / "models"))
        for place in (folder / "data", models):
            place.mkdir(exist_ok=True)
        os.chown(folder / "data", int(user), int(user))
        settings = [f"PUPPETCAST_{key}={value}" for key, value in SETTINGS.items()]
        words = {"environment": [*config["Env"], *settings], "command": [*config["Entrypoint"], *config["Cmd"]]}
        quoted = {key: " ".join(f"'{word}'" for word in each) for key, each in words.items()}
        script = SET_UP.format(root=root, user=user, data=folder / "data", models=models, **quoted)
        run = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", script]
        with subprocess.Popen(run) as process:
            try:
                yield _child(process.pid)
            finally:
                process.terminate()
    finally:
        buildah("rm", container)


def _child(parent: int) -> int:
    for _ in range(100):
        if children := Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            return int(children[0])
        time.sleep(0.1)
    sys.exit("the container did not start")


def inside(pid: int, *command: str) -> list[str]:
    """A command of ours in the container's network."""
    return ["nsenter", f"--net=/proc/{pid}/ns/net", *command]


def wait_healthy(pid: int) -> float:
    """Until the image's own health check passes, in its own root; seconds."""
    about = json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]
    check = about["Healthcheck"]["Test"][1:]
    enter = ["nsenter", "--target", str(pid), "--net", "--mount", f"--root=/proc/{pid}/root", f"--wd=/proc/{pid}/root"]
    begin = time.monotonic()
    while subprocess.run([*enter, "env", *about["Env"], *check], stderr=subprocess.DEVNULL, check=False).returncode:
        if time.monotonic() - begin > 120 or not Path(f"/proc/{pid}").exists():
            sys.exit("the container did not become healthy")
        time.sleep(0.5)
    return time.monotonic() - begin


def confined(pid: int) -> str:
    """User, capabilities and root of the process; ends where they are not what they are to be."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    mounts = Path(f"/proc/{pid}/mounts").read_text()
    [root] = [line.split()[3] for line in mounts.splitlines() if line.split()[1] == "/"][-1:]
    found = status["Uid"].split()[1], status["CapEff"], status["CapBnd"], status["NoNewPrivs"], root.split(",")[0]
    if found != ("10001", "0" * 16, "0" * 16, "1", "ro"):
        sys.exit(f"not confined: {found}")
    return "user 10001, no capabilities, no new privileges, read-only root"


async def watch() -> None:
    """A viewer, within the container's network, who also lets it record."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=URL, headers=headers, timeout=30) as http, peer() as viewer:
        viewer.addTransceiver("video", direction="recvonly")
        await negotiate(http, viewer, "/live/pattern/whep", TOKEN)
        await connected(viewer)
        (await http.patch("/api/streams/pattern", json={"recording": True})).raise_for_status()
        await pictures(viewer.getTransceivers()[0].receiver, 60)
        print("a viewer has 60 pictures", flush=True)
        await asyncio.sleep(float(os.environ.get("WATCH_S", "30")))


def scraped(pid: int, folder: Path, stack: ExitStack) -> None:
    """Ask Prometheus, which scrapes the container, what the dashboard and the alerts ask."""
    config = yaml.safe_load((DOCKER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    [job] = config["scrape_configs"]
    job["static_configs"], job["authorization"] = [{"targets": [URL.removeprefix("http://")]}], {"credentials": TOKEN}
    shutil.copy(DOCKER / "alerts.yml", folder)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = "127.0.0.1:9090"
    serve = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    process = subprocess.Popen(inside(pid, *serve, f"--web.listen-address={port}"), stderr=subprocess.DEVNULL)
    stack.callback(process.wait, 20)
    stack.callback(process.terminate)
    time.sleep(25)
    dashboard = json.loads((DOCKER / "grafana/dashboards/puppetcast.json").read_text())
    queries = [target["expr"].replace("$stream", ".*") for panel in dashboard["panels"] for target in panel["targets"]]
    for query in [*queries, *_parts_of_alerts()]:
        found = _asked(pid, f"http://{port}/api/v1/query", query)["result"]
        print(f"{len(found):3} series: {query}")
        if not found and query.split("{")[0] not in SILENT:
            sys.exit("nothing answers that query")
    groups = _asked(pid, f"http://{port}/api/v1/rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    if wrong := [rule["name"] for rule in rules if rule["health"] != "ok"]:
        sys.exit(f"rules that do not work: {wrong}")
    pending = [rule["name"] for rule in rules if rule["state"] != "inactive"]
    print(f"{len(rules)} alert rules evaluated; pending or firing: {', '.join(pending) or 'none'}")


def _parts_of_alerts() -> list[str]:
    """What alerts look at, without what they compare it with: that there is something."""
    rules = [rule["expr"] for group in yaml.safe_load((DOCKER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    return [re.split(r" (?:==|[<>]) ", rule)[0] for rule in rules]


def _asked(pid: int, url: str, query: str = "") -> Any:
    """The data of Prometheus' answer."""
    ask = ["curl", "--silent", "--show-error", "--get", url, *(["--data-urlencode", f"query={query}"] if query else [])]
    done = subprocess.run(inside(pid, *ask), check=True, stdout=subprocess.PIPE)
    answer = json.loads(done.stdout)
    if answer["status"] != "success":
        sys.exit(f"{query}: {answer}")
    return answer["data"]


def main() -> None:
    if os.environ.get("BASE") == "debian" and BASE not in buildah("images", "--format", "{{.Name}}:{{.Tag}}"):
        make_base()
    if "--run" not in sys.argv:
        build()
    size = next(each["size"] for each in json.loads(buildah("images", "--json")) if f"localhost/{IMAGE}" in (each["names"] or []))
    print(f"{IMAGE}: {size}; without PyTorch")
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        pid = stack.enter_context(running(folder))
        print(f"healthy after {wait_healthy(pid):.1f} s")
        print(confined(pid))
        viewer = subprocess.Popen(inside(pid, sys.executable, "-m", "tests.built_image", "--watch"))
        stack.callback(viewer.kill)
        if shutil.which("prometheus"):
            scraped(pid, folder, stack)
        viewer.wait(120)
        begin = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.1)
            if time.monotonic() - begin > 10:
                sys.exit("it did not end")
        files = sorted(path.name for path in (folder / "data/recordings").iterdir())
        print(f"ended {time.monotonic() - begin:.1f} s after SIGTERM; recordings: {', '.join(files)}")
        if not files or any(".part" in file for file in files):
            sys.exit("the recording was not finished")


if __name__ == "__main__":
    asyncio.run(watch()) if "--watch" in sys.argv else main()
