"""Heads exported as files: held against `predict` before they are written, run again later, and by nothing of ours."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from api_samples import coloured
from cli_samples import Place
from extract_samples import encoded
from PIL import Image

from headstart.export.card.lines import onnx as onnx_lines
from headstart.export.files.facts import Facts

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = (ROOT / "docs/export.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A head on digits by an untrained ResNet18 at 32 px, and three pictures of odd sizes."""
    found = Place(tmp_path_factory.mktemp("export"))
    small = ("--image-size", "32", "--precision", "fp32", "--weights", "random:0")
    found.run("extract", "-m", "resnet18", *small, "--dataset", "digits", "--limit", "60")
    found.run("train-head", "--head", "logreg")
    (found.root / "photos").mkdir()
    for name, size, form in (("a.png", (5, 90), "PNG"), ("b.jpg", (200, 131), "JPEG"), ("c.png", (32, 32), "PNG")):
        (found.root / "photos" / name).write_bytes(encoded(coloured("red", len(name), size), form))
    return found


@pytest.fixture(scope="module")
def exported(place: Place) -> dict[str, Any]:
    """What `export` says in JSON of an ONNX file from pixels, checked on the pictures."""
    words = ("export", str(place.root / "model.onnx"), str(place.root / "photos"), "--limit", "40", "--json")
    found: dict[str, Any] = json.loads(place.run(*words).stdout.splitlines()[-1])
    return found


def facts_of(path: Path) -> Facts:
    model = onnx.load(path, load_external_data=False)
    return Facts.of_texts({one.key: one.value for one in model.metadata_props})


def test_a_file_gives_what_predict_gives(place: Place, exported: dict[str, Any]) -> None:
    checked = exported["checked"]
    assert checked["pictures"] == 4 + 3
    assert checked["beside_predict_in_fp32"]["largest"] <= 1e-4
    assert checked["beside_predict_in_fp32"]["same_labels"] == 7
    assert checked["on_rows"]["rows"] == 40
    assert checked["on_rows"]["right"] == checked["on_rows"]["right_by_predict"]
    assert checked["beside_own_precision"] is None  # it is fp32 itself


def test_a_file_says_what_it_is(place: Place, exported: dict[str, Any]) -> None:
    (run,) = (place.root / "runs").iterdir()
    record = json.loads((run / "run.json").read_text())
    facts = facts_of(place.root / "model.onnx")
    assert facts.head_sha256 == record["head_sha256"]
    assert facts.key["weights_sha256"] == record["key"]["weights_sha256"]
    assert facts.licence == exported["licence"] == "none: the weights are random numbers"
    assert (facts.input, facts.precision, facts.made_from) == ("pixels", "fp32", "generated pictures")
    assert facts.classes == tuple("0123456789")
    assert facts.measured["beside predict in fp32"]["pictures"] == 7
    assert facts.temperature > 0
    assert {Image.open(_file(one.content)).format for one in facts.pictures} == {"PNG", "JPEG"}


def _file(content: bytes) -> Any:
    import io

    return io.BytesIO(content)


def test_the_card_lies_beside_it(place: Place, exported: dict[str, Any]) -> None:
    assert exported["card"] == str(place.root / "model-card.md")
    assert "headstart export --check model.onnx" in (place.root / "model-card.md").read_text()


def test_it_is_run_again_from_the_file_alone_and_beside_its_head(place: Place, exported: dict[str, Any]) -> None:
    model = str(place.root / "model.onnx")
    said = place.run("export", "--check", model, "--runs-dir", str(place.root / "none")).stdout
    assert "4 test pictures in the file (generated pictures): largest difference of a probability" in said
    again = json.loads(place.run("export", "--check", model, str(place.root / "photos"), "--json").stdout.splitlines()[-1])
    assert (again["given"]["pictures"], again["given"]["same_labels"]) == (3, 3)
    assert again["given"]["largest"] <= 1e-4


