"""The service's page without a browser: one document that needs nothing else, and a policy that fits it."""

import base64
import hashlib
import html.parser
import re

from serve_samples import asking, service

from headstart.core.heads.report.page.style import BASE
from headstart.serve.page.document import SCRIPTS, page


class Read(html.parser.HTMLParser):
    """The tags of a page with their attributes, and the text inside styles and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {}
        self.open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open = tag

    def handle_data(self, data: str) -> None:
        if self.open in ("style", "script"):
            self.inside[self.open] = self.inside.get(self.open, "") + data

    def handle_endtag(self, tag: str) -> None:
        self.open = ""


def test_the_policy_names_the_style_and_the_script_that_stand_there() -> None:
    read, policy = Read(page().html), page().policy
    for tag in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(read.inside[tag].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy.split("; ")
        assert sum(name == tag for name, _ in read.tags) == 1
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["form-action"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert (rules["connect-src"], rules["img-src"]) == ("'self'", "'self' blob: data:")
    assert "unsafe" not in policy


def test_it_needs_nothing_from_elsewhere() -> None:
    read = Read(page().html)
    assert not re.findall(r"https?:|//[a-z]+\.|@import|url\(", page().html.replace("https://www.w3.org", ""))
    for tag, attributes in read.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
        for name in ("src", "href", "action", "srcset"):
            assert attributes.get(name) in (None, "data:,", "#list", "openapi.json")


def test_no_text_ever_becomes_html() -> None:
    script = Read(page().html).inside["script"]
    for way in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(", "createContextual"):
        assert way not in script
    for place in ("localStorage", "sessionStorage", "cookie", "indexedDB"):  # where a token could stay
        assert place not in script


def test_every_part_is_there_once_and_looks_like_the_report() -> None:
    read = Read(page().html)
    assert read.inside["style"].startswith(BASE)
    assert "/*" not in page().html.split("<style>")[0]
    assert len(set(SCRIPTS)) == len(SCRIPTS)
    labels = [attributes["for"] for tag, attributes in read.tags if tag == "label"]
    inputs = [attributes["id"] for tag, attributes in read.tags if tag == "input"]
    assert sorted(filter(None, labels)) == sorted(filter(None, inputs))


def test_the_service_gives_it_with_its_policy() -> None:
    with asking(service()) as client:
        found = client.get("/")
        assert (found.status_code, found.text) == (200, page().html)
        assert found.headers["content-type"] == "text/html; charset=utf-8"
        assert found.headers["content-security-policy"] == page().policy
        assert found.headers["x-frame-options"] == "DENY"
        assert client.head("/").status_code == 200
        assert client.post("/").status_code == 405
