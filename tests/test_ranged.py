"""A list that is too long to be held gives the rows that a short one gives, whatever its form, and holds none of them."""

import csv
import io
import json
import pickle
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from cli_samples import Place
from dataset_samples import read
from extract_samples import write_picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.core.cache.errors import DataInvalid, DataNotFound, HeadstartError
from headstart.core.extract import datasets
from headstart.core.extract.datasets import list as lists
from headstart.core.extract.images import Images
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.images.ranged import images as ranged_images
from headstart.core.extract.images.ranged import index, tables
from headstart.core.extract.images.ranged.images import RangedImages
from headstart.core.extract.pictures import thumbnails
from headstart.core.extract.pictures.preprocess import Preprocessing

NOWHERE = Path("unused")
Line = tuple[str, str, str, str]
HEADER = ("path", "label", "split", "group")
FORMS = ("all.csv", "semicolons.csv", "all.tsv", "all.jsonl", "all.parquet")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every list of two lines is long, and has blocks of three rows."""
    monkeypatch.setattr(lists, "LEAST_ROWS", 0)
    monkeypatch.setattr(tables, "BLOCK", 3)
    monkeypatch.setattr(ranged_images, "KEPT_ROWS", 7)


def write(folder: Path, form: str, rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> Path:
    """A list in one of the forms."""
    path = folder / form
    if form.endswith(".parquet"):
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        columns = {name: [row[place] for row in rows] for place, name in enumerate(header)}
        parquet.write_table(arrow.table(columns), path, row_group_size=3)
    elif form.endswith(".jsonl"):
        path.write_text("".join(json.dumps(dict(zip(header, row, strict=True))) + "\n\n" for row in rows))
    else:
        text = io.StringIO()
        delimiter = {"all.tsv": "\t", "semicolons.csv": ";"}.get(form, ",")
        csv.writer(text, delimiter=delimiter).writerows([header, *rows])
        path.write_bytes(b"\xef\xbb\xbf" + text.getvalue().encode())
    return path


def both(path: Path, split: str) -> tuple[FileImages, RangedImages]:
    """The split as a short list has it, in the list's order, and as a long one has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "LEAST_ROWS", 10**9)
        held = datasets.open_split(f"list:{path}", split, NOWHERE)
    found = datasets.open_split(f"list:{path}", split, NOWHERE)
    assert isinstance(held, FileImages)
    assert isinstance(found, RangedImages)
    return held.in_order("unknown"), found


def opened(path: Path) -> list[Images]:
    """All splits of a list."""
    return [datasets.open_split(f"list:{path}", name, NOWHERE) for name in datasets.splits(f"list:{path}", None, NOWHERE)]


def facts(images: Images, start: int, stop: int) -> tuple[object, ...]:
    return images.ids(start, stop), images.labels(start, stop).tolist()


# ---- the same rows


NAMES = st.text("ab é\"',;\n", min_size=1, max_size=6).filter(lambda text: text.strip())
LINES = st.lists(
    st.tuples(
        st.sampled_from(["", "x/", "x/y/", "../beside/", "./", "x//"]),
        st.sampled_from(["a", " a", "b", "", "3", "-1", "2.0"]),
        st.sampled_from(["train", "test", "Testing"]),
        st.sampled_from(["", "g", "h"]),
    ),
    min_size=1,
    max_size=20,
)


@pytest.mark.usefixtures("small")
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES, form=st.sampled_from(FORMS), split=st.booleans(), at=st.tuples(st.integers(0, 20), st.integers(0, 20)))
def test_every_range_is_that_of_a_list_that_is_held(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Line], form: str, split: bool, at: tuple[int, int]
) -> None:
    folder = tmp_path_factory.mktemp("list") / "own"
    (folder / "x/y").mkdir(parents=True)
    (folder.parent / "beside").mkdir()
    rows = [
        (f'{where}{number} "é",;\n.png', label, kind, group) for number, (where, label, kind, group) in enumerate(lines)
    ]
    header = HEADER if split else ("path", "label", "more", "group")
    for row in rows:
        (folder / row[0]).touch()
    path = write(folder, form, rows, header)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lists, "LEAST_ROWS", 10**9)
            names = datasets.splits(f"list:{path}", None, NOWHERE)
            for name in names:
                datasets.open_split(f"list:{path}", name, NOWHERE)
    except HeadstartError as error:  # a test split with classes of its own, say
        with pytest.raises(type(error)):
            opened(path)
        return
    assert datasets.splits(f"list:{path}", None, NOWHERE) == names
    for name in names:
        held, found = both(path, name)
        assert (found.rows, found.classes, found.name, found.source) == (held.rows, held.classes, held.name, held.source)
        start, stop = sorted(min(place, found.rows) for place in at)
        assert facts(found, 0, found.rows) == facts(held, 0, held.rows)
        assert facts(found, start, stop) == facts(held, start, stop)
        assert found.facts(start, stop).tolist() == held.facts(start, stop).tolist()
        assert found.stat(start, stop) == held.stat(start, stop)
        assert held.remarks[0] in found.remarks


