"""`list:FILE`: every way of writing one gives the same rows, and what is amiss is named with its line."""

import json
import os
from pathlib import Path

import pytest
from dataset_samples import labelled, read, samples, write_csv, write_folder, write_list, write_parquet
from extract_samples import write_picture

from headstart.core.cache.errors import DataInvalid, DataNotFound
from headstart.core.extract import datasets
from headstart.core.extract.config import ExtractConfig, ExtractionRequest
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.plan import opened

NOWHERE = Path("unused")
ROWS = (("pictures/a/1.png", "a"), ("pictures/b/2.png", "b"), ("pictures/b/3.png", "b"))
EXPECTED = {path.encode(): label for path, label in ROWS}


def given(top: Path, *rows: tuple[str, ...], header: tuple[str, ...] = ("path", "label"), name: str = "all.csv") -> Path:
    """A list of pictures that are there."""
    for seed, row in enumerate(rows):
        if "://" not in row[0] and row[0]:
            write_picture(top / row[0], seed)
    return write_csv(top / name, header, *rows)


def opened_list(path: Path | str, split: str = "all") -> FileImages:
    found = datasets.open_split(f"list:{path}", split, NOWHERE)
    assert isinstance(found, FileImages)
    return found


# ---- ways of writing it


@pytest.mark.parametrize(
    "header",
    [("path", "label"), ("File", "CLASS"), ("filename", "target"), ("file_name", "category"), ("Image Path", "Label")],
)
def test_columns_are_found_by_their_usual_names(tmp_path: Path, header: tuple[str, ...]) -> None:
    found = opened_list(given(tmp_path, *ROWS, header=header))
    assert (labelled(found), found.classes, found.name) == (EXPECTED, ("a", "b"), "list-all")
    assert read(found).skipped == []
    said = " ".join(found.remarks)
    assert (f"path from the column {header[0]}" in said) == (header[0] != "path")


@pytest.mark.parametrize("name", ["all.tsv", "all.CSV", "semicolons.csv", "all.jsonl", "all.parquet", "bom.csv"])
def test_every_form_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    path = given(tmp_path, *ROWS).rename(tmp_path / name)
    if name.endswith(".tsv"):
        write_csv(path, ("path", "label"), *ROWS, delimiter="\t")
    elif name == "semicolons.csv":
        write_csv(path, ("path", "label"), *ROWS, delimiter=";")
    elif name == "bom.csv":
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    elif name.endswith(".jsonl"):
        path.write_text("\n".join(json.dumps({"path": one, "label": label}) for one, label in ROWS) + "\n\n")
    elif name.endswith(".parquet"):
        parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
        arrow = pytest.importorskip("pyarrow")
        paths, labels = zip(*ROWS, strict=True)
        parquet.write_table(arrow.table({"path": paths, "label": labels, "size": [1.0, None, 2.5]}), path)
    assert labelled(opened_list(path)) == EXPECTED


def test_names_with_commas_quotes_and_line_breaks_are_kept(tmp_path: Path) -> None:
    names = ("a, b.png", 'say "a".png', "two\nlines.png", " a .png")
    found = opened_list(given(tmp_path, *((name, "x") for name in names)))
    assert set(found.paths) == set(names)
    assert read(found).skipped == []


def test_integers_are_classes_in_their_order_and_gaps_are_unlabelled(tmp_path: Path) -> None:
    rows = tuple((f"{number}.png", label) for number, label in enumerate(("10.0", "9.0", "-1", "", "100.0")))
    found = opened_list(given(tmp_path, *rows))
    assert found.classes == ("9", "10", "100")
    assert labelled(found) == {b"0.png": "10", b"1.png": "9", b"2.png": "", b"3.png": "", b"4.png": "100"}
    assert "2 of 5 pictures have no label" in found.remarks


def test_a_list_without_labels_is_an_unlabelled_set(tmp_path: Path) -> None:
    found = opened_list(given(tmp_path, ("1.png",), ("2.png",), header=("path",)))
    assert (found.classes, set(found.targets)) == ((), {-1})
    assert "without labels" in found.remarks[0]
    assert "no column of labels (label, class, target, category)" in found.remarks[1]


@pytest.mark.parametrize(("asked", "expected"), [("fine", "rose"), ("coarse", "flower"), ("path,fine", "rose")])
def test_columns_can_be_named_after_the_file(tmp_path: Path, asked: str, expected: str) -> None:
    path = given(tmp_path, ("1.png", "rose", "flower"), header=("path", "fine", "coarse"))
    assert labelled(opened_list(f"{path}#{asked}")) == {b"1.png": expected}


# ---- splits and groups


