"""Whatever happens to a feature set, and in whatever order: what loads is bit for bit what was put in, or it is refused.

Hypothesis draws the order; the judge remembers the bytes that the last commit vouched for and compares them with the
disk, and computes each row from its number.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from cache_samples import FEATURE_DIM, digests_of, make_key, make_provenance, never_wait, same_rows
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headstart.core.cache.errors import FeaturesDamaged, FeaturesNotFound
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.manifest import NAME, ShardRecord
from headstart.core.cache.shard import Rows, Shard, Skipped
from headstart.core.cache.shard_plan import Part, plan
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.verify import problems
from headstart.core.cache.writer import SetWriter

SHARD_ROWS = 4
MOST_ROWS = 14

limits = st.integers(1, MOST_ROWS)


def is_skipped(row: int) -> bool:
    """Whether the image at `row` can't be read, in this data set."""
    return row % 5 == 3


def rows_of(start: int, stop: int) -> Rows:
    """The rows of the split from `start` to `stop`, each computed from its number alone."""
    present = [row for row in range(start, stop) if not is_skipped(row)]
    features = [np.random.default_rng(row).standard_normal(FEATURE_DIM) for row in present]
    return Rows(
        features=np.array(features, dtype=np.float32).reshape(len(present), FEATURE_DIM),
        labels=np.array(present, dtype=np.int64) % 3,
        ids=np.array([str(row).encode() for row in present], dtype="S8"),
        digests=digests_of(present),
    )


def shard_of(part: Part) -> Shard:
    """The shard that an extraction computes for a part of the plan."""
    skipped = tuple(Skipped(row, str(row), "cut off") for row in range(part.start, part.stop) if is_skipped(row))
    return Shard(make_key().feature_key.digest, "1f" * 32, part.start, part.stop, rows_of(part.start, part.stop), skipped)


def document(content: bytes) -> Any:
    """What a JSON file says, however it is spaced; None where it is no JSON."""
    try:
        return json.loads(content)
    except ValueError:
        return None


