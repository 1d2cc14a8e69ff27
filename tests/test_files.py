"""Bytes on disk: a write happens whole or not at all, and JSON from elsewhere is read strictly."""

import contextlib
import dataclasses
import errno
import hashlib
import itertools
import json
import math
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.cache import files
from headstart.core.cache.files import (
    canonical_json,
    make_folder,
    parse_json,
    pretty_json,
    read_json,
    read_regular,
    sha256,
    sha256_file,
    write_durably,
)

ROOT = Path(files.__file__).parents[1]
OLD, NEW = b"old " * 100, b"new " * 1000
CALLS = ("mkdir", "open", "write", "fsync", "replace", "close", "unlink")
"""The system calls on the way of a durable write."""

# JSON in UTF-8 can't hold lone surrogates
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
documents = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=20
)


class Faults:
    """Stands in for the system calls in `CALLS`: lets `survive` of them through and raises `error` at the next."""

    def __init__(self, survive: int, error: BaseException) -> None:
        self.survive = survive
        self.error = error
        self.names: list[str] = []
        self.renamed = False

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for name in CALLS:
            patch.setattr(os, name, self._failing(name, getattr(os, name)))

    @property
    def struck(self) -> bool:
        return len(self.names) > self.survive

    def _failing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.names.append(name)
            if len(self.names) != self.survive + 1:
                self.renamed |= name == "replace"
                return real(*args, **options)
            if name == "close":  # Linux has closed the descriptor even where close reports an error
                real(*args, **options)
            raise self.error

        return call


def content_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


@pytest.mark.parametrize("old", [None, OLD], ids=["no old file", "old file"])
@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "the disk is full"), OSError(errno.EIO, "the disk is broken"), KeyboardInterrupt("enough")],
    ids=["full", "broken", "interrupted"],
)
def test_a_fault_at_any_system_call_leaves_the_old_file_or_the_whole_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, old: bytes | None
) -> None:
    struck = set()
    for survive in itertools.count():
        path = tmp_path / str(survive) / "head.bin"
        if old is not None:
            write_durably(path, old)
        faults = Faults(survive, error)
        with monkeypatch.context() as patch:
            faults.install(patch)
            with contextlib.suppress(type(error)):
                write_durably(path, NEW)
        if not faults.struck:
            break
        assert content_of(path) == (NEW if faults.renamed else old), faults.names
        # no temporary file is left
        assert {entry.name for entry in tmp_path.glob(f"{survive}/*")} <= {path.name}, faults.names
        struck.add(faults.names[survive])
    assert {"open", "write", "fsync", "replace"} <= struck


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
def test_a_failed_call_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def fail(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left in this test")

    monkeypatch.setattr(os, name, fail)
    with pytest.raises(OSError, match="no space left in this test"):
        write_durably(tmp_path / "head.bin", NEW)


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from headstart.core.cache.files import write_durably

survive = int(sys.argv[2])
write = os.write

def deadly(real):
    def call(*args, **options):
        global survive
        survive -= 1
        if survive < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)
    return call

os.write = lambda descriptor, data: write(descriptor, data[:1500])
for name in sys.argv[3:]:
    setattr(os, name, deadly(getattr(os, name)))