def test_a_column_of_splits_divides_it(tmp_path: Path) -> None:
    rows = (("1.png", "a", "Train"), ("2.png", "b", "training"), ("3.png", "b", "TEST"), ("4.png", "c", "valid"))
    path = given(tmp_path, *rows, header=("path", "label", "split"))
    assert datasets.splits(f"list:{path}", None, NOWHERE) == ("train", "val", "test")
    train, val, test = (opened_list(path, split) for split in ("train", "val", "test"))
    assert labelled(train) == {b"1.png": "a", b"2.png": "b"}
    assert labelled(val) == {b"4.png": "c"}
    assert labelled(test) == {b"3.png": "b"}
    assert train.classes == val.classes == test.classes == ("a", "b", "c")


def test_rows_stay_grouped_by_what_their_ids_end_in(tmp_path: Path) -> None:
    rows = (("1.png", "a", "rex"), ("2.png", "b", ""), ("3.png", "b", "tim"))
    found = opened_list(given(tmp_path, *rows, header=("path", "label", "group")))
    assert set(found.ids(0, 3)) == {b"1.png#group=rex", b"2.png#group=", b"3.png#group=tim"}
    assert set(found.in_order("unknown").ids(0, 3)) == set(found.ids(0, 3))
    assert read(found).skipped == []


# ---- where the pictures are


def test_pictures_outside_are_named_from_the_folder_that_holds_all(tmp_path: Path) -> None:
    for seed, name in enumerate(("far/a/1.png", "far/b/2.png")):
        write_picture(tmp_path / "secret" / name, seed)
    for spelled in (str(tmp_path / "secret/far"), "../secret/far"):
        path = write_csv(
            tmp_path / "lists/all.csv", ("path", "label"), (f"{spelled}/a/1.png", "a"), (f"{spelled}/b/2.png", "b")
        )
        found = opened_list(path)
        assert labelled(found) == {b"a/1.png": "a", b"b/2.png": "b"}
        assert read(found).skipped == []
        assert found.source == str(tmp_path / "secret/far")
        assert any(f"ids are their paths below {tmp_path}/secret/far" in remark for remark in found.remarks)


def test_two_dots_after_a_link_lead_where_the_system_goes(tmp_path: Path) -> None:
    write_picture(tmp_path / "real/deep/1.png")
    write_picture(tmp_path / "real/2.png", 1)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/link").symlink_to(tmp_path / "real/deep")
    found = opened_list(
        write_csv(tmp_path / "lists/all.csv", ("path", "label"), ("link/../2.png", "a"), ("link/1.png", "b"))
    )
    assert read(found).skipped == []
    assert set(found.ids(0, 2)) == {b"real/2.png", b"lists/link/1.png"}


def test_a_missing_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = given(tmp_path, *ROWS)
    (tmp_path / "pictures/b/2.png").unlink()
    request = ExtractionRequest(dataset=f"list:{path}")
    with pytest.raises(
        DataInvalid, match=r"all\.csv, line 3: .*/pictures/b/2\.png: no such file; mend the list, or --on-er"
    ):
        opened(request, NOWHERE)
    (images,) = opened(ExtractionRequest(dataset=f"list:{path}", config=ExtractConfig(on_error="skip")), NOWHERE)
    batch = read(images)
    assert [(image.id, image.reason) for image in batch.skipped] == [
        ("pictures/b/2.png", "can't be opened: No such file or directory")
    ]


def test_where_none_is_there_the_folder_is_told(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "all.csv", ("path", "label"), ("x\\1.png", "a"), ("x\\2.png", "b"))
    message = (
        rf"line 2: .*: no such file, which has a backslash: write / instead \(2 of 2 pictures are not there\); .*{tmp_path}"
    )
    with pytest.raises(DataNotFound, match=message):
        opened_list(path)


# ---- what is amiss


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\n1.png\n", r"line 2: 1 cells, expected 2 as in the first line \(path, label\)"),
        ("path,label\n1.png,a\n\n,b\n", r"line 4: has no path"),
        ('path,label\n"1.png,a\n2.png,b\n', r"line 3: unexpected end of data; a quotation mark may be missing"),
        ("a,b\n1.png,a\n", r"has no column of paths \(path, file, filename, file_name, …\); there are a, b"),
        ("path,split\n1.png,other\n", r"line 2: the split is 'other', expected train, val or test"),
        ("path,label\nhttps://x.org/1.png,a\n", r"line 2: https://x\.org/1\.png is an address; download"),
        ("path,label\n1.png,a\n./1.png,b\n", r"line 3: 1\.png has the label b, on line 2 it is a; a picture has one"),
        ("path,label,split\n1.png,a,train\n1.png,a,test\n", r"line 3: 1\.png has the split test, on line 2 it is train"),
        (
            "path,class,category\n1.png,a,b\n",
            r"columns class, category may all be meant by label; say which one: .*#class'",
        ),
        ("path,label,split\n1.png,a,train\n2.png,a,\n", r"some of it is in the splits train, the rest in none"),
    ],
)
def test_what_is_wrong_in_a_list_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    write_picture(tmp_path / "1.png")
    (tmp_path / "all.csv").write_text(text)
    with pytest.raises(DataInvalid, match=rf"^{tmp_path}/all\.csv.*{message}"):
        datasets.splits(f"list:{tmp_path}/all.csv", None, NOWHERE)


