"""The containers, as far as they can be checked without an engine for them: the files themselves. What the tests start
of mosquitto and coturn are the very configs of docker/ (tests/broker.py, tests/test_foreign.py); `make image-check` runs
the steps of the images."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
import yaml

from streamer.config import load_config
from tools.digests import IMAGE, digest, pinned
from tools.parts import locked

from ..conftest import ROOT, run_server
from ..run_image import steps

DOCKER = ROOT / "docker"


def test_the_linter_finds_nothing():
    files = [str(DOCKER / name) for name in ("Dockerfile.cpu", "Dockerfile.cuda")]
    done = subprocess.run([str(Path(sys.executable).parent / "hadolint"), *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert not done.stdout.strip(), done.stdout


def test_images_of_others_get_the_digests_of_their_tags():
    asked: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path))
        if request.method == "GET":
            return httpx.Response(200, json={"token": request.url.params["scope"]})
        assert request.headers["authorization"] == "Bearer repository:library/python:pull"
        return httpx.Response(200, headers={"Docker-Content-Digest": "sha256:" + "ab" * 32})

    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        found = digest(http, "python", "3.12-slim-bookworm")
    assert asked[-1] == ("HEAD", "/v2/library/python/manifests/3.12-slim-bookworm")
    named = {path: len(IMAGE.findall(path.read_text())) for path in (*DOCKER.glob("Dockerfile.*"), *DOCKER.glob("compose*"))}
    assert sum(named.values()) == 7, "two base images, five of others"
    text = (DOCKER / "Dockerfile.cpu").read_text()
    once = pinned(text, lambda name, tag: found)
    assert f"ARG BASE=python:3.12-slim-bookworm@{found}\n" in once
    assert pinned(once, lambda name, tag: found) == once
    assert "FROM python" not in text


def test_no_package_index_is_named():
    """Where packages come from is for pip and for who builds the image to say."""
    for path in (*DOCKER.glob("Dockerfile.*"), DOCKER / "compose.yaml", ROOT / "constraints.txt", ROOT / "Makefile"):
        hosts = set(re.findall(r"https?://([^\s/:'\"]+)", path.read_text()))
        assert hosts <= {"127.0.0.1", "localhost", "…"}, path.name
    assert "\nARG TORCH_INDEX=\n" in (DOCKER / "Dockerfile.cuda").read_text()


@pytest.mark.parametrize(
    ("index", "options"), [("", []), ("https://index.example/cpu", ["--extra-index-url", "https://index.example/cpu"])]
)
def test_a_further_index_is_asked_only_if_one_is_given(index, options):
    text = (DOCKER / "Dockerfile.cuda").read_text()
    [command] = [rest for kind, rest in steps(text) if kind == "RUN" and rest.endswith("torch")]
    install = command.split("&&")[1].replace("/opt/puppetcast/bin/pip", "printf '%s\\n'")
    done = subprocess.run(["sh", "-euc", install], env={"TORCH_INDEX": index}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["install", "--no-cache-dir", "--constraint", "constraints.txt", *options, "torch"]


def test_only_the_image_for_cuda_has_torch():
    assert "torch" not in (DOCKER / "Dockerfile.cpu").read_text()
    assert "constraints.txt '.[liveportrait]'\n" in (DOCKER / "Dockerfile.cuda").read_text()


def test_compose_files_are_by_the_specification():
    tool = str(Path(sys.executable).parent / "check-jsonschema")
    files = [str(DOCKER / name) for name in ("compose.yaml", "compose.gpu.yaml")]
    done = subprocess.run([tool, "--builtin-schema", "vendor.compose-spec", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_compose_mounts_and_names_is_there():
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    volumes = set(compose["volumes"])
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in volumes or (DOCKER / source).exists(), f"{name}: {source}"
    assert {"puppetcast", "mosquitto", "mediamtx", "coturn", "prometheus", "grafana"} == set(compose["services"])
    config = load_config(DOCKER / "puppetcast.yaml")
    assert config.mqtt.url == "mqtt://mosquitto"
    assert config.streams["camera"].path == "rtsp://mediamtx:8554/camera"
    assert "puppetcast" in config.http.names, "by which Prometheus asks"
    assert "camera" in yaml.safe_load((DOCKER / "mediamtx.yml").read_text())["paths"]
    [scraped] = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"]
    assert scraped["static_configs"] == [{"targets": ["puppetcast:8080"]}]
    [secret] = compose["services"]["prometheus"]["secrets"]
    assert (secret in compose["secrets"], scraped["authorization"]["credentials_file"]) == (True, f"/run/secrets/{secret}")


def test_no_secret_has_a_default_and_no_private_network_is_relayed_to():
    text, turn = (DOCKER / "compose.yaml").read_text(), (DOCKER / "turnserver.conf").read_text()
    for name in ("TOKEN", "VIEW_TOKEN", "TURN_SECRET"):
        given = re.findall(r"\$\{" + name + r"\b[^}]*\}", text)
        assert given
        assert all(part.startswith(f"${{{name}:?") for part in given)
    assert "secret=" not in turn
    denied = [[ip_address(end) for end in (f"{ends}-{ends}".split("-")[0], ends.split("-")[-1])]
              for ends in re.findall(r"^denied-peer-ip=(\S+)$", turn, re.MULTILINE)]  # fmt: skip
    for text in (
        "10.1.2.3",
        "172.18.0.2",
        "192.168.1.1",
        "127.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "::1",
        "fd00::1",
        "fe80::1",
    ):
        address = ip_address(text)
        assert any(first.version == address.version and first <= address <= last for first, last in denied), text


def test_what_an_image_sets_is_known_and_its_sources_are_sent():
    for name in ("Dockerfile.cpu", "Dockerfile.cuda"):
        text = (DOCKER / name).read_text()
        known = set(load_config().model_dump())
        for section in re.findall(r"PUPPETCAST_([A-Z]+)__", text):
            assert section.lower() in known
        sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
        for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
            for path in source.split():
                assert path in sent
                assert (ROOT / path).exists()
        assert "USER 10001" in text
        assert "HEALTHCHECK" in text


def test_what_the_wheel_takes_along_is_in_the_images():
    forced = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    for name in ("Dockerfile.cpu", "Dockerfile.cuda"):
        copied = set(" ".join(re.findall(r"^COPY (?!--from)(.+) \S+$", (DOCKER / name).read_text(), re.MULTILINE)).split())
        assert forced.keys() <= copied, name


def test_the_packages_of_the_image_are_those_of_the_tests_each_with_its_hash():
    tested = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    packages = locked(DOCKER / "requirements.txt")
    assert len(packages) > 60
    assert all(hashes for _, hashes in packages.values())
    names = {re.sub("[-_.]+", "-", name).lower(): version for name, version in tested.items()}
    for name, (version, _) in packages.items():
        assert names.get(re.sub("[-_.]+", "-", name).lower(), version) == version, name
    assert {"aiortc", "fastapi", "mediapipe", "starlette"} <= packages.keys() & names.keys()


def test_every_service_is_confined():
    for name, service in yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"].items():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert service["pids_limit"], name


def test_alerts_come_for_what_they_are_to_come_for():
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not here (Debian's prometheus): the alert rules are not tried")
    command = ["promtool", "test", "rules", str(DOCKER / "alerts_test.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rules = {rule["alert"] for group in yaml.safe_load((DOCKER / "alerts.yml").read_text())["groups"] for rule in group["rules"]}
    assert rules == set(re.findall(r"alertname: (\w+)", (DOCKER / "alerts_test.yml").read_text()))


def test_the_dashboard_and_the_alerts_look_at_metrics_that_there_are(model):
    dashboard = json.loads((DOCKER / "grafana" / "dashboards" / "puppetcast.json").read_text())
    asked = [t["expr"] for p in dashboard["panels"] for t in p["targets"]] + [(DOCKER / "alerts.yml").read_text()]
    wanted = {metric for text in asked for metric in re.findall(r"puppetcast_\w+", text)}
    streams = {"live": {}, "clip": {"source": "pattern"}}
    with run_server(streams=streams) as server, httpx.Client(base_url=server.url) as http:
        told = set(re.findall(r"^# TYPE (\S+) ", http.get("/metrics").text, re.MULTILINE))
    assert len(wanted) > 12
    assert wanted <= told, wanted - told
