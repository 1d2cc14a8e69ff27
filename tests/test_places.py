"""From a text to a place: of this machine, or in an object store."""

import os
from pathlib import Path

import pytest
from storage_samples import Server

from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.objects import ObjectPath
from headstart.core.cache.places import exists, is_url, listed_place, names, on_this_machine, place, stored, within


@pytest.mark.parametrize("text", ["features", "s3", "s3/x", "/a/b", ".", "C:", "a:b/c", "~/x", "folder:x", ""])
def test_a_path_stays_a_path(text: str) -> None:
    assert not is_url(text)
    assert place(text) == listed_place(text) == on_this_machine(text, "--x") == Path(text)
    assert stored(place(text)) is None


@pytest.mark.parametrize(
    ("text", "whole"),
    [("s3://b", "s3://b"), ("s3://b/p/", "s3://b/p"), ("S3://b/p//q", "s3://b/p/q"), ("s3://b/a b/ü#1", "s3://b/a b/ü#1")],
)
def test_a_url_is_a_place_in_a_store(text: str, whole: str) -> None:
    found: object = place(text)
    assert isinstance(found, ObjectPath)
    assert str(found) == whole
    assert stored(place(text)) == found
    assert not isinstance(found, os.PathLike)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("s3://", "names no bucket; expected s3://BUCKET/PREFIX"),
        ("s3:///", "names no bucket"),
        ("s3:/b/x", "expected two slashes after the colon, s3://BUCKET/PREFIX"),
        ("s3:b", "expected two slashes"),
        ("gs://b/x", "gs:// is no store that is known here; expected s3://BUCKET/PREFIX, or a mounted folder"),
        ("file:///x", "file:// is no store"),
        ("https://x/y", "https:// is no store"),
    ],
)
def test_what_is_no_known_store_is_refused(text: str, said: str) -> None:
    with pytest.raises(ArgumentInvalid, match=said):
        place(text)


def test_what_must_be_here_is_no_url() -> None:
    with pytest.raises(ArgumentInvalid, match=r"--runs-dir s3://b/x: expected a folder or file of this machine"):
        on_this_machine("s3://b/x", "--runs-dir")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("s3://b/f/set", "set"),
        ("s3://b/f/set/", "set"),
        ("set", None),
        ("s3://b/other/set", None),
        ("s3://b/f/a/b", None),
        ("s3://b/f", None),
        ("s3://b/f/..", None),
    ],
)
def test_a_set_can_be_named_by_its_url(name: str, found: str | None) -> None:
    assert within(place("s3://b/f"), name) == found


def test_what_is_there_is_found_in_both_kinds(bucket: Path, s3: Server, tmp_path: Path) -> None:
    s3.put(f"{bucket.name}/f/x", b"1")
    (tmp_path / "x").touch()
    assert (set(names(bucket / "f")), set(names(tmp_path)), set(names(tmp_path / "no"))) == ({"x"}, {"x"}, set())
    assert [exists(text) for text in (f"{bucket}/f", f"{bucket}/g", str(tmp_path), str(tmp_path / "no"))] == [
        True,
        False,
        True,
        False,
    ]


def test_what_can_not_be_asked_counts_as_being_there(s3: Server) -> None:
    assert exists("s3://never-made/x")
    assert exists("gs://b/x")