write_durably(Path(sys.argv[1]), b"new " * 1000)
os._exit(0)
"""


@pytest.mark.slow
def test_a_kill_at_any_system_call_leaves_the_old_file_or_the_whole_new_one(tmp_path: Path) -> None:
    found = set()
    for survive in itertools.count():
        path = tmp_path / str(survive) / "head.bin"
        write_durably(path, OLD)
        command = [sys.executable, "-c", KILLED_AT, str(path), str(survive), *CALLS]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
        found.add(path.read_bytes())
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        # what a kill leaves is hidden and named as the next writer sweeps it: .*.tmp
        rest = {entry for entry in path.parent.iterdir() if entry != path}
        assert all(entry.name.startswith(".head.bin.") and entry.suffix == ".tmp" for entry in rest)
    assert survive > 5
    assert found == {OLD, NEW}


def test_a_write_is_whole_where_the_system_takes_a_few_bytes_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:7]))
    write_durably(tmp_path / "head.bin", NEW)
    assert (tmp_path / "head.bin").read_bytes() == NEW


@pytest.mark.parametrize("content", [b"", b"\x00\r\n\xff", NEW], ids=["empty", "binary", "longer"])
def test_a_write_replaces_the_old_content_whole(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "head.bin"
    write_durably(path, OLD)
    write_durably(path, content)
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["head.bin"]


def test_a_write_makes_the_folders_it_needs(tmp_path: Path) -> None:
    write_durably(tmp_path / "a" / "b" / "head.bin", NEW)
    assert (tmp_path / "a" / "b" / "head.bin").read_bytes() == NEW


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)], ids=["all", "own", "group"])
def test_who_may_read_what_was_written_is_the_users_to_say(tmp_path: Path, umask: int, mode: int) -> None:
    code = (
        "import sys; from pathlib import Path; from headstart.core.cache.files import write_durably\n"
        "write_durably(Path(sys.argv[1]), b'')"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "a" / "head.bin"], umask=umask, cwd=ROOT, check=True, timeout=60)
    assert stat.S_IMODE((tmp_path / "a" / "head.bin").stat().st_mode) == mode


def test_a_link_that_leads_nowhere_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "features").symlink_to(tmp_path / "gone")
    for path in (tmp_path / "features" / "head.bin", tmp_path / "features" / "a" / "head.bin"):
        with pytest.raises(OSError, match=r"is a link to .*gone, which is not there: '.*features'"):
            write_durably(path, NEW)


def test_a_file_in_a_folders_place_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "features").write_bytes(OLD)
    with pytest.raises(OSError, match=r"is a file, expected a folder: '.*features'"):
        write_durably(tmp_path / "features" / "a" / "head.bin", NEW)


def test_bytes_are_on_disk_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(descriptor: int) -> None:
        events.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        fsync(descriptor)

    def recorded_replace(*paths: Path) -> None:
        events.append("rename")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    write_durably(tmp_path / "head.bin", NEW)
    assert events == ["sync file", "rename", "sync folder"]


def test_a_new_folder_is_made_as_durable_as_the_file_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a folder's own name lies in its parent: unless that is synced too, a power cut takes the file with the folder
    synced = set()
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    path = tmp_path / "a" / "b" / "head.bin"
    write_durably(path, NEW)
    missed = [folder.name for folder in (tmp_path, *path.parents[:2]) if folder.stat().st_ino not in synced]
    assert missed == []


@given(st.lists(st.binary(max_size=50), max_size=4))
@settings(max_examples=50)
def test_sha256_is_that_of_the_parts_joined(parts: list[bytes]) -> None:
    assert sha256(*parts) == hashlib.sha256(b"".join(parts)).hexdigest()


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # more than one read
    (tmp_path / "file").write_bytes(content)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(content).hexdigest() == sha256(content)


def reordered(value: Any) -> Any:
    """An equal value in which every object names its keys the other way round."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(entry) for entry in value] if isinstance(value, list) else value


@given(documents)
@settings(max_examples=100)
def test_equal_documents_have_one_canonical_spelling(document: Any) -> None:
    assert canonical_json(reordered(document)) == canonical_json(document)


@given(documents)
@settings(max_examples=100)
def test_json_written_is_read_back_the_same(document: Any) -> None:
    assert parse_json(canonical_json(document)) == document
    assert parse_json(pretty_json(document)) == document


@given(documents, documents)
@settings(max_examples=100)
def test_other_documents_have_another_canonical_spelling(one: Any, other: Any) -> None:
    # json.dumps as the judge: to Python 1, 1.0 and True are equal, to JSON they are not
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (canonical_json(one) == canonical_json(other)) is same


def test_canonical_json_is_what_it_was_in_every_release() -> None:
    assert canonical_json({"b": [1, 0.5, None], "a": "ä"}) == '{"a":"ä","b":[1,0.5,null]}'.encode()


