"""Ray's head, by Ray's own means, which are private to it: its version is fixed, and all that leans on it so is here."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .processes import Process

HOOK = {"RAY_START_HOOK": f"{__name__}.hide_password"}  # what `ray start` calls before it begins anything
PASSWORD = "FLAGS_redis_password"  # where the head's process looks for it, if told --fromenv=redis_password


def hide_password(params: Any, head: bool) -> None:
    """Let the head have the password of Redis in its environment: Ray writes it into the command lines of the head and of its
    node, which has no use for it, and those every user of the machine can read."""
    del os.environ["RAY_START_HOOK"]
    params.redis_password = os.environ[PASSWORD]  # this process, too, asks Redis
    _hide(os.environ.pop(PASSWORD))


def _hide(password: str) -> None:
    from ray._private import services

    start = services.start_ray_process

    def started(command: list[str], process_type: str, *args: Any, **options: Any) -> Any:
        if process_type == "gcs_server":
            command, options["env_updates"] = [*command, "--fromenv=redis_password"], {PASSWORD: password}
        return start(command, process_type, *args, **options)

    services.start_ray_process = started
    services.start_gcs_server = _untold(services.start_gcs_server)
    services.start_raylet = _untold(services.start_raylet)


def _untold(start: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **options: start(*args, **options | {"redis_password": ""})


def begin_again(raylet: Process, redis: str, password: str, environment: dict[str, str]) -> None:
    """Start the head of this node, which goes on without one. environment: that of the head, beside the password."""
    from ray._private import services

    os.environ.update(environment)
    _hide(password)
    told = {key: value for key, _, value in (word.removeprefix("--").partition("=") for word in raylet.command)}
    services.start_gcs_server(
        redis,
        config={},
        log_dir=told["log_dir"],
        stdout_filepath=f"{told['log_dir']}/gcs_server.out",
        stderr_filepath=f"{told['log_dir']}/gcs_server.err",
        session_name=told["session-name"],
        session_dir=told["session_dir"],
        node_id=told["node_id"],
        node_ip_address=told["node_ip_address"],
        gcs_server_port=int(told["gcs-address"].rpartition(":")[2]),
        metrics_agent_port=int(told["metrics-agent-port"]),
    )
