"""The benchmark of views: the same pictures with and without, each kind by itself, and a table of the differences."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from heads_samples import make_key, overlapping, write_set
from heads_samples import one_thread as one_thread

from headstart.core.cache.store import FeatureStore

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import views as bench


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixty training and forty test rows with three views of two kinds."""
    store = FeatureStore(tmp_path / "features")
    for view in ("", "flip", "crop 0.8 seed=0 number=1", "crop 0.8 seed=0 number=2"):
        for split, rows in (("train", overlapping(60, 3, 0)), ("test", overlapping(40, 3, 1))):
            moved = dataclasses.replace(rows, features=rows.features + np.float32(len(view) / 50))
            write_set(store, moved, split, make_key(view=view))
    return next(path for path in store.root.glob("pets-train-*") if not store.get(path.name).manifest.key.view)


def test_views_are_told_apart_by_kind() -> None:
    assert bench.kinds_of(("crop a", "crop b", "flip")) == {"none": (), "crop": (0, 1), "flip": (2,), "all": (0, 1, 2)}
    assert bench.kinds_of(("flip",)) == {"none": (), "flip": (0,)}


@pytest.mark.parametrize(("size", "rows", "draws"), [(300, 24_000, 10), (3_000, 24_000, 3), (24_000, 24_000, 1)])
def test_few_rows_are_drawn_more_often(size: int, rows: int, draws: int) -> None:
    assert bench.draws_of(size, rows) == draws


def test_the_table_tells_what_was_measured(folder: Path, tmp_path: Path) -> None:
    document, file = tmp_path / "heads.md", tmp_path / "views.json"
    document.write_text("before\n<!-- table: views -->\n<!-- end -->\nafter\n")
    words = [str(folder), "--size", "60", "--head", "logreg", "--json", str(file), "--into", str(document)]
    found = CliRunner().invoke(bench.main, words)
    assert found.exit_code == 0, found.output
    cells = json.loads(file.read_text())["cells"]
    assert [(cell["kind"], cell["views"]) for cell in cells] == [("none", 0), ("crop", 2), ("flip", 1), ("all", 3)]
    assert [cell["turns"][0]["averaged"] is None for cell in cells] == [True, False, False, False]
    text = document.read_text()
    before, after = (cells[i]["turns"][0]["accuracy"] for i in (0, 2))
    line = next(line for line in text.splitlines() if "| 1 flip |" in line)
    assert line.startswith(f"| resnet50 | 60 | 1 | logreg | 1 flip | {before:.2%} | {after:.2%} | ")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "40 test images." in text


def test_a_gain_is_told_with_its_standard_error() -> None:
    assert bench.gain([0.5], [0.51]) == "+1.00"
    assert bench.gain([0.5, 0.5], [0.51, 0.53]) == "+2.00 ± 1.00"


def test_sets_without_views_are_refused_in_a_line(folder: Path, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "others")
    made = write_set(store, overlapping(60, 3, 0), "train")
    said = CliRunner().invoke(bench.main, [str(made.folder), "--json", str(tmp_path / "x.json")])
    assert said.exit_code == 1
    assert "has no test set beside it" in said.output
    write_set(store, overlapping(40, 3, 1), "test")
    said = CliRunner().invoke(bench.main, [str(made.folder), "--json", str(tmp_path / "x.json")])
    assert "no view of its pictures is kept" in said.output
    said = CliRunner().invoke(bench.main, [str(folder), "--size", "61", "--json", str(tmp_path / "x.json")])
    assert "no set has 61 training rows" in said.output
