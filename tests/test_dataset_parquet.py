"""`parquet:GLOB`: what Hugging Face's files hold is read row by row, whatever their row groups, and faults are named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_samples import Sample, labelled, read, samples, write_parquet

from headstart.core.cache.errors import DataInvalid, DataNotFound
from headstart.core.cache.files import sha256
from headstart.core.extract import datasets
from headstart.core.extract.images import Images, tables
from headstart.core.extract.pictures.preprocess import Preprocessing

pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
NOWHERE = Path("unused")


def opened(path: Path | str, split: str = "all") -> Images:
    return datasets.open_split(f"parquet:{path}", split, NOWHERE)


def table(place: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), place)
    return place


CONTENTS = [one.content for one in samples(4, "a", "b")]


@pytest.mark.parametrize("group", [1, 3, 100])
def test_pictures_and_labels_are_read_whatever_the_row_groups(tmp_path: Path, group: int) -> None:
    given = samples(8, "cat", "dog")
    found = opened(write_parquet(tmp_path / "pets.parquet", given, ("dog", "cat"), group))
    assert (found.name, found.classes) == ("parquet-pets", ("dog", "cat"))  # the schema's order, not the alphabet's
    assert labelled(found) == {f"pets.parquet#{row}".encode(): str(one.label) for row, one in enumerate(given)}
    assert sorted(found.fingerprints(0, 8)) == sorted(sha256(one.content) for one in given)
    assert list(read(found).fingerprints) == found.fingerprints(0, 8)
    assert "pictures from the column image, labels from label" in found.remarks


def test_any_rows_are_picked_in_any_order(tmp_path: Path) -> None:
    found = opened(write_parquet(tmp_path / "a.parquet", samples(9, "a", "b", "c")))
    whole, some = read(found), found.pick([7, 0, 3], Preprocessing(16), 1)
    assert np.array_equal(some.pixels, whole.pixels[[7, 0, 3]])
    assert [some.fingerprints[n] for n in range(3)] == [whole.fingerprints[n] for n in (7, 0, 3)]


def test_no_more_pictures_are_held_than_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "AHEAD_BYTES", 1)
    monkeypatch.setattr(tables, "_ROWS", 2)
    given = samples(12, "a", "b")
    found = opened(write_parquet(tmp_path / "a.parquet", given, group=5))
    for start in range(0, 12, 3):
        assert list(read(found, start, start + 3).fingerprints) == found.fingerprints(start, start + 3)
    assert len(found.memory.rows) <= 3  # type: ignore[attr-defined]


def test_files_are_splits_by_their_names(tmp_path: Path) -> None:
    names = ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001", "validation-00000-of-00001")
    for number, name in enumerate(names):
        write_parquet(tmp_path / f"data/{name}.parquet", samples(4, "a", "b", seed=10 * number), ("a", "b"))
    spec = f"parquet:{tmp_path}/data/*.parquet"
    assert datasets.splits(spec, None, NOWHERE) == ("train", "val", "test")
    train, val, test = (datasets.open_split(spec, split, NOWHERE) for split in ("train", "val", "test"))
    assert (train.rows, val.rows, test.rows, val.name) == (8, 4, 4, "parquet-data")
    assert b"validation-00000-of-00001.parquet#0" in val.ids(0, 4)


def test_folders_of_a_hub_are_splits_too(tmp_path: Path) -> None:
    for number, name in enumerate(("train", "test")):
        write_parquet(tmp_path / "default" / name / "0000.parquet", samples(4, "a", "b", seed=10 * number))
    assert datasets.splits(f"parquet:{tmp_path}", None, NOWHERE) == ("train", "test")
    assert opened(tmp_path, "test").ids(0, 1)[0].startswith(b"default/test/0000.parquet#")


def test_a_file_that_is_in_no_split_beside_others_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", samples(2, "a", "b"))
    write_parquet(tmp_path / "more.parquet", samples(2, "a", "b"))
    with pytest.raises(DataInvalid, match="some of it is in the splits train, the rest in none"):
        datasets.splits(f"parquet:{tmp_path}", None, NOWHERE)
    write_parquet(tmp_path / "test_train.parquet", samples(2, "a", "b"))
    with pytest.raises(DataInvalid, match=r"test_train\.parquet: its name says test and train; name the file after one"):
        datasets.splits(f"parquet:{tmp_path}", None, NOWHERE)


# ---- columns


def test_plain_bytes_and_integers_without_names_are_read(tmp_path: Path) -> None:
    found = opened(table(tmp_path / "a.parquet", img=CONTENTS, target=[10, 9, None, -1]))
    assert found.classes == ("9", "10")
    assert sorted(labelled(found).values()) == ["", "", "10", "9"]
    assert read(found).skipped == []
    assert {"4 pictures of 2 classes", "2 of 4 pictures have no label"} <= set(found.remarks)


def test_floats_that_are_whole_are_integers_as_pandas_writes_them(tmp_path: Path) -> None:
    found = opened(table(tmp_path / "a.parquet", image=CONTENTS, label=[1.0, 2.0, float("nan"), 10.0]))
    assert found.classes == ("1", "2", "10")


def test_without_labels_it_is_an_unlabelled_set(tmp_path: Path) -> None:
    found = opened(table(tmp_path / "a.parquet", image=CONTENTS))
    assert set(labelled(found).values()) == {""}
    assert "no column of labels (label, class, target, category)" in found.remarks[1]


def test_of_several_columns_one_must_be_named(tmp_path: Path) -> None:
    path = table(
        tmp_path / "a.parquet", a=CONTENTS, b=CONTENTS[::-1], fine=list("wxyz"), target=list("aabb"), cls=list("bbaa")
    )
    with pytest.raises(DataInvalid, match=r"columns a, b all hold pictures .*; say which one is meant: .*a\.parquet#a'"):
        opened(path)
    with pytest.raises(DataInvalid, match=r"columns target, cls all hold labels; say which one is meant: .*#target'"):
        opened(f"{path}#a")
    found = opened(f"{path}#b,fine")
    assert set(found.classes) == set("wxyz")
    assert found.fingerprints(0, 1) == [sha256(CONTENTS[3 - int(found.ids(0, 1)[0].rpartition(b"#")[2])])]
    with pytest.raises(DataInvalid, match=r"has no column nope; there are a, b, fine, target, cls"):
        opened(f"{path}#nope")


def test_a_table_without_pictures_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(
        DataInvalid, match=r"no column of pictures, which are bytes or a struct with bytes; there are path, l"
    ):
        opened(table(tmp_path / "a.parquet", path=["1.png"], label=["a"]))


def test_two_orders_of_class_names_are_two_data_sets(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-0.parquet", samples(2, "a", "b"), ("a", "b"))
    write_parquet(tmp_path / "train-1.parquet", samples(2, "a", "b"), ("b", "a"))
    with pytest.raises(
        DataInvalid, match=r"train-1\.parquet: its schema names other classes than that of .*train-0\.parquet"
    ):
        opened(tmp_path)


def test_labels_beyond_the_class_names_are_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", samples(4, "a", "b"), ("a", "b"))
    found = pq.read_table(path)
    pq.write_table(found.set_column(1, "label", pa.array([0, 1, 2, 0])), path)
    schema = pq.read_schema(path)
    assert schema.metadata is not None
    with pytest.raises(DataInvalid, match=r"a\.parquet: row 2 has the label 2, expected 0 to 1"):
        opened(path)


@pytest.mark.parametrize("label", [[[1, 2]] * 4, [True] * 4, [0.5] * 4])
def test_what_can_be_no_label_is_named(tmp_path: Path, label: list[object]) -> None:
    with pytest.raises(DataInvalid, match=r"the label of row 0 in the column label is a \w+, expected text or an integer"):
        opened(table(tmp_path / "a.parquet", image=CONTENTS, label=label))


# ---- damage


def test_rows_without_bytes_are_left_out_with_the_reason(tmp_path: Path) -> None:
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [
        {"bytes": CONTENTS[0], "path": None},
        {"bytes": None, "path": "/far/1.png"},
        None,
        {"bytes": b"x", "path": None},
    ]
    found = opened(table(tmp_path / "a.parquet", image=pa.array(rows, struct), label=list("abab")))
    reasons = {image.id: image.reason for image in read(found).skipped}
    assert reasons.keys() == {"a.parquet#1", "a.parquet#2", "a.parquet#3"}
    assert reasons["a.parquet#1"] == "the row has no bytes, only the path /far/1.png"
    assert reasons["a.parquet#2"] == "the row has no picture"
    assert "can't be decoded" in reasons["a.parquet#3"]


@pytest.mark.parametrize("content", [b"", b"no Parquet", b"PAR1" + bytes(40) + b"PAR1"])
def test_what_is_no_parquet_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataInvalid, match=r"a\.parquet: (no whole Parquet file|can't be read) \("):
        opened(tmp_path / "a.parquet")


def test_a_damaged_page_costs_the_rows_that_it_holds(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", samples(6, "a", "b"), group=3)
    content = bytearray(path.read_bytes())
    content[10:60] = bytes(50)
    path.write_bytes(content)
    batch = read(opened(path))
    assert {image.id for image in batch.skipped} >= {"a.parquet#0", "a.parquet#1", "a.parquet#2"}
    assert len(batch.fingerprints) == 6
    assert all("can't be read" in image.reason or "can't be decoded" in image.reason for image in batch.skipped)


def test_a_file_that_changes_while_it_is_read_gives_no_picture(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", samples(4, "a", "b"))
    found = opened(path)
    write_parquet(path, [Sample("x", CONTENTS[0], "a"), *samples(3, "a", "b", seed=50)])
    assert {image.reason for image in read(found).skipped} == {"can't be read: the file changed while it was read"}


def test_no_file_and_no_rows_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match=rf"no such file; {tmp_path} has no \.parquet"):
        datasets.splits(f"parquet:{tmp_path}/*.parquet", None, NOWHERE)
    with pytest.raises(DataNotFound, match=r"no rows in a\.parquet"):
        opened(write_parquet(tmp_path / "a.parquet", []))
