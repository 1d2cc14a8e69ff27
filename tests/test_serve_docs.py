"""What docs/serve.md shows is true: its commands parse, its programs run against a service, its answers look so."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cli_samples import parse
from extract_samples import ROOT
from serve_samples import asking, png, service, serving
from serve_samples import shop as shop
from test_readme import lines_to_type

from headstart.serve.settings import Limits
from headstart.serve.web.problems import STATUSES

TEXT = (ROOT / "docs/serve.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("line", [line for line in lines_to_type(TEXT) if line.startswith("headstart")])
def test_a_command_parses(line: str) -> None:
    parse(line)


def test_the_units_command_parses() -> None:
    (unit,) = blocks("ini")
    (line,) = re.findall(r"ExecStart=\S*/(headstart .*)", unit)
    parse(line)
    parse("headstart serve --allow-host pictures.example.org")


def test_the_programs_run_as_they_are_shown(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    for name, content in (("a.png", png()), ("b.png", b"no picture")):
        (tmp_path / "new" / name).write_bytes(content)
    (tmp_path / "rex.jpg").write_bytes(png())
    (program,) = [block for block in blocks("python") if "urllib" in block]
    (curl,) = blocks("sh")
    with serving(shop) as found:
        here = program.replace("http://127.0.0.1:8000", found.url)
        said = subprocess.run([sys.executable, "-c", here], cwd=tmp_path, capture_output=True, text=True, check=True)
        call = shlex.split(curl.replace("http://127.0.0.1:8000", found.url))
        told = subprocess.run([*call, "-s"], cwd=tmp_path, capture_output=True, text=True, check=True)
    first, second = said.stdout.splitlines()
    assert re.match(r"a.png \[\{'label': '\d', 'share': 0\.\d+\}\]", first)
    assert second.startswith("b.png {'type': 'about:blank', 'title': 'Unprocessable")
    assert len(json.loads(told.stdout)["pictures"][0]["heads"][0]["labels"]) == 2


def test_the_answer_that_is_shown_has_the_fields_of_a_real_one() -> None:
    (shown,) = blocks("json")
    with asking(service()) as client:
        real = client.post("/v1/predict?topk=2", content=png(), headers={"content-type": "image/png"}).json()
    assert shape(json.loads(shown)) == shape(real)


def shape(value: object) -> object:
    """The names in a JSON value, in lists those of the first element."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(inner) for inner in value[:1] if isinstance(inner, dict)] if isinstance(value, list) else None


def test_the_application_is_made_as_it_is_shown(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    (program,) = [block for block in blocks("python") if "create" in block]
    found: dict[str, object] = {}
    exec(program, found)
    assert callable(found["app"])


def test_every_status_and_path_is_named() -> None:
    table = TEXT[TEXT.index("## When something") :]
    lines = [line.split("|")[1] for line in table.splitlines() if line.startswith(("| 4", "| 5"))]
    assert {int(number) for line in lines for number in re.findall(r"\d{3}", line)} == set(STATUSES)
    limits = Limits()
    assert f"headers took {limits.header_s:g} s" in TEXT
    assert f"or {limits.connections} connections are open" in TEXT
    for route in service().routes:
        assert route.path in TEXT