def pictures(folder: Path, count: int = 8) -> list[tuple[str, str]]:
    for number in range(count):
        write_picture(folder / "in" / f"{number}.png", number)
    return [(f"in/{number}.png", "ab"[number % 2]) for number in range(count)]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("form", FORMS)
def test_pictures_are_those_of_the_rows(tmp_path: Path, form: str) -> None:
    held, found = both(write(tmp_path, form, pictures(tmp_path), ("path", "label")), "all")
    for one, other in ((held, found), (found, held)):
        ours, theirs = read(one, 2, 7), read(other, 2, 7)
        assert (ours.start, ours.rows.tolist(), ours.fingerprints) == (2, [2, 3, 4, 5, 6], theirs.fingerprints)
        assert ours.pixels.tolist() == theirs.pixels.tolist()
    assert found.fingerprints(0, 8) == held.fingerprints(0, 8)
    ours, theirs = (one.pick([7, 0, 3], Preprocessing(16), 2) for one in (found, held))
    assert (ours.rows.tolist(), ours.fingerprints) == ([0, 1, 2], theirs.fingerprints)
    assert ours.pixels.tolist() == theirs.pixels.tolist()
    assert pickle.loads(pickle.dumps(found)).ids(6, 8) == held.ids(6, 8)
    assert not found.may_be_equal().any()
    assert found.in_order("stratified") is found


@pytest.mark.usefixtures("small")
def test_what_cant_be_read_is_named_by_its_row(tmp_path: Path) -> None:
    path = write(tmp_path, "all.csv", pictures(tmp_path), ("path", "label"))
    found = datasets.open_split(f"list:{path}", "all", NOWHERE)
    (tmp_path / "in/5.png").write_bytes(b"no picture")
    (tmp_path / "in/6.png").unlink()
    skipped = found.read(4, 8, Preprocessing(16), 2).skipped
    assert [(image.row, image.id) for image in skipped] == [(5, "in/5.png"), (6, "in/6.png")]
    assert [image.row for image in found.pick([6, 1], Preprocessing(16), 2).skipped] == [0]
    with pytest.raises(HeadstartError, match="row 9 is not there"):
        thumbnails.own(found, 9)
    assert thumbnails.own(found, 3).size == (24, 16)


# ---- what is said


@pytest.mark.usefixtures("small")
def test_what_is_not_done_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, "all.csv", [("no/1.png", "a"), ("no/1.png", "b"), ("no/2.png", "")], ("path", "label"))
    found = datasets.open_split(f"list:{path}", "all", NOWHERE)
    said = "; ".join(found.remarks)
    assert "3 pictures of 2 classes" in said
    assert "1 of 3 pictures has no label" in said
    assert "they stay in its own order" in said
    assert "a picture that is listed twice is two rows; files are looked for when they are read" in said
    assert (found.order, found.rows) == ("unknown", 3)


def test_a_list_of_a_million_rows_is_held(tmp_path: Path) -> None:
    path = write(tmp_path, "all.csv", pictures(tmp_path), ("path", "label"))
    assert isinstance(datasets.open_split(f"list:{path}", "all", NOWHERE), FileImages)
    assert not tables.is_longer(path, 9)
    assert tables.is_longer(path, 8)  # the header is a line
    assert lists.LEAST_ROWS == 1_000_000


