"""Files are remembered by id and by what the file system said of them; what is altered is forgotten."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.cache import known_files
from headstart.core.cache.known_files import NAME, Facts, KnownFiles, nothing_known, read_known_files

names = st.lists(st.binary(max_size=12), unique=True, max_size=12)


def facts_of(ids: list[bytes], change: int = 0) -> Facts:
    """Facts that differ for each name."""
    return np.array([[len(name), change - hash(name) % 2**40, 7, 2**62] for name in ids], dtype=np.int64).reshape(-1, 4)


def known(ids: list[bytes]) -> KnownFiles:
    """Files whose content is their name."""
    digests = np.array([[*hashlib.sha256(name).digest()] for name in ids], dtype=np.uint8).reshape(-1, 32)
    return KnownFiles.of(ids, facts_of(ids), digests)


@given(kept=names, asked=names)
def test_a_file_is_found_where_id_and_facts_are_the_same(kept: list[bytes], asked: list[bytes]) -> None:
    digests, same = known(kept).find(asked, facts_of(asked))
    assert same.tolist() == [name in kept for name in asked]
    for digest, name, found in zip(digests, asked, same, strict=True):
        assert digest.tobytes() == (hashlib.sha256(name).digest() if found else bytes(32))
    assert not known(kept).find(asked, facts_of(asked, change=1))[1].any()


@given(kept=names, asked=names)
def test_what_a_file_was_is_known_whatever_it_is_now(kept: list[bytes], asked: list[bytes]) -> None:
    digests, there = known(kept).contents(asked)
    assert there.tolist() == [name in kept for name in asked]
    for digest, name, found in zip(digests, asked, there, strict=True):
        assert digest.tobytes() == (hashlib.sha256(name).digest() if found else bytes(32))


@given(names)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, ids: list[bytes]) -> None:
    folder, files = tmp_path_factory.mktemp("set"), known(ids)
    (folder / NAME).write_bytes(files.to_bytes())
    found = read_known_files(folder)
    assert found is not None
    for ours, theirs in zip(vars(files).values(), vars(found).values(), strict=True):
        assert (ours.dtype, ours.tolist()) == (theirs.dtype, theirs.tolist())


def test_a_file_takes_80_bytes() -> None:
    assert len(known([b"%d" % number for number in range(1000)]).to_bytes()) == 32 + 80 * 1000


def test_what_has_no_facts_is_never_found() -> None:
    nowhere = np.zeros((1, 4), dtype=np.int64)
    files = KnownFiles.of([b"a"], nowhere, np.ones((1, 32), dtype=np.uint8))
    assert not files.find([b"a"], nowhere)[1].any()


def test_what_is_cut_or_altered_is_forgotten(tmp_path: Path) -> None:
    assert read_known_files(tmp_path) is None
    content = known([b"a", b"b"]).to_bytes()
    for place in range(len(content)):
        for bad in (content[:place], content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]):
            (tmp_path / NAME).write_bytes(bad)
            assert read_known_files(tmp_path) is None


def test_a_folder_in_its_place_or_a_giant_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / NAME).mkdir()
    assert read_known_files(tmp_path) is None
    (tmp_path / NAME).rmdir()
    (tmp_path / NAME).write_bytes(known([b"a"]).to_bytes())
    assert read_known_files(tmp_path) is not None
    monkeypatch.setattr(known_files, "MOST_BYTES", 10)
    assert read_known_files(tmp_path) is None


def test_of_two_ids_that_begin_alike_none_is_taken_for_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_files, "first_bytes", lambda marks: np.zeros(len(marks), dtype=np.uint64))
    ids = [b"a", b"b", b"c"]
    digests, same = known(ids).find(ids, facts_of(ids))
    assert same.sum() == 1  # the others are read again
    assert digests[same][0].tobytes() in {hashlib.sha256(name).digest() for name in ids}
    assert digests[same][0].tobytes() == hashlib.sha256(ids[int(same.argmax())]).digest()


def test_nothing_is_known_at_first() -> None:
    digests, same = nothing_known().find([b"a"], facts_of([b"a"]))
    assert (digests.shape, same.tolist()) == ((1, 32), [False])
