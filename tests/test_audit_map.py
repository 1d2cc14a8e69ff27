"""`audit --parquet`: all pictures as a map, and how they are laid out."""

import sys
from pathlib import Path

import numpy as np
import pytest
from cli_samples import Place
from heads_samples import blobs
from test_auditing import place as place

from headstart.auditing.files.map import COLUMNS, NEIGHBOURS, check_map
from headstart.core.cache.errors import ArgumentInvalid, DataNotFound
from headstart.core.heads.statistics import layout as layouts
from headstart.core.heads.statistics.layout import layout

parquet = pytest.importorskip("pyarrow.parquet")


def test_a_line_for_each_picture_says_what_was_found(place: Place) -> None:
    path = place.root / "maps" / "pets.parquet"
    said = place.run("audit", "-m", "resnet18", "--parquet", str(path)).stderr
    assert f"{path}: 80 pictures, laid out by t-SNE" in said
    table = parquet.read_table(path)
    assert tuple(table.column_names) == COLUMNS
    rows = table.to_pylist()
    assert len(rows) == 80
    wrong, leak = (next(row for row in rows if row["id"] == name) for name in ("green/wrong.png", "blue/leak.png"))
    assert (wrong["split"], wrong["label"], wrong["proposed"]) == ("train", "green", "red")
    assert "wrong label" in wrong["kinds"].split("; ")
    assert wrong["confidence"] < 0.5
    training = [row for row in rows if row["split"] == "train"]
    copies = [row["kinds"] for row in training if row["id"] in ("red/p1.png", "red/copy.png")]
    assert sorted(copies) == ["", "duplicate"]  # all but the first of them, as in the CSV
    assert (leak["split"], "leak" in leak["kinds"].split("; ")) == ("test", True)
    assert all(np.isfinite([row["x"], row["y"]]).all() for row in rows)


def test_neighbours_are_numbers_of_lines_the_nearest_first(place: Place) -> None:
    path = place.root / "maps" / "near.parquet"
    place.run("audit", "-m", "resnet18", "--parquet", str(path))
    rows = parquet.read_table(path).to_pylist()
    for number, row in enumerate(rows):
        ids, distances = row["neighbors"]["ids"], row["neighbors"]["distances"]
        assert len(ids) == len(distances) == NEIGHBOURS
        assert number not in ids
        assert distances == sorted(distances)
    copy = next(row for row in rows if row["id"] == "red/copy.png")
    assert rows[copy["neighbors"]["ids"][0]]["id"] == "red/p1.png"
    assert copy["neighbors"]["distances"][0] == pytest.approx(0, abs=1e-6)


def test_a_file_that_can_not_be_written_is_refused_before(place: Place, tmp_path: Path) -> None:
    assert "--parquet a.csv: expected a file that ends in .parquet" in place.fails("audit", "--parquet", "a.csv")
    (tmp_path / "d.parquet").mkdir()
    line = place.fails("audit", "--parquet", str(tmp_path / "d.parquet"))
    assert "is a folder, expected a file; give the file's name too: --parquet FILE.parquet" in line
    with pytest.raises(ArgumentInvalid, match=r"--parquet a: expected a file that ends in \.parquet"):
        check_map(Path("a"))


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DataNotFound, match=r"pip install 'headstart\[parquet\]'"):
        check_map(tmp_path / "a.parquet")


def test_classes_lie_apart_and_the_same_rows_give_the_same_points() -> None:
    data = blobs(90)
    found = layout(data.features)
    assert found.method == "t-SNE"
    assert np.array_equal(found.points, layout(data.features).points)
    centres = np.stack([found.points[data.labels == label].mean(axis=0) for label in range(3)])
    nearest = ((found.points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == data.labels).mean() > 0.9


def test_of_many_rows_some_are_laid_out_and_the_others_put_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "MOST", 60)
    data = blobs(300)
    found = layout(data.features)
    assert found.method == "t-SNE of 60 of them, each other one at the mean place of its 3 nearest of these"
    centres = np.stack([found.points[data.labels == label].mean(axis=0) for label in range(3)])
    nearest = ((found.points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == data.labels).mean() > 0.9


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_few_rows_lie_on_their_principal_axes(rows: int) -> None:
    found = layout(blobs(rows).features)
    assert (found.points.shape, found.method) == ((rows, 2), "principal axes")
    assert np.isfinite(found.points).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_rows_that_never_vary_lie_at_one_place(value: float) -> None:
    found = layout(np.full((20, 6), value, dtype=np.float32))
    assert not found.points.any()
