"""Objects of a store as places, against a real server: what is there, what is said of it, and what fails."""

import dataclasses
import errno
import functools
import pickle
import sys
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage_samples import Server

from headstart.core.cache import objects
from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.objects import Entry, ObjectPath


@pytest.fixture
def top(bucket: Path) -> ObjectPath:
    """A prefix in a new bucket."""
    found: object = bucket / "pre fix"
    assert isinstance(found, ObjectPath)
    return found


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is made anew, so that it asks the environment again."""
    monkeypatch.setattr(objects, "_client", functools.lru_cache(objects._client.__wrapped__))


def test_a_place_has_the_parts_of_a_path() -> None:
    found = ObjectPath("s3", PurePosixPath("bucket/a")) / "b" / "x.tar.gz"
    assert (str(found), found.name, found.stem, found.suffix) == ("s3://bucket/a/b/x.tar.gz", "x.tar.gz", "x.tar", ".gz")
    assert found.parts == ("bucket", "a", "b", "x.tar.gz")
    assert str(found.parent.parent) == "s3://bucket/a"
    assert found.with_name("y") == found.parent / "y"
    assert found.relative_to(ObjectPath("s3", PurePosixPath("bucket/a"))) == PurePosixPath("b/x.tar.gz")
    assert found.expanduser() == found.resolve() == found.absolute() == found
    assert not found.is_symlink()
    assert repr(found) == "ObjectPath('s3://bucket/a/b/x.tar.gz')"


def test_a_bucket_is_its_own_parent() -> None:
    bucket = ObjectPath("s3", PurePosixPath("bucket"))
    assert bucket.parent == bucket


def test_places_can_be_sorted_hashed_and_sent_to_a_process() -> None:
    one, other = ObjectPath("s3", PurePosixPath("b/1")), ObjectPath("s3", PurePosixPath("b/2"))
    assert sorted([other, one]) == [one, other]
    assert {one, other, one.listed()} == {one, other}
    assert pickle.loads(pickle.dumps(one.listed())) == one


@pytest.mark.parametrize("size", [0, 1, 70_000])
def test_what_is_written_is_read(top: ObjectPath, size: int) -> None:
    (top / "x").write(bytes(size))
    assert (top / "x").read(size) == bytes(size)
    assert (top / "x").entry() == dataclasses.replace(only(top), name="x")
    assert only(top).nbytes == size


def only(folder: ObjectPath) -> Entry:
    """The one entry that is there."""
    (entry,) = folder.entries()
    return entry


def test_more_than_was_asked_for_is_refused(top: ObjectPath) -> None:
    (top / "x").write(b"12345")
    with pytest.raises(ValueError, match="has more than 4 bytes"):
        (top / "x").read(4)


def test_an_object_is_replaced_whole_or_only_made_new(top: ObjectPath) -> None:
    (top / "x").write(b"old")
    with pytest.raises(FileExistsError, match="is there already"):
        (top / "x").write(b"new", new=True)
    assert (top / "x").read(9) == b"old"
    (top / "x").write(b"newer")
    (top / "y").write(b"made", new=True)
    assert ((top / "x").read(9), (top / "y").read(9)) == (b"newer", b"made")


def test_a_prefix_is_a_folder_while_something_is_below_it(top: ObjectPath) -> None:
    assert (top.exists(), top.is_dir(), top.is_file(), top.entries()) == (False, False, False, [])
    (top / "a" / "b").write(b"1")
    assert (top.is_dir(), (top / "a").is_dir(), (top / "a" / "b").is_dir()) == (True, True, False)
    assert (top.is_file(), (top / "a" / "b").is_file()) == (False, True)
    (top / "a" / "b").unlink()
    (top / "a" / "b").unlink()
    top.rmdir()
    assert not top.exists()


def test_a_listing_has_what_is_right_below(top: ObjectPath, s3: Server) -> None:
    for name in ("b", "a/x", "a/y/z", "c#?% ü.png"):
        (top / name).write(name.encode())
    (top.with_name(f"{top.name}-beside") / "x").write(b"1")
    s3.put(f"{top.key}/", b"")  # which some tools make for an empty folder
    assert [(entry.name, entry.is_folder) for entry in top.entries()] == [("a", True), ("b", False), ("c#?% ü.png", False)]
    assert list(top.iterdir()) == [top / "a", top / "b", top / "c#?% ü.png"]
    assert (top / "c#?% ü.png").read(99) == "c#?% ü.png".encode()
    assert (top / "b").entries() == []


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", [".hidden", "set-1", "set-2", "x.h5"]),
        ("[!.]*", ["set-1", "set-2", "x.h5"]),
        ("*.h5", ["x.h5"]),
        ("*/*.h5", ["set-1/a.h5", "set-1/b.h5"]),
        ("set-*/manifest.json", ["set-2/manifest.json"]),
        ("none*/x", []),
    ],
)
def test_patterns_are_those_of_pathlib(top: ObjectPath, tmp_path: Path, pattern: str, found: list[str]) -> None:
    for name in ("x.h5", "set-1/a.h5", "set-1/b.h5", "set-2/manifest.json", ".hidden"):
        (top / name).write(b"1")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    assert sorted(str(path.relative_to(top)) for path in top.glob(pattern)) == found
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob(pattern)) == found


def test_what_another_machine_writes_or_removes_is_seen_at_once(top: ObjectPath, s3: Server) -> None:
    (top / "x").write(b"1")
    assert [entry.name for entry in top.entries()] == ["x"]
    s3.put(f"{top.key}/y", b"22")
    s3.put(f"{top.key}/x", b"333")
    assert [(entry.name, entry.nbytes) for entry in top.entries()] == [("x", 3), ("y", 2)]
    assert ((top / "y").exists(), (top / "x").read(9)) == (True, b"333")


def test_a_listed_place_stays_as_it_was(top: ObjectPath, s3: Server) -> None:
    (top / "a" / "x").write(b"1")
    listed = top.listed()
    assert (listed / "a" / "x").exists()
    before = len(s3.requests())
    s3.put(f"{top.key}/a/y", b"2")
    assert not (listed / "a" / "y").exists()
    assert [path.name for path in (listed / "a").iterdir()] == ["x"]
    assert len(s3.requests()) == before + 1  # the one that put it
    above = f"GET /{top.parts[0]}?list-type=2&prefix=&"  # which may hold other people's objects
    assert not [text for text in s3.requests() if text.startswith(above)]
    assert (top.listed() / "a" / "y").exists()


def test_what_a_listing_says_changes_with_the_content_alone(top: ObjectPath) -> None:
    (top / "x").write(b"one")
    (top / "y").write(b"one")
    (top / "z").write(b"two")
    x, y, z = (entry.facts for entry in top.entries())
    size, first, _, last = x
    assert (size, first, last) == (3, y[1], y[3])
    assert {z[1], z[3]}.isdisjoint({first, last})
    assert all(0 <= fact < 2**63 for fact in (*x, *z))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(
        st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_characters="/\x7f", exclude_categories=("Cc", "Cs")),
        min_size=1,
        max_size=20,
    ).filter(lambda name: name not in (".", "..")),
    content=st.binary(max_size=64),
)
def test_any_name_leads_to_its_object(top: ObjectPath, name: str, content: bytes) -> None:
    (top / "names" / name).write(content)
    assert name in [entry.name for entry in (top / "names").entries()]
    assert (top / "names" / name).read(64) == content
    (top / "names" / name).unlink()


# ---- what fails


def test_an_object_that_is_not_there_is_called_so(top: ObjectPath) -> None:
    with pytest.raises(FileNotFoundError, match="no such object") as caught:
        (top / "x").read(9)
    assert caught.value.filename == str(top / "x")


@pytest.mark.parametrize("ask", ["entries", "exists", "is_dir", "read", "write"])
def test_a_bucket_that_is_not_there_is_no_empty_one(s3: Server, ask: str) -> None:
    path = ObjectPath("s3", PurePosixPath("never-made/x"))
    arguments = {"read": (9,), "write": (b"1",)}.get(ask, ())
    with pytest.raises(OSError, match="there is no bucket s3://never-made; make it") as caught:
        getattr(path, ask)(*arguments)
    assert caught.value.errno == errno.ENXIO


@pytest.mark.parametrize("ask", ["entries", "exists", "is_dir", "is_file"])
def test_a_server_that_is_not_there_says_nothing_of_what_is(
    s3: Server, fresh: None, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(OSError, match=r"the store can't be reached .*; check the network and, .*, AWS_ENDPOINT_URL"):
        getattr(ObjectPath("s3", PurePosixPath("bucket/x")), ask)()


def test_an_endpoint_that_is_none_is_named(s3: Server, fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(OSError, match=r"can't be reached \(Invalid endpoint: nonsense\); .* AWS_ENDPOINT_URL"):
        ObjectPath("s3", PurePosixPath("bucket/x")).entries()


def test_missing_credentials_are_named(s3: Server, fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(PermissionError, match="no credentials for the store; check AWS_ACCESS_KEY_ID and"):
        ObjectPath("s3", PurePosixPath("bucket/x")).entries()


def test_a_client_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ArgumentInvalid, match=r"s3://bucket/x: s3:// needs s3fs; pip install 'headstart\[s3\]'"):
        ObjectPath("s3", PurePosixPath("bucket/x")).exists()


def test_a_long_message_of_the_client_is_cut(s3: Server) -> None:
    with pytest.raises(OSError, match="the store says: Parameter validation failed: Invalid bucket name") as caught:
        ObjectPath("s3", PurePosixPath("Bad!Name/x")).entries()
    assert len(str(caught.value.strerror)) < 250


class Refusal(Exception):
    """An error of a client, with a server's answer."""

    def __init__(self, code: str) -> None:
        super().__init__("no")
        self.response = {"Error": {"Code": code}}


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (PermissionError("Access Denied"), PermissionError, r"the store refuses this \(Access Denied\); check AWS_ACC"),
        (Refusal("PreconditionFailed"), FileExistsError, "is there already"),
        (Refusal("ConditionalRequestConflict"), FileExistsError, "is there already"),
        (TimeoutError("late"), OSError, r"the store can't be reached \(late\)"),
        (RuntimeError(""), OSError, "the store says: RuntimeError"),
        (OSError(errno.ENOSPC, "full"), OSError, "the store says: .*full"),
    ],
)
def test_what_a_client_raises_is_one_kind_of_error(error: Exception, kind: type[OSError], text: str) -> None:
    said = objects._said(error, ObjectPath("s3", PurePosixPath("bucket/x")))
    assert isinstance(said, kind)
    assert said.filename == "s3://bucket/x"
    with pytest.raises(kind, match=text):
        raise said
