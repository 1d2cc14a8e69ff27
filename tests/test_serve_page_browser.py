"""The service's page in a real browser, by clicks, drops, keys and pastes: what it shows is what the service says."""

import base64
import contextlib
import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_samples import coloured
from browser_samples import Browser, browser, contrast, luminance, needs_a_browser
from extract_samples import encoded
from page_service_samples import HOSTILE, Serving, serving, trained

from headstart.serve.settings import Limits, Settings
from headstart.workspace import Workspace

__all__ = ["browser"]

pytestmark = needs_a_browser  # test_serve_page.py holds what can be held without one

LISTED = """[...document.querySelectorAll(".picture")].map((card) => ({
  name: card.querySelector("h3").textContent,
  shown: (card.querySelector(".shown img") || {naturalWidth: 0}).naturalWidth,
  meta: card.querySelector(".top p").textContent,
  problem: [...card.querySelectorAll(".body > p")].map((p) => p.textContent),
  heads: [...card.querySelectorAll(".head")].map((head) => ({
    title: head.querySelector("h4").textContent,
    unsure: [...head.querySelectorAll(".unsure")].map((p) => p.textContent).join(),
    labels: [...head.querySelectorAll(".bars li")].map((li) => [
      li.querySelector(".name").textContent, li.querySelector(".share").textContent,
      Math.round(1000 * li.querySelector(".bar").getBoundingClientRect().width
        / li.querySelector(".track").getBoundingClientRect().width)]),
  })),
}))"""
SETTLED = "!document.querySelector('progress') && document.querySelectorAll('.picture').length"
READY = "!document.getElementById('about').hidden"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return trained(tmp_path_factory.mktemp("heads"), "ridge", "prototype")


@pytest.fixture(scope="module")
def service(workspace: Workspace) -> Iterator[Serving]:
    with serving(workspace, Settings(limits=Limits(body=200_000))) as made:
        yield made


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pictures of one colour each, and what is none."""
    folder = tmp_path_factory.mktemp("files")
    contents = {f"{name}.png": encoded(coloured(name, 100), "PNG") for name in ("blue", "green", "red")}
    contents["wide.jpg"] = encoded(coloured("blue", 7, (300, 40)), "JPEG")
    contents["scan.tif"] = encoded(coloured("green", 7), "TIFF")
    contents["cut.png"] = contents["blue.png"][:300]
    contents["notes.txt"] = b"no picture"
    contents["large.bmp"] = encoded(coloured("red", 7, (400, 300)), "BMP")
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


@pytest.fixture(autouse=True)
def nothing_leaves(browser: Browser, request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test does, the page asks nobody but the service that it came from, and complains of nothing else than
    answers that are problems."""
    yield
    asked = [url for url in browser.requests() if not url.startswith("blob:http://127.0.0.1:")]
    origins = {"/".join(url.split("/")[:3]) for url in asked}
    assert len(origins) <= 1
    assert all(origin.startswith("http://127.0.0.1:") for origin in origins)
    told = [one.get("entry", {}) for one in browser.complaints()]
    known = ("Failed to load resource: the server responded with", "Failed to load resource: net::ERR_")
    assert [one for one in told if not str(one.get("text", "")).startswith(known)] == []


def answer(service: Serving, file: Path) -> list[dict[str, Any]]:
    """What each head of the service says, as the page should show it."""
    found = service.ask("/v1/predict?topk=5", file.read_bytes())["pictures"][0]
    return [
        {"title": head["title"], "labels": [[one["label"], percent(one["share"])] for one in head["labels"]]}
        for head in found["heads"]
    ]


def percent(share: float) -> str:
    if 0.9995 < share < 1:
        return "> 99.9 %"
    return "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def shown(browser: Browser, count: int) -> list[dict[str, Any]]:
    """The pictures on the page, as soon as all of them are answered and drawn."""
    browser.until(f"{SETTLED} === {count}")
    browser.evaluate("Promise.all(document.getAnimations().map((one) => one.finished))")
    return list(browser.evaluate(LISTED))


