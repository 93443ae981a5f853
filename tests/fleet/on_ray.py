"""Two Ray nodes, with all that may happen to them, in namespaces of their own: tells as JSON what came of it."""

from __future__ import annotations

import json
from signal import SIGKILL
from typing import Any

from bench.cluster import PORT, REDIS, Cluster, enter, of, processes, until

STREAMS = ("s0", "s1", "s2", "s3")
SETTINGS: dict[str, Any] = {
    "engine": {"max_side": 256},
    "device": {"cores": 8},
    "fleet": {"dead_after_ms": 8000, "fronts": 1, "cost": 0.2},  # a machine under test is busy
}


def happens(cluster: Cluster) -> dict[str, Any]:
    """One thing after the other."""
    told: dict[str, Any] = {"put": [cluster.http.put(f"/api/streams/{name}", json={}).status_code for name in STREAMS]}
    before = cluster.state()
    told["placed"] = sorted(before["streams"].values())
    told["mirrored"] = cluster.http.put("/api/streams/s0", json={"puppet": {"mirror": True}}).status_code
    lost = before["streams"]["s0"]

    cluster.process_of(lost).send(SIGKILL)
    epoch = next(each["epoch"] for each in before["workers"] if each["worker"] == lost)
    # By its epoch: Ray may have begun another process under its name before the death is seen.
    until(lambda: epoch not in {each["epoch"] for each in cluster.alive().values()}, "the death is seen")
    until(lambda: all(cluster.state().get("streams", {"": None}).values()), "all streams on a worker again")
    told["after the kill"] = cluster.http.get("/api/streams/s0").json()["puppet"]["mirror"]

    until(lambda: len(of("director")) == 2, "a stand-in")
    director = cluster.director()
    (stand_in,) = (each.pid for each in of("director") if each.pid != director.pid)
    director.send(SIGKILL)
    until(cluster.state, "a new director")
    told["the stand-in directs"] = cluster.director().pid == stand_in
    until(lambda: len(of("director")) == 2, "another stand-in")
    until(lambda: len(cluster.alive()) == 2, "Ray begins the worker anew")
    told["streams of the new director"] = sorted(cluster.state()["streams"])
    told["another process"] = cluster.alive()[lost]["epoch"] not in {w["epoch"] for w in before["workers"]}

    told["up again"] = cluster.first()
    cluster.kill_head()
    told["without a head"] = cluster.http.get("/api/streams/s0").status_code
    told["new without a head"] = cluster.http.put("/api/streams/later", json={}, timeout=60).status_code
    told["status without a head"] = cluster.status()
    told["head"] = cluster.first()
    until(lambda: cluster.http.put("/api/streams/later", json={}, timeout=60).status_code in (200, 201), "a new stream")
    cluster.http.delete("/api/streams/later")

    full = next(each for each in cluster.alive().values() if each["streams"])["worker"]
    cluster.drain(full)
    told["drained"] = next(each for each in cluster.state()["workers"] if each["worker"] == full)["streams"]
    told["status"] = cluster.status()
    told["ours"] = [str(PORT), str(REDIS), *(each["url"].rpartition(":")[2] for each in cluster.alive().values())]
    told["listening"] = cluster.listening()
    told["shows the password"] = [each.command for each in processes() if cluster.password in each.command]

    cluster.clear(keeps_redis=True)
    told["up after an unclean end"] = cluster.first()
    told["streams after it"] = sorted(cluster.state()["streams"])
    cluster.kill_head()
    told["down without a head"] = cluster.command("down", str(cluster.config))
    told["left"] = [each.command for part in ("raylet", "worker", "director", "front") for each in of(part)]
    return told


if __name__ == "__main__":
    enter("tests.fleet.on_ray", [])
    running = Cluster(SETTINGS)
    running.up()
    print(json.dumps(happens(running)))
