"""A run that goes on after a kill reads no shard again that is what it was, and believes no receipt that is not right."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cache_samples import EDGES, flip, make_key, make_shards, never_wait, put_all
from heads_samples import ROOT

from headstart.core.cache import receipts
from headstart.core.cache.foreign import ForeignReader
from headstart.core.cache.manifest import ShardRecord
from headstart.core.cache.receipts import NAME, Receipts
from headstart.core.cache.shard import ShardFacts
from headstart.core.cache.store import FeatureStore

SHARDS = make_shards(np.random.default_rng(0))
KEY = make_key()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    """A place whose clock is exact: a file needs no time to be known as settled."""
    monkeypatch.setattr(receipts, "SETTLED_S", 0.0)
    return FeatureStore(tmp_path)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the shards that were given to a child to be parsed."""
    names: list[str] = []
    read = ForeignReader.read

    def told(self: ForeignReader, content: bytes, where: str) -> ShardFacts:
        names.append(Path(where).name)
        return read(self, content, where)

    monkeypatch.setattr(ForeignReader, "read", told)
    return names


def begun(store: FeatureStore) -> tuple[Path, list[ShardRecord]]:
    """What a killed run leaves: shards and their receipts."""
    with store.writing(KEY, "train", never_wait) as writer:
        return writer.folder, [writer.put(shard, index, "5c" * 32, 0.5) for index, shard in enumerate(SHARDS)]


def present(store: FeatureStore) -> tuple[list[ShardRecord], list[str]]:
    with store.writing(KEY, "train", never_wait) as writer:
        return list(writer.present().values()), writer.damaged


def test_what_was_written_is_known_again_without_being_read(store: FeatureStore, parsed: list[str]) -> None:
    _, made = begun(store)
    assert present(store) == (made, [])  # with the seconds and the stat, which a shard alone can't tell
    assert parsed == []


def test_a_file_that_was_written_just_now_is_not_believed(tmp_path: Path, parsed: list[str]) -> None:
    store = FeatureStore(tmp_path)
    folder, made = begun(store)
    assert not (folder / NAME).exists()
    found, damaged = present(store)
    assert [record.sha256 for record in found] == [record.sha256 for record in made]
    assert (damaged, len(parsed)) == ([], len(SHARDS))


def rewritten(path: Path) -> None:
    path.write_bytes(path.read_bytes())


def replaced(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize("change", [rewritten, replaced, os.utime], ids=["rewritten", "replaced", "touched"])
def test_a_file_that_is_no_longer_what_it_was_is_read(
    store: FeatureStore, parsed: list[str], change: Callable[[Path], object]
) -> None:
    folder, _ = begun(store)
    change(folder / "shard-00001.h5")
    assert len(present(store)[0]) == len(SHARDS)
    assert parsed == ["shard-00001.h5"]


def test_a_shard_that_was_damaged_since_is_named(store: FeatureStore) -> None:
    folder, made = begun(store)
    flip(folder / "shard-00001.h5")
    assert present(store) == ([made[0], made[2]], ["shard-00001.h5"])


def test_a_shard_that_is_gone_is_gone(store: FeatureStore) -> None:
    folder, made = begun(store)
    (folder / "shard-00002.h5").unlink()
    assert present(store) == (made[:2], [])


def test_a_copied_folder_is_read_anew(store: FeatureStore, parsed: list[str]) -> None:
    folder, _ = begun(store)
    shutil.copytree(folder, folder.with_name("elsewhere"))
    shutil.rmtree(folder)
    folder.with_name("elsewhere").rename(folder)
    assert len(present(store)[0]) == len(SHARDS)
    assert len(parsed) == len(SHARDS)


def altered(line: str) -> str:
    found = json.loads(line)
    found["record"]["sha256"] = "00" * 32
    return json.dumps(found)


LINES: dict[str, Callable[[str], str]] = {
    "cut": lambda line: line[:-9],
    "altered": altered,
    "no JSON": "x{}".format,
    "empty": lambda _: "",
    "a list": lambda _: "[]",
    "bytes": lambda _: "\udcff\udcfe",
}


@pytest.mark.parametrize("damage", LINES.values(), ids=LINES)
def test_a_line_that_is_damaged_counts_for_nothing(
    store: FeatureStore, parsed: list[str], damage: Callable[[str], str]
) -> None:
    folder, made = begun(store)
    first, *others = [line for line in (folder / NAME).read_text().splitlines() if line]
    text = "\n".join([damage(first), *others]) + "\n"
    (folder / NAME).write_bytes(text.encode("utf-8", "surrogateescape"))
    found = present(store)[0]
    assert [record.sha256 for record in found] == [record.sha256 for record in made]
    assert parsed == ["shard-00000.h5"]


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 4},
        {"start": -1},
        {"file": "../shard-00000.h5"},
        {"sha256": 5},
        {"skipped": [{"row": 9, "id": "", "reason": ""}]},
    ],
    ids=str,
)
def test_a_record_that_cant_be_a_shards_counts_for_nothing(store: FeatureStore, change: dict[str, object]) -> None:
    folder, made = begun(store)
    own = Receipts(folder, KEY.feature_key.digest)
    wrong = {**dataclasses.asdict(made[0]), **change}
    content = {"key": KEY.feature_key.digest, "record": wrong, "facts": receipts.facts_of(folder / "shard-00000.h5")}
    digest = receipts.sha256(receipts.canonical_json(content))
    (folder / NAME).write_bytes(receipts.canonical_json({**content, "sha256": digest}) + b"\n")
    assert own.known() == {}


