"""One walk for data sets and for `predict`: what it takes, what it passes over, what it counts, and that it ends."""

import inspect
import os
import sys
from collections import Counter
from pathlib import Path

import hypothesis
import pytest
from extract_samples import tree, write_picture
from hypothesis import strategies as st

from headstart.core.cache.errors import DataNotFound
from headstart.core.extract.featurise import expand
from headstart.core.extract.pictures.walk import LINKS, NO_SUFFIX, counted, entries, holds_pictures, is_junk, walk


def test_files_come_before_sub_folders_and_each_by_name(tmp_path: Path) -> None:
    tree(tmp_path, "b/z.png", "b/a.png", "a/c/d.png", "z.png", "c.png")
    assert walk(tmp_path).pictures == ["c.png", "z.png", "a/c/d.png", "b/a.png", "b/z.png"]
    assert walk(tmp_path, "b").pictures == ["b/a.png", "b/z.png"]
    assert walk(tmp_path, deep=False).pictures == ["c.png", "z.png"]


def test_hidden_and_system_entries_are_passed_over_uncounted(tmp_path: Path) -> None:
    hidden = (
        "._x.jpg",
        ".DS_Store",
        "Thumbs.db",
        "a/thumbs.db",
        "Desktop.ini",
        "Icon\r",
        ".thumbnails/x.png",
        ".ipynb_checkpoints/x.png",
        "__MACOSX/x.png",
        "@eaDir/x.png",
        "lost+found/x.png",
    )
    tree(tmp_path, "a.png", *hidden)
    (tmp_path / ".nowhere").symlink_to("nowhere")
    found = walk(tmp_path)
    assert (found.pictures, found.left_out) == (["a.png"], Counter())
    assert not holds_pictures(tree(tmp_path / "other", *hidden))


def test_what_is_no_picture_is_counted_by_suffix(tmp_path: Path) -> None:
    tree(tmp_path, "a.PNG", "a.txt", "b/B.TXT", "c.db", "c.JXL", "README", "end.", "d.avif.part")
    assert walk(tmp_path).left_out == {".txt": 2, ".db": 1, ".jxl": 1, NO_SUFFIX: 2, ".part": 1}


def test_files_left_out_are_said_with_unread_pictures_first() -> None:
    assert counted(Counter({".txt": 1})) == "left out: 1 file (.txt 1)"
    many = Counter({".txt": 3000, ".csv": 2, ".a": 1, ".b": 1, ".c": 1, ".d": 1, ".e": 1, ".heic": 1})
    assert counted(many) == (
        "left out: 3,008 files (.heic 1, .txt 3,000, .csv 2, .a 1, .b 1, .c 1, 2 more kinds); "
        ".heic can't be read here: convert such pictures to JPEG or PNG, or pip install 'headstart[heic]'"
    )
    assert counted(Counter({".jxl": 1})).endswith(".jxl can't be read here: convert such pictures to JPEG or PNG")


@pytest.mark.parametrize("path", [".DS_Store", "a/._1.png", "__MACOSX/a/1.png", "a/Thumbs.db", "desktop.ini", "a/.b/1.png"])
def test_what_systems_leave_is_known_by_its_path_in_an_archive(path: str) -> None:
    assert is_junk(path)


@pytest.mark.parametrize("path", ["1.png", "./a/1.png", "../1.png", "/a/1.png", "a.b/c.png", "thumbs.db.png"])
def test_other_paths_are_pictures(path: str) -> None:
    assert not is_junk(path)


@pytest.mark.parametrize(
    "name", ["a.avif", "a.AVIF", "a.jp2", "a.J2K", "a.Jpx", "a.pgm", "a.ppm", "a.pbm", "a.mpo", "a.JPEG", "a.tiff"]
)
def test_every_usual_suffix_is_taken(tmp_path: Path, name: str) -> None:
    pytest.importorskip("PIL._avif" if name.lower() == "a.avif" else "PIL", reason="needs Pillow with AVIF")
    assert walk(tree(tmp_path, name)).pictures == [name]


# ---- links


def test_links_to_pictures_and_sub_folders_are_followed(tmp_path: Path) -> None:
    tree(tmp_path, "out/x.png", "out/deep/y.png", "in/a.png")
    (tmp_path / "in/more").symlink_to(tmp_path / "out")
    (tmp_path / "in/b.png").symlink_to(tmp_path / "out/x.png")
    assert walk(tmp_path / "in").pictures == ["a.png", "b.png", "more/x.png", "more/deep/y.png"]


def test_links_that_lead_nowhere_or_round_are_counted(tmp_path: Path) -> None:
    tree(tmp_path, "a.png", "b/c.png")
    for name, target in (("loop", "."), ("b/up", ".."), ("b/root", "/"), ("gone", "nowhere"), ("self", "self")):
        (tmp_path / name).symlink_to(target)
    found = walk(tmp_path)
    assert (found.pictures, found.left_out) == (["a.png", "b/c.png"], {LINKS: 5})


def test_a_link_to_a_picture_that_is_gone_is_said_where_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("nowhere")
    assert walk(tmp_path).pictures == ["a.png"]


def test_folders_that_link_to_each_other_are_walked_in_finite_time(tmp_path: Path) -> None:
    """Followed from every path, twelve folders that each link to all others would be 12! paths."""
    for one in range(12):
        tree(tmp_path, f"{one}/a.png")
        for other in range(12):
            if one != other:
                (tmp_path / f"{one}/to{other}").symlink_to(tmp_path / f"{other}")
    found = walk(tmp_path)
    assert {f"{one}/a.png" for one in range(12)} <= set(found.pictures)
    assert len(found.pictures) <= 24


def test_names_that_are_no_utf8_are_kept(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    assert walk(tree(tmp_path, name)).pictures == [name]


def test_a_folder_deeper_than_python_may_recurse_is_walked(tmp_path: Path) -> None:
    limit = sys.getrecursionlimit()
    deep = "/".join(["d"] * 300)
    for place in range(300):
        (tmp_path / deep[: 2 * place + 1]).mkdir()
    (tmp_path / deep / "a.png").touch()
    try:
        sys.setrecursionlimit(len(inspect.stack(0)) + 60)  # a deeper tree could not be removed by shutil.rmtree
        found = walk(tmp_path).pictures
    finally:
        sys.setrecursionlimit(limit)
    assert found == [f"{deep}/a.png"]


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match=r"nowhere: can't be read \(No such file or directory\); give yourself access"):
        entries(tmp_path / "nowhere")


# ---- the two uses


@hypothesis.given(
    names=st.sets(
        st.sampled_from(["a.png", ".b.png", "c.jpg", "d.txt", "e/f.png", "e/.g/h.png", ".i/j.png", "k.heic", "e/l"])
    )
)
@hypothesis.settings(max_examples=30)
def test_predict_and_extract_take_the_same_files(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    root = tree(tmp_path_factory.mktemp("any"), "always.png", *names)
    assert expand([str(root)]) == [root / path for path in walk(root).pictures]


def test_predict_says_what_it_leaves_out(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    tree(tmp_path, "._a.png", "b.jxl", "notes.txt")
    said: list[str] = []
    assert expand([str(tmp_path)], said.append) == [tmp_path / "a.png"]
    (line,) = said
    assert line.startswith(f"{tmp_path}: 1 picture; left out: 2 files (.jxl 1, .txt 1); .jxl can't be read here")
