"""Debian's chromium, headless, driven through a pair of pipes: it listens at no port, and ends when they are closed."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any

from msgspec import Struct, field

PROGRAM = "chromium"

_DEADLINE_S = 60.0
_SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-pipe",
)

Message = dict[str, Any]


class BrowserError(Exception):
    """The browser did not do what it was told, or ended."""


class Visit(Struct):
    """What a page did until it was painted. `complaints`: errors and warnings of its console, and of the browser about
    it. `requests`: all that was asked for, the page itself first."""

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


class Browser:
    """One tab of it."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._unread = b""
        self._sent = 0
        self._session = ""
        self._visit = Visit()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def visit(self, url: str, width: int, height: int, scheme: str = "light") -> Visit:
        """Opens `url` on a screen of so many CSS pixels, as a telephone does: a page that does not say how wide it is
        is taken for one of 980. Returns when it is loaded and painted."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
        self.call("Emulation.setDeviceMetricsOverride", **screen)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._visit = Visit()
        self.call("Page.navigate", url=url)
        while self._read(_DEADLINE_S)["method"] != "Page.loadEventFired":
            pass
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return self._visit

    def evaluate(self, expression: str) -> Any:
        """What JavaScript makes of it, as JSON would have it."""
        made = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in made:
            raise BrowserError(_describe(made["exceptionDetails"]))
        return made["result"].get("value")

    def call(self, method: str, **params: Any) -> Message:
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._read(_DEADLINE_S)).get("id") != self._sent:
            pass
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']}")
        result: Message = answer["result"]
        return result

    def _read(self, seconds: float) -> Message:
        """The next message; one that tells about the page is noted in its visit."""
        deadline = time.monotonic() + seconds
        while b"\0" not in self._unread:
            ready, _, _ = select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            came = os.read(self._answers, 1 << 16) if ready else b""
            if not came:
                raise BrowserError("the browser has ended" if ready else f"the browser said nothing in {seconds:g} s")
            self._unread += came
        first, _, self._unread = self._unread.partition(b"\0")
        message: Message = json.loads(first)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, params: Mapping[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self._visit.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self._visit.complaints.append(_describe(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self._visit.complaints.append(" ".join(str(it.get("value", it)) for it in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self._visit.complaints.append(params["entry"]["text"])


def _describe(details: Mapping[str, Any]) -> str:
    return str(details.get("exception", {}).get("description", details["text"]))


@contextmanager
def running_browser(folder: Path) -> Iterator[Browser]:
    """A browser whose profile, caches and log are in `folder`; it and all its children are ended behind it."""
    asked, commands = os.pipe()
    answers, told = os.pipe()
    # It reads from 3 and writes to 4; the shell becomes the browser.
    script = f'exec "$@" 3<&{asked} 4>&{told}'
    switches = (*_SWITCHES, f"--user-data-dir={folder / 'profile'}")
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    with (folder / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", script, "browser", PROGRAM, *switches],
            pass_fds=(asked, told),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | home,
            start_new_session=True,
        )
    os.close(asked)
    os.close(told)
    try:
        yield Browser(commands, answers)
    finally:
        os.close(commands)
        os.close(answers)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
