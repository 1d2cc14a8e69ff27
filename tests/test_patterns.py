"""What an argument means: a file, a folder or a pattern, and what a data set is called by it."""

import os
from pathlib import Path

import pytest
from extract_samples import tree

from headstart.core.cache.errors import DataNotFound
from headstart.core.extract.images.patterns import Argument, argument, files, is_there, one_file

TAR = (".tar",)


def given(text: object) -> Argument:
    return argument("tar", str(text), "GLOB")


@pytest.mark.parametrize(
    ("text", "name", "root"),
    [
        ("pets.tar", "tar-pets", ""),
        ("more/pets.v2.tar", "tar-pets.v2", "more"),
        ("more", "tar-more", "more"),
        ("more/*.tar", "tar-more", "more"),
        ("more/train-{000..012}.tar", "tar-more", "more"),
        ("more/*/deep/*.tar", "tar-more", "more"),
        ("more/./x/../*.tar#jpg,cls", "tar-more", "more"),
        ("gone/x-?.tar", "tar-gone", "gone"),
    ],
)
def test_it_is_called_by_its_file_or_folder(tmp_path: Path, text: str, name: str, root: str) -> None:
    tree(tmp_path, "pets.tar", "more/a.tar", "more/x/y.tar")
    found = given(tmp_path / text)
    assert (found.name, found.root) == (name, tmp_path / root)


def test_columns_follow_a_mark_that_is_no_part_of_the_name(tmp_path: Path) -> None:
    tree(tmp_path, "a#b.tar")
    assert given(tmp_path / "a#b.tar").columns == ()
    found = given(tmp_path / "c.tar#x, y")
    assert (found.path, found.columns, found.origin) == (tmp_path / "c.tar", ("x", "y"), f"{tmp_path}/c.tar#x,y")


def test_a_path_is_taken_from_the_working_folder_or_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert given("a.tar").path == tmp_path / "a.tar"
    assert given("~/a.tar").path == tmp_path / "home/a.tar"


def test_files_come_by_name_and_hidden_ones_are_none(tmp_path: Path) -> None:
    tree(tmp_path, "b.tar", "a.TAR", "c/d.tar", ".e.tar", ".f/g.tar", "h.txt")
    assert files(given(tmp_path), TAR) == tuple(tmp_path / name for name in ("a.TAR", "b.tar", "c/d.tar"))
    assert files(given(tmp_path / "*.tar"), TAR) == (tmp_path / "b.tar",)
    assert files(given(tmp_path / "**/*.tar"), TAR) == tuple(tmp_path / name for name in ("b.tar", "c/d.tar"))
    assert files(given(tmp_path / "h.txt"), TAR) == (tmp_path / "h.txt",)


def test_ranges_count_with_leading_zeros(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{part}-{number:02d}.tar" for part in (1, 2) for number in (8, 9, 10)))
    found = files(given(tmp_path / "{1..2}-{08..10}.tar"), TAR)
    assert [path.name for path in found] == [f"{part}-{number:02d}.tar" for part in (1, 2) for number in (8, 9, 10)]


@pytest.mark.parametrize("text", ["{3..1}.tar", "{0..99999999}.tar", "{0..999}-{0..999}.tar"])
def test_a_range_of_nothing_or_too_much_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataNotFound, match=r"the range \{\d+\.\.\d+\} is empty or too long"):
        files(given(tmp_path / text), TAR)


def test_what_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{number}.tar" for number in range(8)))
    with pytest.raises(
        DataNotFound, match=r"a\.tar: no such file; .* has 0\.tar, 1\.tar, 2\.tar, 3\.tar, 4\.tar and 3 more$"
    ):
        files(given(tmp_path / "a.tar"), TAR)
    with pytest.raises(DataNotFound, match=r"no such file; expected \.csv or \.tsv$"):
        one_file(given(tmp_path / "gone/a.csv"), (".csv", ".tsv"))
    with pytest.raises(DataNotFound, match=rf"--dataset tar:{tmp_path}: a folder, expected a file; .* has no \.csv$"):
        one_file(given(tmp_path), (".csv",))
    with pytest.raises(DataNotFound, match=r"--dataset tar: no path; expected --dataset tar:GLOB$"):
        given("")


# no mode keeps root from reading, and no fake of `os.scandir` would show what the kernel refuses
@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    tree(tmp_path, "in/a.csv")
    (tmp_path / "in").chmod(0)
    try:
        with pytest.raises(DataNotFound, match="can't be read"):
            one_file(given(tmp_path / "in/a.csv"), (".csv",))
    finally:
        (tmp_path / "in").chmod(0o700)


def test_a_place_is_there_by_any_of_its_files(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.tar")
    for text in ("a", "a/1.tar", "a/1.tar#jpg", "a/*.tar", "a/{1..9}.tar", "a/*.tar#x"):
        assert is_there(str(tmp_path / text))
    for text in ("b", "a/2.tar", "a/*.csv", "b/{1..9}.tar"):
        assert not is_there(str(tmp_path / text))
