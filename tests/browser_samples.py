"""A real browser for tests: Chromium without a window, driven through its own pipe, without further packages
(https://chromedevtools.github.io/devtools-protocol).
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FOUND = next(filter(None, map(shutil.which, NAMES)), None)
# a browser is no Python package, so it is no dependency
needs_a_browser = [
    pytest.mark.skipif(FOUND is None, reason=f"needs {', '.join(NAMES[:-1])} or {NAMES[-1]} on PATH"),
    pytest.mark.slow,
]
PATIENCE_S = 120
"""Seconds after which a browser hangs: its tests must not. Nothing is measured by it."""

OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def closing(ends: tuple[int, int]) -> Iterator[int]:
    """Each end, closed after use."""
    for end in ends:
        yield end
        os.close(end)


class Browser:
    """A Chromium without a window and without network, spoken to through two pipes."""

    def __init__(self, home: Path) -> None:
        # the browser reads descriptor 3 and writes 4; high numbers first, so that neither is overwritten
        pairs = [[fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in closing(os.pipe())] for _ in range(2)]
        (reads, self.send_to), (self.read_from, writes) = pairs
        self.rest, self.number = b"", 0
        self.seen: list[dict[str, Any]] = []
        start = f"import os, sys; os.dup2({reads}, 3); os.dup2({writes}, 4); os.execv(sys.argv[1], sys.argv[1:])"
        self.process = subprocess.Popen(
            [sys.executable, "-c", start, str(FOUND), *OPTIONS, f"--user-data-dir={home}"],
            pass_fds=(reads, writes), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(home)},
        )  # fmt: skip
        os.close(reads)
        os.close(writes)
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; what happens meanwhile is kept in `seen`."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": params}
        if hasattr(self, "session"):
            message["sessionId"] = self.session
        os.write(self.send_to, json.dumps(message).encode() + b"\0")
        while (found := self._message()).get("id") != self.number:
            self.seen.append(found)
        assert "error" not in found, found
        return dict(found["result"])

    def wait_for(self, method: str) -> None:
        """Until an event has happened since `seen` was emptied."""
        while not any(message.get("method") == method for message in self.seen):
            self.seen.append(self._message())

    def _message(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.read_from], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(self.read_from, 1 << 20) if ready else b""
            assert part, "the browser ended or does not answer"
            self.rest += part
        line, _, self.rest = self.rest.partition(b"\0")
        return dict(json.loads(line))

    def show(
        self, url: str, width: int, *, height: int = 900, dark: bool = False, media: str = "screen", still: bool = False
    ) -> None:
        """Open a page in a window of a width, by day or night, `still` for people whom motion makes ill."""
        self.seen.clear()
        self.resize(width, height)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        scheme += [{"name": "prefers-reduced-motion", "value": "reduce"}] if still else []
        self.ask("Emulation.setEmulatedMedia", media=media, features=scheme)
        self.ask("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")

    def resize(self, width: int, height: int = 900) -> None:
        """Make the window so wide and high, in CSS pixels; a narrow one is a phone's."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.ask("Emulation.setTouchEmulationEnabled", enabled=width < 600)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page, waited for where it is a promise."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """The value of an expression as soon as it is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := self.evaluate(expression)):
            text = self.evaluate("document.body.innerText")
            assert time.monotonic() < deadline, f"{expression} never came true; the page says: {text}"
            time.sleep(0.05)
        return found

    def choose(self, selector: str, files: Sequence[Path]) -> None:
        """Choose files in a file input, as its dialogue does."""
        found = self.ask("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self.ask("DOM.setFileInputFiles", files=[str(file) for file in files], objectId=found["result"]["objectId"])

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key and let it go: Tab, Enter, Space, ArrowDown, or one character."""
        named = {"Tab": (9, ""), "Enter": (13, "\r"), "Space": (32, " "), "ArrowDown": (40, "")}
        code = key if key in named else f"Key{key.upper()}"
        number, text = named.get(key, (ord(key.upper()[0]), key))
        own = {"key": " " if key == "Space" else key, "code": code, "windowsVirtualKeyCode": number}
        shown = {"text": text} if text else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", modifiers=8 if shift else 0, **own, **shown)
        self.ask("Input.dispatchKeyEvent", type="keyUp", modifiers=8 if shift else 0, **own)

    def picture(self) -> bytes:
        """The whole page as a PNG file."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        found = self.ask("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(found["data"])

    def complaints(self) -> list[Any]:
        """Console messages, log entries and exceptions since the page was opened."""
        methods = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [message["params"] for message in self.seen if message.get("method") in methods]

    def requests(self) -> list[str]:
        """What was asked for, but for what stands in the page."""
        sent = [m["params"]["request"]["url"] for m in self.seen if m.get("method") == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("data:")]

    def close(self) -> None:
        """End the browser and its pipes."""
        del self.session
        self.ask("Browser.close")
        self.process.wait(60)
        os.close(self.send_to)
        os.close(self.read_from)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for all tests of a file."""
    found = Browser(tmp_path_factory.mktemp("browser"))
    yield found
    found.close()


def luminance(colour: str) -> float:
    """Relative luminance of rgb(…), as WCAG 2.2 defines it."""
    parts = [int(value) / 255 for value in colour.removeprefix("rgb(").removesuffix(")").split(",")[:3]]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: float, other: float) -> float:
    """The contrast of two luminances, from 1 to 21."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)