def test_pretty_json_keeps_the_order_and_ends_the_line() -> None:
    content = pretty_json({"b": 1, "a": "ä"})
    assert list(parse_json(content)) == ["b", "a"]
    assert content.endswith(b"}\n")
    assert "ä".encode() in content


@pytest.mark.parametrize("write", [canonical_json, pretty_json])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_not_written(write: Callable[[Any], bytes], value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write({"x": [value]})


@dataclasses.dataclass(frozen=True)
class Refused:
    name: str
    content: bytes
    message: str


REFUSED = [
    Refused("duplicate key", b'{"a": 1, "a": 2}', "the same key twice"),
    Refused("duplicate key, same value", b'{"a": 1, "a": 1}', "the same key twice"),
    Refused("duplicate key, spelled in two ways", b'{"a": 1, "\\u0061": 2}', "the same key twice"),
    Refused("duplicate key far down", b'[{"x": {"a": 1, "b": 2, "a": 3}}]', "the same key twice"),
    Refused("NaN", b'{"a": NaN}', "holds NaN, which is not JSON"),
    Refused("Infinity", b"[Infinity]", "holds Infinity, which is not JSON"),
    Refused("minus Infinity", b"-Infinity", "holds -Infinity, which is not JSON"),
    Refused("a number that becomes infinite", b"[1e999]", "1e999"),
    Refused("deep list", b"[" * 200_000 + b"]" * 200_000, "nested too deeply"),
    Refused("deep object", b'{"a":' * 200_000 + b"1" + b"}" * 200_000, "nested too deeply"),
    Refused("empty", b"", "Expecting value"),
    Refused("cut off", b'{"a": 1', "delimiter"),
    Refused("two documents", b"{} {}", "Extra data"),
    Refused("not UTF-8", b'"\xff\xfe\xfa"', "decode"),
    Refused("a comment", b"{} // hello", "Extra data"),
    Refused("a number too long for an int", b"1" * 10_000, "digits"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_is_not_strict_json_is_refused(tmp_path: Path, case: Refused) -> None:
    (tmp_path / "file.json").write_bytes(case.content)
    with pytest.raises(ValueError, match=case.message):
        parse_json(case.content)
    with pytest.raises(ValueError, match=case.message):
        read_json(tmp_path / "file.json")


def test_a_file_too_large_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.touch()
    os.truncate(path, files.MAX_JSON_BYTES + 1)  # a hole: it takes no disk
    with pytest.raises(ValueError, match=f"expected at most {files.MAX_JSON_BYTES:,}"):
        read_json(path)


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.json"):
        read_json(tmp_path / "no.json")


def test_read_json_reads_the_document(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text(' {"b": [1, 2.5, "ä"], "a": {}} ', encoding="utf-8")
    assert read_json(tmp_path / "file.json") == {"b": [1, 2.5, "ä"], "a": {}}


# --- files that anybody may have put there ---------------------------------------------------------------------------


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [make_pipe, make_endless, Path.mkdir])
def test_what_is_no_regular_file_is_not_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "shard-00000.h5")
    with pytest.raises(ValueError, match=r"^is no regular file$"):
        read_regular(tmp_path / "shard-00000.h5", 100)


def test_a_file_of_terabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "shard-00000.h5"
    path.touch()
    os.truncate(path, 2**40)
    with pytest.raises(ValueError, match=r"^has 1,099,511,627,776 bytes, expected at most 4,294,967,296$"):
        read_regular(path, 2**32)


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "shard-00000.h5").write_bytes(NEW)
    assert read_regular(tmp_path / "shard-00000.h5", len(NEW)) == NEW


def test_a_folder_that_another_process_makes_meanwhile_is_there(tmp_path: Path) -> None:
    """Eight threads make the same three folders at the same moment: none takes another's new folder for a file."""
    together, failed = threading.Barrier(8), list[OSError]()

    def make(places: Sequence[Path]) -> None:
        for place in places:
            together.wait()
            try:
                make_folder(place)
            except OSError as error:
                failed.append(error)

    places = [tmp_path / str(number) / "a" / "b" for number in range(100)]
    threads = [threading.Thread(target=make, args=(places,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert all(place.is_dir() for place in places)