@pytest.mark.parametrize("content", [b"\xff\xfep\x00a\x00", b"path,label\ncaf\xe9.png,a\n"])
def test_another_encoding_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "all.csv").write_bytes(content)
    with pytest.raises(DataInvalid, match=r"byte \d+ of what was read is no UTF-8; save the list as UTF-8"):
        datasets.splits(f"list:{tmp_path}/all.csv", None, NOWHERE)


@pytest.mark.parametrize(("text", "message"), [('{"path": 1', "line 1: no JSON"), ("[1]\n", "line 1: a list, expected an")])
def test_json_lines_that_are_none_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "all.jsonl").write_text(text)
    with pytest.raises(DataInvalid, match=message):
        datasets.splits(f"list:{tmp_path}/all.jsonl", None, NOWHERE)


def test_empty_lists_and_none_are_told_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("path,label\n")
    with pytest.raises(DataNotFound, match=r"all\.csv: lists no pictures; expected a column path and one label"):
        datasets.splits(f"list:{tmp_path}/all.csv", None, NOWHERE)
    with pytest.raises(DataNotFound, match=rf"al\.csv: no such file; {tmp_path} has all\.csv"):
        datasets.splits(f"list:{tmp_path}/al.csv", None, NOWHERE)
    with pytest.raises(DataNotFound, match=r"--dataset list: no path; expected --dataset list:FILE\.csv"):
        datasets.splits("list:", None, NOWHERE)
    (tmp_path / "all.xlsx").touch()
    with pytest.raises(DataInvalid, match=r"all\.xlsx: a list is a file that ends in \.csv, \.tsv, \.jsonl, \.parquet"):
        datasets.splits(f"list:{tmp_path}/all.xlsx", None, NOWHERE)


def test_a_table_of_pictures_is_no_list_of_them(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    path = write_parquet(tmp_path / "a.parquet", samples(2, "a", "b"))
    with pytest.raises(
        DataInvalid, match=r"there are label; .*; --dataset parquet:.*a\.parquet reads pictures that are in it"
    ):
        datasets.splits(f"list:{path}", None, NOWHERE)


def test_a_line_that_says_the_same_again_counts_once(tmp_path: Path) -> None:
    found = opened_list(given(tmp_path, ("1.png", "a"), ("2.png", "b"), ("./1.png", "a"), ("1.png", "a")))
    assert found.rows == 2
    assert "2 lines name a picture again and count once, first line 4" in found.remarks


def test_test_rows_of_classes_that_nobody_learns_are_refused(tmp_path: Path) -> None:
    rows = (("1.png", "a", "train"), ("2.png", "é", "test"))
    path = given(tmp_path, *rows, header=("path", "label", "split"))
    with pytest.raises(DataInvalid, match=r"the test split has the classes \\xe9, which the training rows have not; .* a$"):
        opened_list(path, "test")


def test_a_list_that_changed_is_read_again(tmp_path: Path) -> None:
    path = given(tmp_path, *ROWS)
    assert opened_list(path).rows == 3
    given(tmp_path, *ROWS, ("pictures/c/4.png", "c"))
    assert opened_list(path).rows == 4


@pytest.mark.parametrize("count", [2, 150])
def test_rows_come_in_a_stratified_order(tmp_path: Path, count: int) -> None:
    classes = [f"class {number:03d}" for number in range(count)]
    found = opened_list(write_list(tmp_path / "all.csv", samples(2 * count, *classes)))
    assert found.order == "stratified"
    assert len(set(found.labels(0, count).tolist())) == count


def test_a_list_of_a_folder_has_the_folders_pictures(tmp_path: Path) -> None:
    given_samples = samples(6, "a", "b")
    folder = datasets.open_split(f"folder:{write_folder(tmp_path / 'pets', given_samples)}", "all", NOWHERE)
    listed = opened_list(write_list(tmp_path / "list/all.csv", given_samples))
    assert sorted(folder.fingerprints(0, 6)) == sorted(listed.fingerprints(0, 6))
    assert os.path.lexists(listed.root / listed.paths[0])
