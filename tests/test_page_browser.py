"""The report's page in a real browser: nothing is fetched or complained of, everything shows, nothing runs off the side.

Chromium is driven through its own pipe (https://chromedevtools.github.io/devtools-protocol), without further packages.
"""

import dataclasses
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import page_samples
import pytest

from headstart.core.heads.report.page.document import to_html

NAMES = ("chromium", "chromium-browser", "google-chrome")
FOUND = next(filter(None, map(shutil.which, NAMES)), None)
# a browser is no Python package, so it is no dependency; test_page.py holds what can be held without one
pytestmark = [
    pytest.mark.skipif(FOUND is None, reason=f"needs {', '.join(NAMES[:-1])} or {NAMES[-1]} on PATH"),
    pytest.mark.slow,
]

WIDTHS = (375, 1280, 1440)
MEASURE = """(() => {
  const size = (e) => { const box = e.getBoundingClientRect(); return [e.tagName, box.width, box.height] };
  const root = document.scrollingElement;
  const bodies = [...document.querySelectorAll("figure, figure svg, .card, table, figcaption")];
  const wide = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1
    && !e.closest(".scroll, .art, .skip"));
  const cut = [...document.querySelectorAll("table, .scroll > *, .art > svg")].filter((e) =>
    e.scrollWidth > e.parentElement.clientWidth + 1 || e.getBoundingClientRect().width > e.parentElement.clientWidth + 1);
  return {inner: innerWidth, scroll: root.scrollWidth, cut: cut.map((e) => e.outerHTML.slice(0, 200)),
    figures: document.querySelectorAll("figure").length,
    boxes: bodies.map(size), broken: [...document.images].filter((e) => !(e.complete && e.naturalWidth)).length,
    images: document.images.length, wide: wide.map((e) => e.outerHTML.slice(0, 80)),
    fetched: performance.getEntriesByType("resource").map((e) => e.name).filter((name) => !name.startsWith("data:")),
    background: getComputedStyle(document.body).backgroundColor,
    text: [...document.querySelectorAll("figure svg text")].map((e) => getComputedStyle(e).fill)};
})()"""


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
        deadline = time.monotonic() + 120  # a hung browser must not hang the tests; nothing is measured by it
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.read_from], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(self.read_from, 1 << 20) if ready else b""
            assert part, "the browser ended or does not answer"
            self.rest += part
        line, _, self.rest = self.rest.partition(b"\0")
        return dict(json.loads(line))

    def open(self, page: Path, width: int, *, dark: bool = False, media: str = "screen") -> dict[str, Any]:
        """Open a file at a width and measure it."""
        self.seen.clear()
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", media=media, features=scheme)
        self.ask("Page.navigate", url=page.as_uri())
        self.wait_for("Page.loadEventFired")
        found = self.ask("Runtime.evaluate", expression=MEASURE, returnByValue=True)
        return dict(found["result"]["value"])

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
    found = Browser(tmp_path_factory.mktemp("browser"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of two models, of several data sets, of names meant to break out, of many heads, and of one run."""
    models = tuple(f"backbone_with_a_long_name_{i}" for i in range(12))
    # their tables are looked at, and drawing takes seconds
    many = dataclasses.replace(page_samples.own(models), maps={})
    many = page_samples.with_heads(many, lambda head: dataclasses.replace(head, analyses=None))
    facts = {
        "whole": page_samples.whole(page_samples.MODELS[1:3], points=120),
        "sections": page_samples.report(page_samples.section(points=60), page_samples.many_classes()),
        "heads": page_samples.report(many),
        "hostile": page_samples.hostile(),
        "small": page_samples.small(),
    }
    folder = tmp_path_factory.mktemp("pages")
    for name, one in facts.items():
        (folder / f"{name}.html").write_text(to_html(one), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in facts}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["whole", "sections", "heads", "hostile", "small"])
def test_the_page_shows_everything_and_asks_for_nothing(
    name: str, width: int, browser: Browser, pages: dict[str, Path]
) -> None:
    found = browser.open(pages[name], width)
    assert found["inner"] == width
    assert found["scroll"] <= width
    assert found["wide"] == []
    assert found["cut"] == []
    assert [box for box in found["boxes"] if not (box[1] > 20 and box[2] > 10)] == []
    assert found["broken"] == 0
    assert found["fetched"] == []
    assert browser.requests() == [pages[name].as_uri()]
    assert browser.complaints() == []
    assert (found["figures"] > 10) == (name != "small")


def test_the_browser_would_tell_of_a_page_that_is_not_so(browser: Browser, tmp_path: Path) -> None:
    # the test above looks for the right things
    page = tmp_path / "bad.html"
    outside = "<img src=outside.png><script>console.log(1)</script><figure></figure><div style='width:3000px'>x</div>"
    outside += "<div style='width:300px'><table style='width:400px'><tr><td>x</table></div>"
    page.write_text(f"<!DOCTYPE html><meta name=viewport content='width=device-width'>{outside}", encoding="utf-8")
    found = browser.open(page, 1440)
    assert len(browser.requests()) == 2
    assert browser.complaints()
    assert found["broken"] == 1
    assert found["scroll"] > 1440
    assert found["wide"]
    assert len(found["cut"]) == 1


def test_the_policy_stops_what_the_page_would_not_send(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    page = tmp_path / "changed.html"
    outside = "<script>document.title = 'ran'</script><img src='https://example.org/a.png' alt=''></body>"
    page.write_text(pages["small"].read_text(encoding="utf-8").replace("</body>", outside), encoding="utf-8")
    browser.open(page, 375)
    assert "Content Security Policy" in str(browser.complaints())
    assert browser.ask("Runtime.evaluate", expression="document.title")["result"]["value"] == "Frozen backbones compared"


def test_text_stands_out_from_the_page_by_day_and_night(browser: Browser, pages: dict[str, Path]) -> None:
    for dark in (False, True):
        found = browser.open(pages["whole"], 1440, dark=dark)
        page = _luminance(found["background"])
        assert (page < 0.5) == dark
        contrasts = {colour: _contrast(_luminance(colour), page) for colour in found["text"]}
        # counts within the darkest cells of a confusion matrix are written in the page's own colour
        assert [colour for colour, ratio in contrasts.items() if ratio < 4.5] == [found["background"]]


def _luminance(colour: str) -> float:
    """Relative luminance of rgb(…), as WCAG 2.2 defines it."""
    parts = [int(value) / 255 for value in colour.removeprefix("rgb(").removesuffix(")").split(",")[:3]]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_on_paper_the_page_is_light_and_everything_is_there(browser: Browser, pages: dict[str, Path]) -> None:
    found = browser.open(pages["whole"], 1000, dark=True, media="print")
    assert [box for box in found["boxes"] if not (box[1] > 20 and box[2] > 10)] == []
    inks = {_luminance(colour) for colour in found["text"]}
    assert min(inks) < 0.2