REFUSED = {
    "no path": ("path,label\na.png,a\nb.png,a\n,a\n", r"all\.csv, line 4: has no path"),
    "too few cells": ("path,label\na.png,a\nb.png,a\nc.png,a\nd.png\n", r"all\.csv, line 5: 1 cells, expected 2"),
    "a quotation mark": ('path,label\na.png,a\n"b.png,a\n', r"all\.csv, line 3: unexpected end of data"),
    "a word that is no split": ("path,split\na.png,train\nb.png,nowhere\n", r"all\.csv, line 3: the split is 'nowhere'"),
    "no column of paths": ("name,label\na.png,a\nb.png,a\n", r"all\.csv: has no column of paths"),
    "classes of the test rows alone": (
        "path,label,split\na.png,a,train\nb.png,b,test\n",
        "the test split has the classes b,",
    ),
    "an address": ("path,label\na.png,a\nhttps://x/b.png,a\n", r"all\.csv, line 3: https://x/b.png is an address"),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_amiss_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "all.csv"
    path.write_text(text)
    with pytest.raises(DataInvalid, match=said):
        opened(path)


@pytest.mark.usefixtures("small")
def test_more_of_what_is_amiss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "all.jsonl"
    path.write_text('{"path": "a.png"}\n{"path": "b.png"}\n[1]\n')
    with pytest.raises(DataInvalid, match=r"all\.jsonl, line 3: a list, expected an object"):
        datasets.splits(f"list:{path}", None, NOWHERE)
    path = tmp_path / "all.csv"
    path.write_text("path,label\n\n\n")
    with pytest.raises(DataNotFound, match=r"all\.csv: lists no pictures"):
        datasets.splits(f"list:{path}", None, NOWHERE)
    path.write_bytes(b"path,label\na.png,a\n\xff.png,a\n")
    with pytest.raises(DataInvalid, match="is no UTF-8; save the list as UTF-8"):
        datasets.splits(f"list:{path}", None, NOWHERE)
    monkeypatch.setattr(index, "MOST_LABELS", 2)
    path.write_text("path,label\n" + "".join(f"{number}.png,{number}\n" for number in range(3)))
    with pytest.raises(DataInvalid, match="more than 2 different labels; say which column has them"):
        datasets.splits(f"list:{path}", None, NOWHERE)


@pytest.mark.usefixtures("small")
def test_a_list_that_changes_while_it_is_read_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, "all.csv", pictures(tmp_path), ("path", "label"))
    found = datasets.open_split(f"list:{path}", "all", NOWHERE)
    text = path.read_text(encoding="utf-8-sig")
    for changed in (text[:-20], text.replace("in/7.png,b", "in/7.png,a"), text[:40]):
        path.write_text(changed)
        with pytest.raises(DataInvalid, match=r"all\.csv: changed while it was read; run the command again$"):
            found.ids(7, 8)


def test_a_long_list_of_addresses_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "LEAST_ROWS", 1)
    path = tmp_path / "all.csv"
    path.write_text("path,label\n" + "".join(f"s3://bucket/{i}.jpg,a\n" for i in range(3)))
    with pytest.raises(DataInvalid, match=r"s3://bucket/0\.jpg is in an object store.*divide it into lists of fewer rows"):
        datasets.open_split(f"list:{path}", "all", NOWHERE)


# ---- memory, and the command


def test_no_row_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "LEAST_ROWS", 0)
    monkeypatch.setattr(tables, "BLOCK", 256)
    path, rows = tmp_path / "all.csv", 20_000
    path.write_text("path,label\n" + "".join(f"class{i % 9}/{i:08d}.jpg,class{i % 9}\n" for i in range(rows)))
    tracemalloc.start()
    found = datasets.open_split(f"list:{path}", "all", NOWHERE)
    _, most = tracemalloc.get_traced_memory()
    found.ids(14_000, 14_100)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.rows == rows
    assert most < 40 * rows  # a block while it is read; 575 bytes a row where all are held
    assert kept < 40 * rows


@pytest.mark.usefixtures("small")
def test_extract_and_train_take_a_long_list(tmp_path: Path) -> None:
    here = Place(tmp_path)
    path = write(tmp_path, "pets.csv", pictures(tmp_path), ("path", "label"))
    words = ("-m", "resnet18", "--weights", "random:0", "--image-size", "32")
    made = here.run("extract", *words, "--dataset", f"list:{path}", "--shard-rows", "3")
    assert "resnet18 list-pets all: 8 x 512 float32" in made.stdout
    assert "they stay in its own order" in made.stderr
    again = here.run("extract", *words, "--dataset", f"list:{path}", "--shard-rows", "3")
    assert "already there" in again.stdout
    path.write_text(path.read_text(encoding="utf-8-sig").replace("in/7.png,b", "in/7.png,a"))
    assert "8 kept, 0 computed, 1 label changed" in here.run("extract", *words, "--dataset", f"list:{path}").stdout