class StoreMachine(RuleBasedStateMachine):
    """One feature set, what is done to it, and what the last commit vouched for (`vouched`: bytes by file name)."""

    @initialize()
    def begin(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="store-machine-"))
        self.store = FeatureStore(self.place / "features")
        self.vouched: dict[str, bytes] = {}
        self.stop = 0
        self.readers: list[FeatureSet] = []

    def teardown(self) -> None:
        if hasattr(self, "place"):
            shutil.rmtree(self.place)

    @property
    def folder(self) -> Path:
        """Where the set lies now."""
        return self.store.folder(make_key(), "train")

    def files(self) -> list[Path]:
        """The set's files on the disk, by name."""
        return sorted(self.folder.iterdir()) if self.folder.exists() else []

    def listed(self, name: str, content: bytes) -> bool:
        """Whether the content is what the last commit put there; a manifest may be spaced in another way."""
        vouched = self.vouched[name]
        return content == vouched or (name == NAME and document(content) == document(vouched))

    def whole(self, stop: int | None = None) -> bool:
        """Whether the manifest and all shards with rows below `stop` are as they were committed."""
        found = {path.name: path.read_bytes() for path in self.files()}
        if not self.vouched or NAME not in found:
            return False
        needed = [name for name in self.vouched if name == NAME or stop is None or self.first_row[name] < stop]
        return all(name in found and self.listed(name, found[name]) for name in needed)

    # ---- writing

    @rule(rows=limits, shards=st.integers(0, 3), torn=st.booleans())
    def write_some_and_be_killed(self, rows: int, shards: int, torn: bool) -> None:
        with self.store.writing(make_key(), "train", never_wait) as writer:
            self.extend(writer, rows, shards)
            if torn:
                (self.folder / ".shard-00001.h5.k1ll3d.tmp").write_bytes(b"half a sha")

    @rule(rows=limits)
    def write_all_and_commit(self, rows: int) -> None:
        with self.store.writing(make_key(), "train", never_wait) as writer:
            records = self.extend(writer, max(rows, self.stop), None)
            writer.commit(records, FEATURE_DIM, "float32", make_provenance())
        self.stop = records[-1].stop
        names = [NAME, *(record.file for record in records)]
        self.vouched = {name: (self.folder / name).read_bytes() for name in names}
        self.first_row = {record.file: record.start for record in records}
        assert self.whole()

    def extend(self, writer: SetWriter, rows: int, most: int | None) -> list[ShardRecord]:
        """What an extraction does: keep what is valid, compute the missing shards, `most` of them at most."""
        assert not list(self.folder.glob(".*"))
        present = writer.present()
        parts = plan(rows, {index: (found.start, found.stop) for index, found in present.items()}, SHARD_ROWS)
        kept = {part.index: present[part.index] for part in parts if self.fits(part, present)}
        missing = [part for part in parts if part.index not in kept][:most]
        made = {part.index: writer.put(shard_of(part), part.index, None, 0.5) for part in missing}
        return [record for _, record in sorted({**kept, **made}.items())]

    @staticmethod
    def fits(part: Part, present: dict[int, ShardRecord]) -> bool:
        """Whether a shard that is there is the one that the plan asks for."""
        return part.index in present and present[part.index].part == part

    # ---- harm

    @precondition(lambda self: self.files())
    @rule(data=st.data(), place=st.integers(0, 10**6), mask=st.integers(1, 255))
    def damage_a_byte(self, data: st.DataObject, place: int, mask: int) -> None:
        path = self.folder / data.draw(st.sampled_from([path.name for path in self.files()]))
        content = bytearray(path.read_bytes())
        content[place % len(content)] ^= mask
        path.write_bytes(content)

    @precondition(lambda self: self.files())
    @rule(data=st.data())
    def delete_a_file(self, data: st.DataObject) -> None:
        (self.folder / data.draw(st.sampled_from([path.name for path in self.files()]))).unlink()

    # ---- what harms nothing

    @precondition(lambda self: self.store.root.exists())
    @rule(name=st.sampled_from(["features", "moved", "moved again"]))
    def rename_the_features_directory(self, name: str) -> None:
        moved = FeatureStore(self.place / name)
        if not moved.root.exists():
            self.store.root.rename(moved.root)
            self.store, self.readers = moved, []

    @precondition(lambda self: self.folder.exists())
    @rule()
    def copy_the_set(self) -> None:
        copy = self.store.root / "copy"
        shutil.copytree(self.folder, copy)
        try:
            assert (problems(copy) == []) is self.whole()
            if self.whole():
                assert same_rows(self.store.get("copy").load(), rows_of(0, self.stop))
        finally:
            shutil.rmtree(copy)

    # ---- reading

    @precondition(lambda self: self.whole(0))
    @rule()
    def open_a_reader(self) -> None:
        found = self.store.open(make_key(), "train")
        assert found is not None
        self.readers = [*self.readers[-1:], found]

    @rule(one=limits, other=limits)
    def readers_take_what_they_need(self, one: int, other: int) -> None:
        for reader, limit in zip(self.readers, (one, other), strict=False):
            self.load_or_refuse(reader, limit)

    def load_or_refuse(self, reader: FeatureSet, limit: int) -> bool:
        """Load the first rows, which are the right ones; False where they are refused."""
        try:
            found = reader.load(limit)
        except FeaturesDamaged:
            return False
        except FeaturesNotFound:
            assert limit > reader.manifest.stop
            return False
        assert same_rows(found, rows_of(0, limit))
        return True

    @rule(limit=limits)
    def the_first_rows_load_exactly_where_their_shards_are_whole(self, limit: int) -> None:
        if self.whole(0) and limit <= self.stop:
            found = self.store.open(make_key(), "train")
            assert found is not None
            assert self.load_or_refuse(found, limit) is self.whole(limit)

    @invariant()
    def a_set_is_called_whole_and_loads_exactly_where_it_is_whole(self) -> None:
        if not hasattr(self, "place") or not self.folder.exists():
            return
        whole = self.whole()
        assert (problems(self.folder) == []) is whole
        assert self.loads() is whole

    def loads(self) -> bool:
        """Whether the whole set is handed out; what is, is right."""
        try:
            found = self.store.open(make_key(), "train")
            if found is None:
                return False
            rows = found.load()
        except FeaturesDamaged:
            return False
        assert found.manifest.stop == self.stop
        assert same_rows(rows, rows_of(0, self.stop))
        return True


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