def test_without_its_head_pictures_can_not_be_compared(place: Place, exported: dict[str, Any], tmp_path: Path) -> None:
    other = dataclasses.replace(place, root=tmp_path)
    words = ("export", "--check", str(place.root / "model.onnx"), str(place.root / "photos"))
    assert re.search(r"no run has the head that .*model\.onnx was made of .*--runs-dir", other.fails(*words))


def test_class_names_that_are_not_the_heads_are_refused(place: Place, exported: dict[str, Any]) -> None:
    altered = place.root / "altered.onnx"
    model = onnx.load(place.root / "model.onnx")
    (classes,) = (one for one in model.metadata_props if one.key == "classes")
    classes.value = classes.value.replace('"3"', '"three"')
    onnx.save(model, altered)
    said = place.fails("export", "--check", str(altered), str(place.root / "photos"))
    assert "altered.onnx: its class names are not those of resnet18-" in said


def test_a_file_may_come_without_a_run_whatever_its_suffix(place: Place, tmp_path: Path) -> None:
    (run,) = (place.root / "runs").iterdir()
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    place.run("export", str(first))
    said = place.run("export", str(run / "head.safetensors"), str(second)).stderr
    assert first.read_bytes() == second.read_bytes()
    assert "model-card.md: replaced by the card of second.safetensors; give each file a folder of its own" in said


def test_the_lines_of_the_documentation_run_without_anything_of_ours(
    place: Place, exported: dict[str, Any], tmp_path: Path
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    done = alone(block, tmp_path, str(place.root / "model.onnx"))
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["tall.png", "wide.png", "photograph.jpg", "tiny.png"]
    assert all(line.endswith("as expected") for line in lines)
    assert len(block.strip().splitlines()) <= 25


def test_the_lines_of_the_card_lay_what_is_transparent_on_white(
    place: Place, exported: dict[str, Any], tmp_path: Path
) -> None:
    shown = coloured("red", 0, (40, 40)).convert("RGBA")
    shown.putalpha(Image.linear_gradient("L").resize((40, 40)))
    shown.save(tmp_path / "clear.png")
    said = alone(onnx_lines(str(place.root / "model.onnx")), tmp_path, str(tmp_path / "clear.png")).stdout
    found = {name: float(share) for share, name in (line.split() for line in said.splitlines())}
    answer = place.run("predict", str(tmp_path / "clear.png"), "--topk", "5", "--format", "json").stdout
    assert found == pytest.approx(expected_of(json.loads(answer)), abs=2e-4)


def expected_of(answer: Any) -> dict[str, float]:
    """The shares by class that `predict` gives for the one picture."""
    ((_, labels),) = answer[0]["labels"].items()
    return dict(labels)


def test_each_picture_counts_once_in_the_progress(place: Place, tmp_path: Path) -> None:
    said = place.run("export", str(tmp_path / "model.onnx"), "--limit", "8", "--no-card").stderr
    assert said.count(": 8 images to do") == 2  # by predict, and by the file
    assert "16 images" not in said


@pytest.mark.parametrize("name", ["headstart", "torch", "onnx"])
def test_nothing_of_ours_is_there(name: str, tmp_path: Path) -> None:
    assert f"No module named '{name}'" in alone(f"import {name}", tmp_path, code=1).stderr


def alone(lines: str, folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run some lines in a Python that has ONNX Runtime, NumPy and Pillow and no other package.

    A virtual environment would be honest too, and take a minute: `-I -S` leaves out every folder of packages, and one of
    links to those three is put in their place.
    """
    links = folder / "packages"
    links.mkdir()
    for name in ("numpy", "PIL", "onnxruntime"):
        home = Path(str(__import__(name).__file__)).parent
        for one in (home, *home.parent.glob(f"{'pillow' if name == 'PIL' else name}.libs")):
            (links / one.name).symlink_to(one)
    start = f"import sys; sys.path.append({str(links)!r}); sys.dont_write_bytecode = True\n"
    command = [sys.executable, "-I", "-S", "-c", start + lines, *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    return done
