"""The review's page in a real browser: labels are mended by keyboard alone, and two browsers don't overwrite each other."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_samples import Browser, browser, contrast, luminance, needs_a_browser
from review_samples import Reviewing, draw, extracted, reviewing, unlabelled

from headstart.core.cache import corrections
from headstart.core.cache.corrections import LABEL, REMOVE
from headstart.workspace import Workspace

__all__ = ["browser"]

pytestmark = needs_a_browser

SHOWN = """[...document.querySelectorAll("#grid li")].map((card) => ({
  id: card.querySelector(".id").textContent, given: card.querySelector(".given").textContent,
  proposal: (card.querySelector(".proposal") || {textContent: ""}).textContent,
  decision: (card.querySelector(".decision") || {textContent: ""}).textContent,
  problem: (card.querySelector(".warn") || {textContent: ""}).textContent,
  marked: card.getAttribute("aria-selected") === "true"}))"""
READY = "document.querySelectorAll('#grid li').length"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A second browser."""
    found = Browser(tmp_path_factory.mktemp("other"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """300 pictures, 30 of which have a wrong label, and 300 clean test pictures."""
    root = tmp_path_factory.mktemp("wrong")
    return extracted(root, draw(root / "pets", 300, test=300, wrong=30))


@pytest.fixture
def service(wrong: Workspace, tmp_path: Path) -> Iterator[Reviewing]:
    with reviewing(wrong, tmp_path / "corrections.csv") as found:
        yield found


def state(root: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*")) if path.is_file()}


def look(browser: Browser, service: Reviewing, width: int = 1280, **more: Any) -> list[dict[str, Any]]:
    browser.show(service.url, width, **more)
    browser.until(READY)
    return shown(browser)


def shown(browser: Browser) -> list[dict[str, Any]]:
    return list(browser.evaluate(SHOWN))


def marked(browser: Browser) -> dict[str, Any]:
    (found,) = [one for one in shown(browser) if one["marked"]]
    return found


def test_the_loop_wrong_labels_are_mended_by_keyboard_and_the_accuracy_rises(
    browser: Browser, service: Reviewing, wrong: Workspace
) -> None:
    pictures = wrong.features_dir.parent / "pets"
    before = state(pictures)
    look(browser, service)
    for number in range(30):
        true = marked(browser)["id"].split("-")[1].split(".")[0]
        given, proposal = marked(browser)["given"], marked(browser)["proposal"]
        key = "k" if given == true else "a" if f"→ {true} " in proposal else str(["blue", "green", "red"].index(true) + 1)
        browser.press(key)
        browser.until(f"document.querySelectorAll('#grid .decision').length === {number + 1}")
        browser.until(f"document.querySelectorAll('#grid li')[{number + 1}].getAttribute('aria-selected') === 'true'")
    kept = corrections.read(service.corrections)
    assert kept.lines == len(kept.stands) == 30
    assert kept.count(LABEL) >= 15
    doubts = browser.evaluate("[...document.querySelectorAll('#grid li.done .why')].map((one) => one.textContent)")
    assert "Label may be wrong" not in doubts  # that is decided
    browser.press("r")
    browser.until("!document.getElementById('scores').hidden")
    found = service.get()["retraining"]["comparison"]
    assert found["by"] == "the test pictures"
    assert (found["before"]["pictures"], found["after"]["pictures"], found["decisions"]) == (300, 300, 30)
    assert found["after"]["correct"] > found["before"]["correct"]
    text = browser.evaluate("document.getElementById('scores').innerText")
    for score in (found["before"], found["after"]):
        assert f"{100 * score['accuracy']:.1f} % (95 % interval {100 * score['low']:.1f} % to " in text
    browser.until("document.getElementById('kind').textContent.includes('decided before (30)')")
    browser.until("!document.querySelector('#grid .decision')")  # what is decided comes last
    assert state(pictures) == before
    assert browser.complaints() == []
    assert {"/".join(url.split("/")[:3]) for url in browser.requests() if not url.startswith("blob:")} == {service.url}


def test_two_browsers_see_each_other_and_do_not_overwrite(browser: Browser, other: Browser, service: Reviewing) -> None:
    other.ask("Network.setBlockedURLs", urls=["*/changes*"])  # it hears of nothing
    assert look(browser, service) == look(other, service)
    browser.press("x")
    browser.until("!!document.querySelector('#grid .decision')")
    other.press("n")
    other.until("!!document.querySelector('#grid .warn')")
    first = shown(other)[0]
    assert first["problem"].startswith("Somebody else decided: Left out. Yours was not kept")
    assert first["decision"] == "Left out"
    assert first["marked"]
    kept = corrections.read(service.corrections)
    assert (kept.lines, kept.count(REMOVE)) == (1, 1)
    other.press("n")  # now it was seen
    other.until("document.querySelector('#grid .decision').textContent === 'Not sure'")
    browser.until("document.querySelector('#grid .decision').textContent === 'Not sure'")  # by itself
    kept = corrections.read(service.corrections)
    assert (kept.lines, kept.count(REMOVE)) == (2, 0)
    other.ask("Network.setBlockedURLs", urls=[])
    before = shown(other)
    browser.press("r")
    browser.until("!document.querySelector('#grid .decision')")  # what is decided comes last
    other.until("!document.getElementById('renewed').hidden")
    assert shown(other) == before  # no picture moves while somebody decides
    other.evaluate("document.getElementById('renew').click()")
    other.until("!document.querySelector('#grid .decision')")
    assert shown(other) == shown(browser)


def test_every_key_does_what_its_line_says(browser: Browser, service: Reviewing) -> None:
    look(browser, service)
    expected = ["Not sure", "Left out", "Label kept", "Label: blue"]
    for place, (key, said) in enumerate(zip(("n", "x", "Space", "1"), expected, strict=True)):
        browser.press(key)
        browser.until(f"(document.querySelectorAll('#grid .decision')[{place}] || {{}}).textContent === '{said}'")
    browser.press("l")
    browser.until("document.activeElement.id === 'label'")
    for letter in "otter":
        browser.press(letter)
    browser.press("Enter")
    browser.until("(document.querySelectorAll('#grid .decision')[4] || {}).textContent === 'Label: otter'")
    browser.until("document.querySelectorAll('#grid li')[5] === document.activeElement")
    assert "4 otter" in browser.evaluate("document.getElementById('keys').textContent")
    browser.press("u")
    browser.until("document.querySelectorAll('#grid .decision').length === 4")
    browser.until("document.querySelectorAll('#grid li')[4] === document.activeElement")
    browser.press("h")
    browser.press("h")
    browser.press("j")
    browser.until("document.querySelectorAll('#grid li')[3] === document.activeElement")
    browser.press("U", shift=True)
    browser.until("document.querySelectorAll('#grid .decision').length === 3")
    assert corrections.read(service.corrections).count(LABEL) == 0
    browser.press("?")
    browser.until("document.getElementById('help').open")
    assert "k or Space" in browser.evaluate("document.getElementById('help').innerText")


def test_no_label_is_given_that_nobody_chose(browser: Browser, service: Reviewing) -> None:
    look(browser, service)
    hint = "document.getElementById('label-hint').textContent"
    browser.press("l")
    browser.until("document.activeElement.id === 'label'")
    browser.press("Enter")
    browser.until(f"{hint} === 'Type a name first.' || {hint} === 'Choose one with ↓ first.'")
    for letter in "lu":  # inside of "blue", and a name of its own
        browser.press(letter)
    browser.press("Enter")
    browser.until(f"{hint} === 'Choose one with ↓ first.'")
    assert browser.evaluate("document.getElementById('labels').open")
    browser.press("ArrowDown")
    browser.press("ArrowDown")
    browser.press("Enter")
    browser.until("(document.querySelector('#grid .decision') || {}).textContent === 'Label: lu'")
    browser.press("l")
    browser.until("document.activeElement.id === 'label'")
    browser.press("b")  # how one name begins
    browser.press("Enter")
    browser.until("(document.querySelectorAll('#grid .decision')[1] || {}).textContent === 'Label: blue'")


def test_a_folder_without_labels_becomes_a_classifier(browser: Browser, tmp_path: Path) -> None:
    workspace = extracted(tmp_path, unlabelled(tmp_path / "new", 60))
    with reviewing(workspace, tmp_path / "corrections.csv") as service:
        look(browser, service)
        browser.press("r")
        browser.until("document.getElementById('training-text').textContent.includes('label some of two classes or more')")
        names: list[str] = []
        for number in range(12):
            true = marked(browser)["id"].split("-")[1].split(".")[0]
            if true in names:
                browser.press(str(names.index(true) + 1))
            else:
                browser.press("a")  # nothing is proposed: a label is asked for
                browser.until("document.activeElement.id === 'label'")
                for letter in true:
                    browser.press(letter)
                browser.press("Enter")
                names.append(true)
            browser.until(f"document.querySelectorAll('#grid li')[{number + 1}] === document.activeElement")
        assert len(names) > 1
        browser.press("r")
        browser.until("!document.getElementById('scores').hidden")
        assert "no labels to learn from" in browser.evaluate("document.getElementById('scores').innerText")
        browser.until("!!document.querySelector('#grid .proposal')")
        found = service.get("/items?count=200")["items"]
        shares = [one["share"] for one in found if one["kind"] == "no label"]
        assert len(shares) == 48
        assert {one["label"] for one in found if one["kind"] == "no label"} <= set(names)
        assert shares[0] < shares[-1]  # the least sure come first


def test_pictures_that_are_gone_are_said_as_long_as_the_page_is_there(browser: Browser, tmp_path: Path) -> None:
    pictures = unlabelled(tmp_path / "new", 12)
    workspace = extracted(tmp_path, pictures)
    pictures.rename(tmp_path / "elsewhere")
    with reviewing(workspace, tmp_path / "corrections.csv") as service:
        for number, one in enumerate(service.get("/items")["items"][:11]):
            own = {"picture": one["standing"]["picture"], "version": one["standing"]["version"]}
            assert service.post("/decisions", {**own, "action": "label", "label": f"class-{number}"})[0] == 200
        look(browser, service)
        browser.until("document.querySelector('#grid .thumb').textContent.includes('not there any more')")
        assert "Put them back" in browser.evaluate("document.getElementById('no-pictures').innerText")
        assert browser.evaluate("document.getElementById('state').hidden")  # nothing failed
        assert browser.evaluate("document.getElementById('keys').textContent").endswith("9 class-7 · l for 2 more labels")


COLOURS = """[".given", ".why", ".proposal", ".id", ".decision"].map((name) => {
  const one = document.querySelector(`#grid ${name}`);
  let at = one;
  while (getComputedStyle(at).backgroundColor === "rgba(0, 0, 0, 0)") at = at.parentElement;
  return [getComputedStyle(one).color, getComputedStyle(at).backgroundColor];
})"""


@pytest.fixture(scope="module")
def still(wrong: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewing]:
    """A review with one decision."""
    with reviewing(wrong, tmp_path_factory.mktemp("still") / "corrections.csv") as found:
        standing = found.get("/items")["items"][0]["standing"]
        found.post("/decisions", {"picture": standing["picture"], "action": "remove", "version": standing["version"]})
        yield found


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [375, 1280])
def test_it_fits_and_can_be_read_at_every_width_by_day_and_night(
    width: int, dark: bool, browser: Browser, still: Reviewing
) -> None:
    look(browser, still, width, dark=dark)
    browser.until("document.querySelectorAll('#grid img').length > 1")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    for ink, paper in browser.evaluate(COLOURS):
        assert contrast(luminance(ink), luminance(paper)) >= 4.5
    assert [one for one in browser.complaints() if still.url in str(one)] == []  # the page before may have some
