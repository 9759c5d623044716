"""Drives headless Chromium over the pipe of its DevTools protocol."""

import base64
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-background-networking"),
    *("--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe"),
)
_SECONDS = 60  # That one command may take, on a machine with other work.


def path() -> str:
    """Returns the path of Chromium; skips the test, with a reason, without it."""
    found = next((p for name in _NAMES if (p := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"needs Chromium; looked for {', '.join(_NAMES)} on PATH")
    return found


class Page:
    """A page in Chromium.

    Attributes:
        requests: URLs that it asked for.
        messages: texts of its console, and of errors.
    """

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser, self._session = browser, session
        self.requests, self.messages = [], []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params):
        """Calls a method of the protocol; returns its result."""
        return self._browser.call(method, params, self._session)

    def event(self, method: str, params: dict) -> None:
        """Notes an event of the page."""
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            texts = [str(a.get("value", a.get("description"))) for a in params["args"]]
            self.messages.append(" ".join(texts))
        elif method == "Runtime.exceptionThrown":
            self.messages.append(str(params["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.messages.append(params["entry"]["text"])

    def open(self, url: str, width: int, height: int = 900, scripts: bool = True):
        """Opens a URL in a window of this size, with or without scripts."""
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.resize(width, height)
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def resize(self, width: int, height: int) -> None:
        """Sets the size of the window, in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def value(self, expression: str):
        """Returns the value of a JavaScript expression; awaits promises."""
        done = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, expression: str) -> None:
        """Waits until a JavaScript expression is true."""
        end = time.monotonic() + _SECONDS
        while not self.value(expression):
            assert time.monotonic() < end, f"waited for {expression}"
            time.sleep(0.1)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Sends an event of the pointer: `mouseMoved`, or `click`."""
        button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
        kinds = ("mousePressed", "mouseReleased") if kind == "click" else (kind,)
        for one in kinds:
            self.call("Input.dispatchMouseEvent", type=one, x=x, y=y, **button)

    def key(self, name: str, code: int) -> None:
        """Presses a key, such as "ArrowRight", whose virtual code is 39."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=name,
                code=name,
                windowsVirtualKeyCode=code,
            )

    def screenshot(self, target: pathlib.Path, full: bool = True) -> None:
        """Writes a picture (PNG) of the page, or of what the window shows."""
        more = {}
        if full:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            area = {key: size[key] for key in ("width", "height")}
            more = {"clip": {"x": 0, "y": 0, "scale": 1, **area}}
        found = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=full, **more
        )
        target.write_bytes(base64.b64decode(found["data"]))

    def pdf(self, target: pathlib.Path) -> None:
        """Writes the page as it prints."""
        found = self.call("Page.printToPDF", preferCSSPageSize=True)
        target.write_bytes(base64.b64decode(found["data"]))


class Browser:
    """A headless Chromium."""

    def __init__(self, process: subprocess.Popen, write: int, read: int) -> None:
        self._process, self._write, self._read = process, write, read
        self._buffer, self._number, self._pages = b"", 0, {}

    def page(self) -> Page:
        """Returns a new page."""
        made = self.call("Target.createTarget", {"url": "about:blank"})
        attached = self.call(
            "Target.attachToTarget", {"targetId": made["targetId"], "flatten": True}
        )
        session = attached["sessionId"]
        page = Page.__new__(Page)
        self._pages[session] = page
        page.__init__(self, session)
        return page

    def call(self, method: str, params: dict, session: str | None = None) -> dict:
        """Calls a method, and hands events to their pages until it has answered."""
        self._number += 1
        sent = {"id": self._number, "method": method, "params": params}
        if session is not None:
            sent["sessionId"] = session
        os.write(self._write, json.dumps(sent).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            page = self._pages.get(message.get("sessionId"))
            if page is not None and "method" in message:
                page.event(message["method"], message["params"])

    def _message(self) -> dict:
        while b"\0" not in self._buffer:
            part = os.read(self._read, 1 << 20)
            assert part, "Chromium has ended"
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)


@contextlib.contextmanager
def started():
    """Starts Chromium, and ends it; skips the test without it."""
    program = path()
    (to_read, to_write), (from_read, from_write) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:

        def hand_over() -> None:  # Chromium reads commands from 3 and answers on 4.
            high = [os.dup(fd) for fd in (to_read, from_write)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=hand_over,
            pass_fds=(3, 4),
        )
        os.close(to_read)
        os.close(from_write)
        try:
            yield Browser(process, to_write, from_read)
        finally:
            os.close(to_write)
            os.close(from_read)
            process.terminate()
            process.wait(timeout=60)
