"""The execution record: it comes back as written, and one that was altered is none."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from cache_samples import make_key, never_wait
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headstart.core.cache.execution import NAME, Execution, read_execution
from headstart.core.cache.files import canonical_json, sha256
from headstart.core.cache.store import FeatureStore

RECORD = Execution("compiled", 32, 50_000, "a computer, 2 cores", "/photos/pets")
# JSON in UTF-8 can't hold lone surrogates
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
executions = st.builds(Execution, texts, st.integers(1, 10**9), st.integers(0, 10**12), texts)


def put(folder: Path, content: bytes) -> Path:
    (folder / NAME).write_bytes(content)
    return folder


def signed(**changes: Any) -> bytes:
    """A record with other fields, whose own checksum is right."""
    document = {**json.loads(RECORD.to_bytes()), **changes}
    del document["sha256"]
    return json.dumps({**document, "sha256": sha256(canonical_json(document))}).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("set")


@given(execution=executions)
def test_a_record_comes_back_as_written(folder: Path, execution: Execution) -> None:
    assert read_execution(put(folder, execution.to_bytes())) == execution


def test_equal_records_are_equal_bytes_that_say_what_they_are() -> None:
    assert RECORD.to_bytes() == dataclasses.replace(RECORD).to_bytes()
    found = json.loads(RECORD.to_bytes())
    assert (found["format"], found["version"]) == ("headstart execution", 1)
    assert {name: found[name] for name in dataclasses.asdict(RECORD)} == dataclasses.asdict(RECORD)


def test_where_there_is_no_record_none_is_found(tmp_path: Path) -> None:
    assert read_execution(tmp_path) is None
    assert read_execution(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"[1]", b"null", b"5", b'"sha256"', b"\0" * 100, b"\xff\xfe", b"[" * 200_000, b"<html>"],
    ids=lambda content: repr(content[:12]),
)
def test_garbage_is_no_record(tmp_path: Path, content: bytes) -> None:
    assert read_execution(put(tmp_path, content)) is None


def test_a_folder_in_its_place_is_no_record(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    assert read_execution(tmp_path) is None


def test_a_record_signed_by_hand_is_read(tmp_path: Path) -> None:
    # else the refusals below would say nothing
    assert read_execution(put(tmp_path, signed())) == RECORD


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": 0},
        {"version": "1"},
        {"format": "headstart feature set"},
        {"colour": "green"},
        {"batch_size": "32"},
        {"batch_size": 32.0},
        {"batch_size": True},
        {"batch_size": 0},
        {"batch_size": -1},
        {"rows": None},
        {"engine": ["eager"]},
        {"device": 5},
    ],
    ids=str,
)
def test_a_record_of_another_version_or_of_other_fields_counts_as_none(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert read_execution(put(tmp_path, signed(**changes))) is None


@pytest.mark.parametrize("field", ["engine", "batch_size", "rows", "device", "format", "version", "sha256"])
def test_a_record_that_lacks_a_field_or_was_altered_counts_as_none(tmp_path: Path, field: str) -> None:
    found = json.loads(RECORD.to_bytes())
    altered = {**found, field: found[field] * 2}
    lacking = {name: value for name, value in found.items() if name != field}
    for document in (altered, lacking):
        assert read_execution(put(tmp_path, json.dumps(document).encode())) is None


@given(execution=executions, data=st.data())
@settings(max_examples=300)
@example(RECORD, None)
def test_a_flipped_bit_never_gives_another_way(folder: Path, execution: Execution, data: st.DataObject | None) -> None:
    content = execution.to_bytes()
    bits = range(8 * len(content)) if data is None else [data.draw(st.integers(0, 8 * len(content) - 1))]
    for bit in bits:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        assert read_execution(put(folder, bytes(flipped))) in (None, execution), bit


def test_a_truncated_record_is_none_at_every_length(folder: Path) -> None:
    content = RECORD.to_bytes().rstrip()
    assert [n for n in range(len(content)) if read_execution(put(folder, content[:n])) is not None] == []


# ---- in a set's folder


def test_a_writer_remembers_the_way_and_writes_it_only_when_it_changed(tmp_path: Path) -> None:
    with FeatureStore(tmp_path).writing(make_key(), "train", never_wait) as writer:
        assert writer.execution() is None
        writer.record_execution(RECORD)
        before = (writer.folder / NAME).stat().st_ino  # a new file would be another one; reading may move the access time
        writer.record_execution(RECORD)
        assert (writer.folder / NAME).stat().st_ino == before
        writer.record_execution(dataclasses.replace(RECORD, rows=1))
        assert writer.execution() == dataclasses.replace(RECORD, rows=1)


def test_a_damaged_record_is_written_anew(tmp_path: Path) -> None:
    with FeatureStore(tmp_path).writing(make_key(), "train", never_wait) as writer:
        writer.record_execution(RECORD)
        put(writer.folder, RECORD.to_bytes()[:-10])
        assert writer.execution() is None
        writer.record_execution(RECORD)
        assert writer.execution() == RECORD


def test_removing_a_set_removes_its_record(tmp_path: Path) -> None:
    with FeatureStore(tmp_path).writing(make_key(), "train", never_wait) as writer:
        writer.record_execution(RECORD)
        writer.remove()
        assert list(writer.folder.iterdir()) == []
