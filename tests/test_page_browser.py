"""The report's page in a real browser: nothing is fetched or complained of, everything shows, nothing runs off the side."""

import dataclasses
from pathlib import Path
from typing import Any

import page_samples
import pytest
from browser_samples import Browser, browser, contrast, luminance, needs_a_browser

from headstart.core.heads.report.page.document import to_html

__all__ = ["browser"]

pytestmark = needs_a_browser  # test_page.py holds what can be held without one

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


def opened(browser: Browser, page: Path, width: int, *, dark: bool = False, media: str = "screen") -> dict[str, Any]:
    """Open a file at a width and measure it."""
    browser.show(page.as_uri(), width, dark=dark, media=media)
    return dict(browser.evaluate(MEASURE))


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
    found = opened(browser, pages[name], width)
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
    found = opened(browser, page, 1440)
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
    opened(browser, page, 375)
    assert "Content Security Policy" in str(browser.complaints())
    assert browser.evaluate("document.title") == "Frozen backbones compared"


def test_text_stands_out_from_the_page_by_day_and_night(browser: Browser, pages: dict[str, Path]) -> None:
    for dark in (False, True):
        found = opened(browser, pages["whole"], 1440, dark=dark)
        page = luminance(found["background"])
        assert (page < 0.5) == dark
        contrasts = {colour: contrast(luminance(colour), page) for colour in found["text"]}
        # counts within the darkest cells of a confusion matrix are written in the page's own colour
        assert [colour for colour, ratio in contrasts.items() if ratio < 4.5] == [found["background"]]


def test_on_paper_the_page_is_light_and_everything_is_there(browser: Browser, pages: dict[str, Path]) -> None:
    found = opened(browser, pages["whole"], 1000, dark=True, media="print")
    assert [box for box in found["boxes"] if not (box[1] > 20 and box[2] > 10)] == []
    inks = {luminance(colour) for colour in found["text"]}
    assert min(inks) < 0.2
