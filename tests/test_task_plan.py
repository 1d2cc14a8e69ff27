"""What tasks of an array agree on: it comes back as it went, and what is no plan of ours is named."""

import dataclasses
import json
from pathlib import Path

import pytest
from cache_samples import flip, make_key, make_provenance
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.cache.errors import FeaturesDamaged
from headstart.core.cache.files import canonical_json, sha256
from headstart.core.cache.manifest import ShardRecord
from headstart.core.cache.shard import Skipped
from headstart.core.cache.shard_plan import Part
from headstart.core.cache.task_plan import (
    NAME,
    TaskPlan,
    read_record,
    read_task_plan,
    remove_task_plan,
    write_record,
    write_task_plan,
)


def make_plan(stops: tuple[int, ...] = (4, 8, 11)) -> TaskPlan:
    return TaskPlan(make_key(), "train", 4, "float32", stops, "ab" * 32, make_provenance(notes=("one", "two")))


RECORD = ShardRecord("shard-00001.h5", 4, 8, 3, "cd" * 32, "ef" * 32, "12" * 32, 0.25, (Skipped(5, "ä/b.png", "cut off"),))


def test_a_plan_comes_back_as_it_went(tmp_path: Path) -> None:
    assert read_task_plan(tmp_path) is None
    write_task_plan(tmp_path, make_plan())
    assert read_task_plan(tmp_path) == make_plan()


@given(
    rows=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    count=st.integers(1, 40),
)
def test_tasks_share_all_shards_and_no_shard_twice(rows: list[int], count: int) -> None:
    plan = make_plan(tuple(sum(rows[: i + 1]) for i in range(len(rows))))
    shares = [plan.of_task(number, count) for number in range(1, count + 1)]
    assert sorted(part for share in shares for part in share) == plan.parts
    assert [part.rows for part in plan.parts] == rows
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("place", [0, 40, 200, -3])
def test_a_plan_with_a_changed_bit_is_named(tmp_path: Path, place: int) -> None:
    write_task_plan(tmp_path, make_plan())
    flip(tmp_path / NAME, place % (tmp_path / NAME).stat().st_size)
    with pytest.raises(FeaturesDamaged, match=r"tasks\.json: not a plan of ours \(.*\); remove the file, and the next"):
        read_task_plan(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stops": [4, 4]}, "ranges do not rise"),
        ({"stops": []}, "ranges do not rise"),
        ({"stops": [4.5]}, "ranges do not rise"),
        ({"stops": [True, 3]}, "ranges do not rise"),
        ({"stops": [-1, 3]}, "ranges do not rise"),
        ({"stops": 3}, "not iterable"),
        ({"version": 2}, "expected 'headstart tasks' 1"),
        ({"format": "other"}, "expected 'headstart tasks' 1"),
        ({"more": 1}, "more"),
        ({"provenance": None}, "NoneType"),
        ({"key": []}, ""),
    ],
)
def test_a_plan_of_another_layout_is_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    document = {**json.loads(make_plan().to_bytes()), **change}
    document.pop("sha256_of_this")
    (tmp_path / NAME).write_text(json.dumps({**document, "sha256_of_this": sha256(canonical_json(document))}))
    with pytest.raises(FeaturesDamaged, match=rf"tasks\.json: not a plan of ours \(.*{said}.*\); remove the file"):
        read_task_plan(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{}", b"\xff", b'{"sha256_of_this": 3}'])
def test_what_is_no_document_of_ours_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(FeaturesDamaged, match=r"tasks\.json: not a plan of ours"):
        read_task_plan(tmp_path)


def test_a_record_comes_back_as_it_went(tmp_path: Path) -> None:
    part = Part(1, 4, 8)
    assert read_record(tmp_path, part) is None
    write_record(tmp_path, RECORD)
    assert read_record(tmp_path, part) == RECORD
    assert read_record(tmp_path, Part(1, 4, 7)) is None  # of another plan
    (tmp_path / "shard-00002.json").write_bytes((tmp_path / "shard-00001.json").read_bytes())
    assert read_record(tmp_path, Part(2, 8, 11)) is None
    flip(tmp_path / "shard-00001.json")
    assert read_record(tmp_path, part) is None


def test_plan_and_records_go_and_shards_stay(tmp_path: Path) -> None:
    write_task_plan(tmp_path, make_plan())
    write_record(tmp_path, RECORD)
    write_record(tmp_path, dataclasses.replace(RECORD, file="shard-00002.h5"))
    for name in ("shard-00001.h5", "manifest.json", "files.bin"):
        (tmp_path / name).touch()
    remove_task_plan(tmp_path)
    remove_task_plan(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files.bin", "manifest.json", "shard-00001.h5"]
