"""The recipe for KubeRay: fields that KubeRay has, and what our own code tells Ray."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from streamer.fleet.ray_node import HEAD, SETTINGS, SLOTS

from ..conftest import ROOT

CLUSTER, BUDGET = yaml.safe_load_all((ROOT / "docker" / "kuberay.yaml").read_text())
# Of RayClusterSpec and what is in it, by KubeRay's schema (crds/ray.io_rayclusters.yaml): which there are, and which
# have to be given.
SPEC = {
    "rayVersion",
    "gcsFaultToleranceOptions",
    "headGroupSpec",
    "workerGroupSpecs",
    "enableInTreeAutoscaling",
    "autoscalerOptions",
}
FAULTS = {"redisAddress", "redisPassword", "redisUsername", "externalStorageNamespace"}
HEAD_GROUP = {"serviceType", "rayStartParams", "template", "headService", "enableIngress"}
WORKER_GROUP = {
    "groupName",
    "replicas",
    "minReplicas",
    "maxReplicas",
    "numOfHosts",
    "rayStartParams",
    "template",
    "scaleStrategy",
}
POD = {"hostNetwork", "dnsPolicy", "affinity", "terminationGracePeriodSeconds", "securityContext", "containers", "volumes"}
CONTAINER = {"name", "image", "env", "ports", "resources", "volumeMounts"}


def groups() -> list[dict[str, Any]]:
    return [CLUSTER["spec"]["headGroupSpec"], *CLUSTER["spec"]["workerGroupSpecs"]]


def containers() -> list[dict[str, Any]]:
    return [each for group in groups() for each in group["template"]["spec"]["containers"]]


def test_it_has_fields_that_there_are() -> None:
    spec = CLUSTER["spec"]
    assert (CLUSTER["apiVersion"], CLUSTER["kind"]) == ("ray.io/v1", "RayCluster")
    assert set(spec) <= SPEC
    assert set(spec["gcsFaultToleranceOptions"]) <= FAULTS
    assert {"rayStartParams", "template"} <= set(spec["headGroupSpec"]) <= HEAD_GROUP
    for group in spec["workerGroupSpecs"]:
        assert {"groupName", "rayStartParams", "template"} <= set(group) <= WORKER_GROUP
    assert all(isinstance(value, str) for group in groups() for value in group["rayStartParams"].values())
    assert all(set(group["template"]["spec"]) <= POD for group in groups())
    assert all(set(each) <= CONTAINER for each in containers())


def test_ray_is_told_what_our_own_start_tells_it() -> None:
    for each in containers():
        told = {one["name"]: one["value"] for one in each["env"]}
        assert told == SETTINGS | {"RAY_AUTH_TOKEN_PATH": "/etc/puppetcast/ray_token"}
    head, workers = (json.loads(group["rayStartParams"]["resources"].strip("'")) for group in groups())
    assert (head, workers) == ({HEAD: 1}, {SLOTS: 1})


def test_media_has_the_nodes_own_addresses_and_secrets_are_secrets() -> None:
    [pod] = [group["template"]["spec"] for group in CLUSTER["spec"]["workerGroupSpecs"]]
    assert pod["hostNetwork"]
    assert "valueFrom" in CLUSTER["spec"]["gcsFaultToleranceOptions"]["redisPassword"]
    labels = CLUSTER["spec"]["workerGroupSpecs"][0]["template"]["metadata"]["labels"]
    assert BUDGET["spec"]["selector"]["matchLabels"] == labels


def test_the_front_has_its_port_and_the_images_user_reads_the_secrets() -> None:
    [user] = {each for file in ROOT.glob("docker/Dockerfile.*") for each in re.findall(r"^USER (\d+)$", file.read_text(), re.M)}
    for group in groups():
        assert group["rayStartParams"]["metrics-export-port"] != "8080"
        assert group["template"]["spec"]["securityContext"]["fsGroup"] == int(user)


def test_a_pod_may_be_moved_while_the_others_are_there() -> None:
    [workers] = CLUSTER["spec"]["workerGroupSpecs"]
    assert BUDGET["spec"]["minAvailable"] == workers["minReplicas"] - 1