def test_receipts_of_another_key_count_for_nothing(store: FeatureStore) -> None:
    folder, _ = begun(store)
    assert set(Receipts(folder, KEY.feature_key.digest).known()) == {0, 1, 2}
    assert Receipts(folder, "5c" * 32).known() == {}


def test_the_last_line_of_a_shard_counts(store: FeatureStore) -> None:
    begun(store)
    _, made = begun(store)  # made anew, as after a driver that lost its memory
    assert present(store)[0] == made


def test_a_complete_set_has_no_receipts(store: FeatureStore) -> None:
    with store.writing(KEY, "train", never_wait) as writer:
        features = put_all(writer, SHARDS)
    assert not (features.folder / NAME).exists()
    assert features.load() is not None


def test_a_set_that_was_begun_is_removed_with_its_receipts(store: FeatureStore) -> None:
    folder, _ = begun(store)
    store.remove_begun(KEY, "train", but=None)
    assert not folder.exists()
    folder, _ = begun(store)
    assert store.remove(folder.name, never_wait) > 0


def test_a_full_disk_costs_no_shard(store: FeatureStore) -> None:
    with store.writing(KEY, "train", never_wait) as writer:
        (writer.folder / NAME).mkdir()  # what can't be written, whoever runs the test
        record = writer.put(SHARDS[0], 0, None, 0.5)
        assert (writer.folder / record.file).is_file()
        (writer.folder / NAME).rmdir()


def test_receipts_outlive_a_killed_process(store: FeatureStore, parsed: list[str]) -> None:
    code = (
        "import os, sys, numpy; sys.path[:0] = sys.argv[1:3]\n"
        "from test_receipts import KEY, SHARDS; from cache_samples import never_wait\n"
        "from headstart.core.cache import receipts; from headstart.core.cache.store import FeatureStore\n"
        "from pathlib import Path; receipts.SETTLED_S = 0.0\n"
        "with FeatureStore(Path(sys.argv[3])).writing(KEY, 'train', never_wait) as writer:\n"
        "    for index, shard in enumerate(SHARDS[:2]): writer.put(shard, index, None, 0.5)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ROOT), str(ROOT / "tests"), str(store.root)], check=False)
    assert done.returncode == -9
    found, damaged = present(store)
    assert ([(record.start, record.stop) for record in found], damaged, parsed) == ([(0, 5), (5, 10)], [], [])
    assert EDGES[:3] == (0, 5, 10)