def expect(found: dict[str, Any], service: Serving, file: Path) -> None:
    """A card that says what the service says, with bars as long as the shares."""
    heads = [{"title": head["title"], "labels": [label[:2] for label in head["labels"]]} for head in found["heads"]]
    assert heads == answer(service, file)
    assert found["problem"] == []
    for head in found["heads"]:
        for _, share, width in head["labels"]:
            value = float(share.strip("<> %")) / 100
            assert width / 1000 == pytest.approx(value, abs=0.004)


def give(browser: Browser, kind: str, file: Path, name: str) -> None:
    """Drop or paste a file, as a browser tells the page of it."""
    content = base64.b64encode(file.read_bytes()).decode()
    event = {
        "drop": "new DragEvent('drop', {dataTransfer: given, bubbles: true, cancelable: true})",
        "paste": "new ClipboardEvent('paste', {clipboardData: given, bubbles: true, cancelable: true})",
    }[kind]
    made = f"new File([Uint8Array.from(atob('{content}'), (c) => c.charCodeAt(0))], {json.dumps(name)})"
    browser.evaluate(
        f"(() => {{ const given = new DataTransfer(); given.items.add({made}); document.body.dispatchEvent({event}); }})()"
    )


def click(browser: Browser, selector: str) -> None:
    """A click of the mouse in the middle of an element."""
    found = f"document.querySelector({json.dumps(selector)})"
    browser.evaluate(f"{found}.scrollIntoView({{block: 'center'}})")
    box = browser.evaluate(f"{found}.getBoundingClientRect().toJSON()")
    place = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for kind in ("mousePressed", "mouseReleased"):
        browser.ask("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)


def focused(browser: Browser) -> str:
    return str(browser.evaluate("document.activeElement.id || document.activeElement.textContent"))


# ------------------------------------------------------------------------------------------------------ ways to give one


def test_a_picture_that_is_chosen_gets_what_each_head_says(
    browser: Browser, service: Serving, files: dict[str, Path]
) -> None:
    browser.show(service.url, 1280)
    browser.choose("#choose", [files["wide.jpg"]])
    (found,) = shown(browser, 1)
    expect(found, service, files["wide.jpg"])
    assert (found["name"], found["shown"]) == ("wide.jpg", 300)
    assert found["meta"].startswith("300 x 40 px, ")
    assert len(found["heads"]) == 2
    said = browser.until("document.getElementById('said').textContent")
    assert said.startswith("wide.jpg: ")
    assert "heads" in said


def test_several_pictures_stand_one_below_the_other(browser: Browser, service: Serving, files: dict[str, Path]) -> None:
    browser.show(service.url, 768)
    chosen = [files["blue.png"], files["green.png"], files["red.png"], files["scan.tif"]]
    browser.choose("#choose", chosen)
    for found, file in zip(shown(browser, 4), chosen, strict=True):
        expect(found, service, file)
        assert found["name"] == file.name
        assert bool(found["shown"]) == (file.suffix != ".tif")  # which Chromium can't show, and the heads can see
    browser.choose("#photograph", [files["blue.png"]])
    assert [one["name"] for one in shown(browser, 5)][:2] == ["blue.png", "blue.png"]
    click(browser, "#clear")
    assert browser.evaluate("document.querySelectorAll('.picture').length") == 0
    assert browser.evaluate("document.getElementById('answers').hidden")


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(kind: str, browser: Browser, service: Serving, files: dict[str, Path]) -> None:
    browser.show(service.url, 1280)
    give(browser, kind, files["green.png"], f"{HOSTILE}.png")
    (found,) = shown(browser, 1)
    expect(found, service, files["green.png"])
    assert found["name"] == f"{HOSTILE}.png"


def test_what_holds_no_file_is_said(browser: Browser, service: Serving) -> None:
    browser.show(service.url, 1280)
    text = "(() => { const given = new DataTransfer(); given.setData('text/plain', 'cat'); return given; })()"
    browser.evaluate(f"document.body.dispatchEvent(new ClipboardEvent('paste', {{clipboardData: {text}, bubbles: true}}))")
    assert browser.until("document.getElementById('hint').textContent") == "There is no picture file in that."
    browser.evaluate(
        f"document.body.dispatchEvent(new DragEvent('dragover', {{dataTransfer: {text}, bubbles: true, cancelable: true}}))"
    )
    assert browser.evaluate("document.body.className") == "dragging"
    drop = f"new DragEvent('drop', {{dataTransfer: {text}, bubbles: true, cancelable: true}})"
    assert browser.evaluate(f"document.body.dispatchEvent({drop})") is False  # the browser must not leave the page
    assert browser.evaluate("document.body.className") == ""
    assert browser.evaluate("document.querySelectorAll('.picture').length") == 0


def test_the_keyboard_is_enough(browser: Browser, service: Serving, files: dict[str, Path]) -> None:
    browser.show(service.url, 1280)
    browser.until(READY)
    browser.press("Tab")
    assert focused(browser) == "Skip to the answers"
    browser.press("Tab")
    assert focused(browser) == "choose"
    outline = "getComputedStyle(document.querySelector('label[for=choose]')).outlineStyle"
    assert browser.evaluate(outline) == "solid"
    browser.ask("Page.setInterceptFileChooserDialog", enabled=True)
    browser.press("Enter")
    browser.wait_for("Page.fileChooserOpened")
    (opened,) = [one["params"] for one in browser.seen if one.get("method") == "Page.fileChooserOpened"]
    browser.ask("DOM.setFileInputFiles", files=[str(files["red.png"])], backendNodeId=opened["backendNodeId"])
    browser.ask("Page.setInterceptFileChooserDialog", enabled=False)
    (found,) = shown(browser, 1)
    expect(found, service, files["red.png"])
    seen = []
    for _ in range(5):
        browser.press("Tab")
        seen.append(focused(browser))
    assert seen == ["clear", "Remove", "Why it thinks so", "Why it thinks so", "About the heads"]
    browser.press("Tab", shift=True)
    browser.press("Space")
    browser.until("document.querySelectorAll('.why[open] .thumb img').length === 6")
    browser.press("Tab", shift=True)
    browser.press("Tab", shift=True)
    assert focused(browser) == "Remove"
    browser.press("Enter")
    assert browser.evaluate("document.querySelectorAll('.picture').length") == 0
    assert focused(browser) == "choose"


# ------------------------------------------------------------------------------------------------------ why, and who


def test_why_shows_the_nearest_training_pictures(
    browser: Browser, service: Serving, files: dict[str, Path], workspace: Workspace
) -> None:
    browser.show(service.url, 1280)
    browser.choose("#choose", [files["red.png"]])
    shown(browser, 1)
    assert not [url for url in browser.requests() if "thumbnails" in url]  # before anybody looks
    click(browser, ".why summary")
    browser.until("document.querySelectorAll('.why[open] .thumb img').length === 6")
    browser.until("[...document.querySelectorAll('.why[open] .thumb img')].every((one) => one.naturalWidth === 40)")
    found = browser.evaluate(
        "[...document.querySelectorAll('.why[open] li')].map((li) => [...li.querySelectorAll('strong, p small, .id')]"
        ".map((one) => one.textContent))"
    )
    near = service.ask("/v1/predict?neighbours=6", files["red.png"].read_bytes())["pictures"][0]["heads"][0]["neighbours"]
    assert found == [[one["label"], f"cosine {one['cosine']:.2f}", one["id"]] for one in near]
    assert near[0]["label"] == HOSTILE
    assert {one["id"].split("/")[0] for one in near} == {HOSTILE}


def test_a_training_picture_that_changed_is_named_and_not_shown(
    browser: Browser, service: Serving, files: dict[str, Path], workspace: Workspace
) -> None:
    near = service.ask("/v1/predict?neighbours=6", files["green.png"].read_bytes())["pictures"][0]["heads"][0]["neighbours"]
    path = workspace.features_dir.parent / "pets" / near[1]["id"]
    before = path.read_bytes()
    path.write_bytes(encoded(coloured("blue", 1000), "PNG"))
    try:
        browser.show(service.url, 1280)
        browser.choose("#choose", [files["green.png"]])
        shown(browser, 1)
        click(browser, ".why summary")
        browser.until("document.querySelectorAll('.why[open] .thumb img').length === 5")
        words = "[...document.querySelectorAll('.why[open] .thumb')].map((one) => one.textContent)"
        assert browser.until(f"{words}[1] === 'no picture' && {words}") == ["", "no picture", "", "", "", ""]
    finally:
        path.write_bytes(before)


def test_the_heads_facts_are_told(browser: Browser, service: Serving) -> None:
    browser.show(service.url, 1280)
    browser.until(READY)
    click(browser, "#about summary")
    text = browser.evaluate("document.getElementById('facts').innerText")
    for head in service.ask("/v1/heads")["heads"]:
        for fact in (head["title"], head["name"], head["digest"], head["dataset"], head["licence"], *head["caveats"]):
            assert fact in text
        for name in head["classes"]:
            assert name in text
        accuracy = head["accuracy"]
        assert f"{percent(accuracy['value'])} right (95 % interval {percent(accuracy['low'])} to " in text
    assert "3: " in text
    assert browser.evaluate("document.getElementById('lead').textContent").startswith(
        "A picture gets its labels from 2 heads"
    )


# ------------------------------------------------------------------------------------------------------------- problems


@pytest.mark.parametrize("name", ["cut.png", "notes.txt"])
def test_what_can_not_be_read_is_said_in_the_services_words(
    name: str, browser: Browser, service: Serving, files: dict[str, Path]
) -> None:
    browser.show(service.url, 375)
    browser.choose("#choose", [files[name], files["blue.png"]])
    found, other = shown(browser, 2)
    assert found["problem"][0] == "The file can't be read as a picture."
    assert "can't be decoded" in found["problem"][1]
    assert browser.evaluate("document.querySelectorAll('.body > button').length") == 0  # again would be in vain
    expect(other, service, files["blue.png"])


def test_a_picture_that_is_too_large_is_not_sent(browser: Browser, service: Serving, files: dict[str, Path]) -> None:
    browser.show(service.url, 1280)
    browser.choose("#choose", [files["large.bmp"]])
    (found,) = shown(browser, 1)
    assert found["problem"] == [
        "The picture is too large for this service.",
        "It has 360 KB, and the service takes 200 KB at most.",
    ]
    assert found["shown"] == 400
    assert not [url for url in browser.requests() if "predict" in url]


STATUSES = {
    400: "The service did not understand the question.",
    404: "The service does not know that question: it may be another version.",
    408: "The picture came too slowly, and the service stopped waiting.",
    413: "The picture is too large for this service.",
    415: "The service does not take this kind of file.",
    422: "The file can't be read as a picture.",
    429: "The service is busy: too many pictures are waiting.",
    500: "The service answered with an error (500).",
    503: "The service is not ready yet, or is stopping.",
    504: "The service took too long over the picture.",
}
AGAIN = (408, 429, 500, 503, 504)


@contextlib.contextmanager
def answering(browser: Browser, pattern: str) -> Iterator[None]:
    """Requests that match are held, until the test answers them."""
    browser.ask("Fetch.enable", patterns=[{"urlPattern": pattern, "requestStage": "Request"}])
    try:
        yield
    finally:
        browser.ask("Fetch.disable")


def fulfil(browser: Browser, status: int, body: bytes, headers: dict[str, str]) -> None:
    """Answer the request that is held."""
    browser.wait_for("Fetch.requestPaused")
    (held,) = [one["params"]["requestId"] for one in browser.seen if one.get("method") == "Fetch.requestPaused"]
    browser.seen = [one for one in browser.seen if one.get("method") != "Fetch.requestPaused"]
    own = [{"name": name, "value": value} for name, value in headers.items()]
    content = base64.b64encode(body).decode()
    browser.ask("Fetch.fulfillRequest", requestId=held, responseCode=status, responseHeaders=own, body=content)


@pytest.mark.parametrize("status", STATUSES)
def test_each_problem_has_its_own_words(status: int, browser: Browser, service: Serving, files: dict[str, Path]) -> None:
    browser.show(service.url, 1280)
    document = json.dumps({"type": "about:blank", "title": "T", "status": status, "detail": "the <b>detail</b>"}).encode()
    with answering(browser, "*/v1/predict*"):
        browser.choose("#choose", [files["blue.png"]])
        fulfil(browser, status, document, {"Content-Type": "application/problem+json", "Retry-After": "7"})
        (found,) = shown(browser, 1)
    when = " Try again in 7 seconds." if status in AGAIN else ""
    assert found["problem"] == [STATUSES[status] + when, "the <b>detail</b>"]
    assert browser.evaluate("document.querySelectorAll('.body > button').length") == (status in AGAIN)
    if status in AGAIN:
        click(browser, ".body > button")
        browser.until("document.querySelectorAll('.bars').length")
        expect(shown(browser, 1)[0], service, files["blue.png"])


def test_a_proxy_that_answers_with_a_page_is_no_answer(browser: Browser, service: Serving, files: dict[str, Path]) -> None:
    browser.show(service.url, 1280)
    with answering(browser, "*/v1/predict*"):
        browser.choose("#choose", [files["blue.png"]])
        fulfil(browser, 502, b"<html>Bad gateway", {"Content-Type": "text/html"})
        assert shown(browser, 1)[0]["problem"] == ["The service answered with an error (502)."]
    with answering(browser, "*/v1/predict*"):
        browser.choose("#choose", [files["green.png"]])
        fulfil(browser, 200, b"<html>Welcome to the hotel", {"Content-Type": "text/html"})
        assert shown(browser, 2)[0]["problem"] == ["The service answered with an error (200)."]


def test_a_service_that_is_gone_is_told_from_one_that_is_back(
    browser: Browser, workspace: Workspace, files: dict[str, Path]
) -> None:
    with serving(workspace, Settings()) as service:
        browser.show(service.url, 1280)
        browser.until(READY)
        service.stop()
        browser.choose("#choose", [files["blue.png"]])
        (found,) = shown(browser, 1)
        assert found["problem"] == ["The service can't be reached. Is it still running, and is the network there?"]
    with serving(workspace, Settings(), service.port) as again:
        click(browser, ".body > button")
        browser.until("document.querySelectorAll('.bars').length")
        expect(shown(browser, 1)[0], again, files["blue.png"])


def test_a_service_that_is_not_ready_is_asked_again(browser: Browser, service: Serving, files: dict[str, Path]) -> None:
    with answering(browser, "*/v1/heads"):
        browser.show(service.url, 1280)
        browser.choose("#choose", [files["blue.png"]])
        fulfil(browser, 503, b'{"detail": "the heads are being made ready"}', {"Retry-After": "1"})
        text = browser.until(
            "!document.getElementById('state').hidden && document.getElementById('state-text').textContent"
        )
    assert text == "The service is not ready yet, or is stopping. Try again in 1 second."
    click(browser, "#state-again")
    expect(shown(browser, 1)[0], service, files["blue.png"])
    assert browser.evaluate("document.getElementById('state').hidden")


def test_a_file_that_is_gone_is_told_from_a_network_that_is_down(
    browser: Browser, service: Serving, tmp_path: Path, files: dict[str, Path]
) -> None:
    gone, empty = tmp_path / "gone.png", tmp_path / "empty.png"
    gone.write_bytes(files["blue.png"].read_bytes())
    empty.touch()
    heads = json.dumps(service.ask("/v1/heads")).encode()
    with answering(browser, "*/v1/heads"):
        browser.show(service.url, 1280)
        browser.choose("#choose", [gone, empty])
        browser.until("document.querySelector('.shown img').naturalWidth")
        gone.unlink()
        fulfil(browser, 200, heads, {"Content-Type": "application/json"})
        found = shown(browser, 2)
    words = "The browser finds nothing in the file: it may be empty, a folder, or gone by now."
    assert [one["problem"] for one in found] == [[words], [words]]
    assert not [url for url in browser.requests() if "predict" in url]


# ------------------------------------------------------------------------------------------------------- token, unsure


@pytest.fixture(scope="module")
def guarded(workspace: Workspace) -> Iterator[Serving]:
    with serving(workspace, Settings(token="s3cret")) as made:
        yield made


def test_a_token_is_asked_for_and_kept_nowhere(browser: Browser, guarded: Serving, files: dict[str, Path]) -> None:
    browser.show(guarded.url, 1280)
    browser.choose("#choose", [files["blue.png"]])
    browser.until("!document.getElementById('token-form').hidden")
    assert focused(browser) == "token"
    for letter in "wrong":
        browser.press(letter)
    browser.press("Enter")
    assert browser.until("document.getElementById('token-wrong').textContent") == "The service does not know this token."
    for letter in "s3cret":
        browser.press(letter)
    click(browser, "#token-form button")
    expect(shown(browser, 1)[0], guarded, files["blue.png"])
    click(browser, ".why summary")
    browser.until("document.querySelectorAll('.why[open] .thumb img').length === 6")
    kept = "JSON.stringify([localStorage.length, sessionStorage.length, document.cookie, location.href])"
    assert json.loads(browser.evaluate(kept)) == [0, 0, "", f"{guarded.url}/"]
    assert "s3cret" not in browser.evaluate("document.documentElement.outerHTML")
    browser.show(guarded.url, 1280)
    browser.until("!document.getElementById('token-form').hidden")


def test_a_head_that_is_unsure_says_what_it_could_be(
    browser: Browser, workspace: Workspace, files: dict[str, Path]
) -> None:
    # so high a coverage that no class can be left out
    calibrated = dataclasses.replace(workspace, runs_dir=workspace.runs_dir.with_name("calibrated"))
    calibrated.runs_dir.mkdir()
    (ridge,) = workspace.runs_dir.glob("*ridge*")
    (calibrated.runs_dir / ridge.name).symlink_to(ridge)
    with serving(calibrated, Settings(coverage=0.999)) as service:
        browser.show(service.url, 1280)
        browser.choose("#choose", [files["blue.png"]])
        (found,) = shown(browser, 1)
        told = service.ask("/v1/predict", files["blue.png"].read_bytes())["pictures"][0]["heads"][0]
        assert told["unsure"] is True
        names = told["set"]
        assert found["heads"][0]["unsure"] == f"Unsure: it could be {names[0]}, {names[1]} or {names[2]}."
        click(browser, "#about summary")
        assert "about 99.9 % have their label among those" in browser.evaluate("document.getElementById('facts').innerText")
        assert ", but it is unsure." in browser.until("document.getElementById('said').textContent")


# ------------------------------------------------------------------------------------------------- slow, narrow, dark


def test_on_a_slow_connection_the_picture_is_there_at_once_and_can_be_called_back(
    browser: Browser, service: Serving, tmp_path: Path
) -> None:
    slow = tmp_path / "slow.bmp"
    slow.write_bytes(encoded(coloured("green", 3, (250, 250)), "BMP"))
    browser.show(service.url, 375)
    browser.until(READY)
    browser.ask(
        "Network.emulateNetworkConditions", offline=False, latency=50, downloadThroughput=20_000, uploadThroughput=20_000
    )
    try:
        browser.choose("#choose", [slow])
        assert browser.until("document.querySelector('.shown img').naturalWidth") == 250
        said = "document.querySelector('.progress span').textContent"
        assert browser.until(f"{said}.startsWith('Sending, ') && document.querySelector('progress').value > 0.1 && {said}")
        click(browser, ".progress button")
        assert shown(browser, 1)[0]["problem"] == ["Cancelled."]
        assert focused(browser) == "Remove"
    finally:
        browser.ask(
            "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
    click(browser, ".body > button")
    browser.until("document.querySelectorAll('.bars').length")
    expect(shown(browser, 1)[0], service, slow)


MEASURE = """(() => {
  const inside = (e) => e.closest(".unseen, .skip, .file, [hidden]");
  const below = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (c !== "rgba(0, 0, 0, 0)") return c; } };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = {};
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    const text = texts.currentNode.data.trim();
    if (!text || inside(e) || !e.checkVisibility() || e.closest("script, style, noscript")) continue;
    found[getComputedStyle(e).color + " on " + below(e)] = text.slice(0, 40);
  }
  return {scroll: document.scrollingElement.scrollWidth, inner: innerWidth, texts: found,
    wide: [...document.querySelectorAll("body *")].filter((e) => !inside(e) && e.getBoundingClientRect().right
      > innerWidth + 1).map((e) => e.outerHTML.slice(0, 120)),
    small: [...document.querySelectorAll("button, .button, summary")].filter((e) => e.checkVisibility()
      && e.getBoundingClientRect().height < 24).map((e) => e.outerHTML),
    transition: getComputedStyle(document.querySelector(".bar")).transitionDuration};
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [375, 768, 1440])
def test_everything_fits_and_can_be_read(
    width: int, dark: bool, browser: Browser, service: Serving, files: dict[str, Path]
) -> None:
    browser.show(service.url, width, dark=dark, still=dark)
    browser.until(READY)
    browser.choose("#choose", [files["blue.png"], files["cut.png"], files["red.png"]])
    shown(browser, 3)
    browser.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    browser.until("document.querySelectorAll('.thumb img').length === 24")
    found = browser.evaluate(MEASURE)
    assert found["inner"] == width
    assert found["scroll"] <= width
    assert found["wide"] == []
    assert found["small"] == []
    assert found["transition"] == ("0s" if dark else "0.4s")
    for colours, text in found["texts"].items():
        ink, paper = map(luminance, colours.split(" on "))
        assert (paper < 0.5) == dark or text == "Choose pictures" or "photograph" in text
        assert contrast(ink, paper) >= 4.5, (colours, text)


def test_everything_has_a_name_and_headings_follow_each_other(
    browser: Browser, service: Serving, files: dict[str, Path]
) -> None:
    browser.show(service.url, 1280)
    browser.choose("#choose", [files["blue.png"]])
    shown(browser, 1)
    browser.ask("Accessibility.enable")
    nodes = [one for one in browser.ask("Accessibility.getFullAXTree")["nodes"] if not one.get("ignored")]
    browser.ask("Accessibility.disable")
    named = {one["role"]["value"]: one for one in nodes if one["role"]["value"] in ("button", "textbox", "link")}
    assert named
    for one in nodes:
        if one["role"]["value"] in ("button", "link", "textbox", "DisclosureTriangle", "heading"):
            assert one["name"]["value"], one
    levels = browser.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].filter((e) => e.checkVisibility())"
                              ".map((e) => Number(e.tagName[1]))")  # fmt: skip
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert browser.evaluate("[...document.images].every((one) => one.hasAttribute('alt'))")


def test_the_policy_stops_what_the_page_would_not_do(browser: Browser, service: Serving) -> None:
    browser.show(service.url, 1280)
    browser.until(READY)
    tried = (
        "(async () => { const blocked = []; document.addEventListener('securitypolicyviolation', (event) => "
        "blocked.push(event.effectiveDirective)); const made = document.createElement('style'); made.textContent = "
        "'body{display:none}'; document.body.append(made); await fetch('http://127.0.0.1:1/').catch(() => null); "
        "try { document.body.innerHTML = '<b>text</b>'; } catch (error) { blocked.push(error.name); } "
        "await new Promise((done) => setTimeout(done, 200)); return blocked.sort(); })()"
    )
    assert browser.evaluate(tried) == ["TypeError", "connect-src", "require-trusted-types-for", "style-src-elem"]
    assert browser.evaluate("document.querySelector('h1').textContent") == "What is in the picture?"
    browser.seen.clear()  # what was tried is complained of, as it should be
