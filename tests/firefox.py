"""Firefox, driven by its own protocol, Marionette: JSON in lists, each after its length (firefox-source-docs, testing)."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .programs import program
from .waiting import LIMIT_S, wait_until

PREFS = {
    "marionette.port": 0, "media.peerconnection.ice.loopback": True, "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.navigator.permission.disabled": True, "media.navigator.streams.fake": True, "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0, "datareporting.policy.dataSubmissionEnabled": False, "app.update.auto": False,
    "toolkit.telemetry.enabled": False, "browser.shell.checkDefaultBrowser": False, "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False, "network.connectivity-service.enabled": False,
    "browser.newtabpage.enabled": False, "extensions.update.enabled": False,
}  # fmt: skip
CALL = """const done = arguments[arguments.length - 1];
Promise.resolve(({})(arguments[0])).then(done, (problem) => done({{error: `${{problem}}`}}));"""


class Firefox:
    """One window of a running one."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._number = 0
        self._pending = b""
        hello = self._message()
        assert hello["marionetteProtocol"] == 3
        self.version: str = self._do("WebDriver:NewSession", {})["capabilities"]["browserVersion"]
        self._do("WebDriver:SetTimeouts", {"script": 1000 * LIMIT_S, "pageLoad": 1000 * LIMIT_S})

    def goto(self, url: str) -> None:
        """Load a page."""
        self._do("WebDriver:Navigate", {"url": url})

    def evaluate(self, expression: str, arg: Any = None) -> Any:
        """What a function in JavaScript says, or what the promise is kept with that it returns."""
        value = self._do("WebDriver:ExecuteAsyncScript", {"script": CALL.format(expression), "args": [arg]})["value"]
        assert not (isinstance(value, dict) and "error" in value), value
        return value

    def _do(self, name: str, parameters: dict[str, Any]) -> Any:
        self._number += 1
        text = json.dumps([0, self._number, name, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(text), text))
        _, number, error, result = self._message()
        assert number == self._number
        assert error is None, error
        return result

    def _message(self) -> Any:
        while b":" not in self._pending:
            self._receive()
        length, _, self._pending = self._pending.partition(b":")
        while len(self._pending) < int(length):
            self._receive()
        message, self._pending = self._pending[: int(length)], self._pending[int(length) :]
        return json.loads(message)

    def _receive(self) -> None:
        data = self._socket.recv(1 << 20)
        assert data, "Firefox has ended"
        self._pending += data


@contextmanager
def running(folder: Path) -> Iterator[Firefox]:
    """Start it without a screen, with a profile in `folder`."""
    profile = folder / "profile"
    profile.mkdir()
    (profile / "user.js").write_text("".join(f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in PREFS.items()))
    command = [program("firefox-esr", "firefox"), "--headless", "--no-remote", "--marionette", "--profile", str(profile)]
    told = profile / "MarionetteActivePort"
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            port = int(wait_until(lambda: told.exists() and told.read_text()))
            with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as connection:
                yield Firefox(connection)
        finally:
            process.terminate()
