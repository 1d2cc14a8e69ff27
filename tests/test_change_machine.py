"""Whatever becomes of a folder of pictures, and wherever a run is killed: the set is bit for bit one computed from nothing.

Hypothesis draws what is done to the folder and to the features directory. After each step the folder is extracted, compared
with a run into an empty directory, and it is counted that only pictures that were nowhere went through the backbone.
"""

import contextlib
import dataclasses
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from extract_samples import Interrupted, QuarterMeans, RecordingObserver, encoded, no_body, picture
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headstart.core.cache import writer as writer_module
from headstart.core.cache.errors import FeaturesDamaged
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.files import write_durably
from headstart.core.cache.shard import Rows, decode_shard
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.verify import problems
from headstart.core.extract import datasets
from headstart.core.extract.backbones import Backbone
from headstart.core.extract.config import ExtractConfig
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import Device
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.run import Outcome, extract
from headstart.core.extract.weights import Weights

CLASSES = ("a", "b", "c")
MOST = 14
places = st.integers(0, 10**6)


def bits(rows: Rows) -> list[object]:
    """All of a set's rows, to the bit."""
    assert rows.digests is not None
    arrays = (rows.features, rows.labels, rows.digests)
    return [*((array.dtype, array.shape, array.tobytes()) for array in arrays), rows.ids.tolist()]


@contextlib.contextmanager
def killed_at(write: int, torn: bool) -> Iterator[None]:
    """Every process dies at its `write`-th write: before it, or `torn`, when half of a temporary file is there."""
    count = 0

    def write_or_die(path: Path, content: bytes, *ending: str) -> None:
        nonlocal count
        count += 1
        if count >= write:
            if torn:
                path.with_name(f".{path.name}.k1ll3d.tmp").write_bytes(content[: len(content) // 2])
            raise Interrupted
        write_durably(path, content, *ending)

    with mock.patch.object(writer_module, "write_durably", write_or_die), contextlib.suppress(Interrupted):
        yield


class ChangeMachine(RuleBasedStateMachine):
    """A folder of pictures, its features, what is done to both, and readers of sets that were complete once."""

    @initialize()
    def begin(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="change-machine-"))
        self.photos, self.store = self.top / "photos", FeatureStore(self.top / "features")
        self.seed = 0
        self.readers: list[tuple[FeatureSet, list[object]]] = []
        for name in CLASSES[:2]:
            for _ in range(3):
                self.place(name)
        self.known = set[str]()

    def teardown(self) -> None:
        if hasattr(self, "top"):
            shutil.rmtree(self.top)

    def place(self, name: str) -> None:
        """A new picture in a class."""
        self.seed += 1
        path = self.photos / name / f"{self.seed}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(8, 8, seed=self.seed), "BMP"))

    def pictures(self) -> list[Path]:
        """The pictures that are there, by name."""
        return sorted(self.photos.rglob("*.bmp"))

    def at(self, place: int) -> Path:
        """One of them."""
        there = self.pictures()
        return there[place % len(there)]

    def job(self, limit: int | None = None) -> Job:
        """The folder as it is now."""
        return Job(
            images=datasets.open_split(f"folder:{self.photos}", "all", Path("unused")),
            backbone=Backbone("quarters", 4, no_body),
            weights=Weights("file", "0" * 64, "nowhere"),
            preprocessing=Preprocessing(16),
            device=Device("cpu", "fp32", "this CPU"),
            config=ExtractConfig(shard_rows=4, batch_size=3, limit=limit),
        )

    # ---- what is done to the folder

    @precondition(lambda self: len(self.pictures()) < MOST)
    @rule(name=st.sampled_from(CLASSES))
    def add(self, name: str) -> None:
        self.place(name)

    @precondition(lambda self: len(self.pictures()) > 2)
    @rule(place=places)
    def remove(self, place: int) -> None:
        self.at(place).unlink()

    @rule(place=places)
    def rename(self, place: int) -> None:
        self.seed += 1
        self.at(place).rename(self.at(place).with_name(f"{self.seed}.bmp"))

    @rule(place=places, name=st.sampled_from(CLASSES))
    def relabel(self, place: int, name: str) -> None:
        self.seed += 1
        (self.photos / name).mkdir(exist_ok=True)
        self.at(place).rename(self.photos / name / f"{self.seed}.bmp")

    @precondition(lambda self: len(self.pictures()) < MOST)
    @rule(place=places, name=st.sampled_from(CLASSES))
    def duplicate(self, place: int, name: str) -> None:
        self.seed += 1
        (self.photos / name).mkdir(exist_ok=True)
        shutil.copy(self.at(place), self.photos / name / f"{self.seed}.bmp")

    @rule(one=places, other=places)
    def exchange(self, one: int, other: int) -> None:
        first, second = self.at(one), self.at(other)
        if first != second:
            first.rename(self.top / "aside")
            second.rename(first)
            (self.top / "aside").rename(second)

    @rule(place=places)
    def paint_over(self, place: int) -> None:
        self.seed += 1
        self.at(place).write_bytes(encoded(picture(8, 8, seed=self.seed), "BMP"))

    @rule()
    def rename_a_class(self) -> None:
        self.seed += 1
        folder = self.at(0).parent
        folder.rename(folder.with_name(f"{folder.name[0]}{self.seed}"))

    @rule()
    def move_the_folder(self) -> None:
        self.seed += 1
        new = self.top / f"place-{self.seed}" / "photos"
        new.parent.mkdir()
        self.photos = self.photos.rename(new)

    # ---- what is done to the features

    @rule(write=st.integers(1, 5), torn=st.booleans(), limit=st.none() | st.integers(1, MOST), changed=st.booleans())
    def be_killed(self, write: int, torn: bool, limit: int | None, changed: bool) -> None:
        self.place(CLASSES[0])
        with killed_at(write, torn):
            extract(self.job(limit), lambda _: QuarterMeans(), self.store, RecordingObserver())
        if changed:  # before the run that goes on
            self.place(CLASSES[0])

    @rule(limit=st.integers(1, MOST), name=st.sampled_from(CLASSES))
    def extract_the_first(self, limit: int, name: str) -> None:
        """Of a folder that has changed: no rows are lost, unless they cost more than the limit allows."""
        self.place(name)
        backbone, there = QuarterMeans(), self.kept()
        features = extract(self.job(limit), lambda _: backbone, self.store, RecordingObserver()).features
        stop, images = features.manifest.stop, self.job().images
        part = FeatureStore(self.top / "part")
        fresh = bits(extract(self.job(stop), lambda _: QuarterMeans(), part, RecordingObserver()).features.load())
        shutil.rmtree(part.root)
        if features.manifest.provenance.split_rows == images.rows:
            assert bits(features.load()) == fresh
            assert backbone.seen <= limit
            assert stop == images.rows or len({*images.fingerprints(0, images.rows)} - there) > limit

    @rule(place=places, byte=places)
    def damage(self, place: int, byte: int) -> None:
        shards = sorted(self.store.root.glob("*/shard-*.h5"))
        if shards:
            path = shards[place % len(shards)]
            content = bytearray(path.read_bytes())
            content[byte % len(content)] ^= 1
            path.write_bytes(content)
            self.readers = [(found, rows) for found, rows in self.readers if found.folder != path.parent]

    @rule()
    def extract_twice_at_once(self) -> None:
        outcomes = list[Outcome]()

        def run() -> None:
            outcomes.append(extract(self.job(), lambda _: QuarterMeans(), self.store, RecordingObserver()))

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({outcome.features.folder for outcome in outcomes}) == 1

    # ---- what must hold

    @invariant()
    def the_set_is_one_computed_from_nothing(self) -> None:
        if not hasattr(self, "top"):
            return
        job, backbone, there = self.job(), QuarterMeans(), self.kept()
        outcome = extract(job, lambda _: backbone, self.store, RecordingObserver())
        empty = FeatureStore(self.top / "empty")
        fresh = extract(job, lambda _: QuarterMeans(), empty, RecordingObserver()).features
        contents = set(job.images.fingerprints(0, job.images.rows))
        assert backbone.seen == len(contents - there)
        assert bits(outcome.features.load()) == bits(fresh.load())
        assert problems(outcome.features.folder) == []
        shutil.rmtree(empty.root)
        self.readers = [*self.readers[-2:], (outcome.features, bits(outcome.features.load()))]

    def kept(self) -> set[str]:
        """The contents that some whole shard has, of a complete set or as a killed run has left it."""
        found, listed = list[Rows](), set[Path]()
        for features in self.store.sets():
            for index, record in enumerate(features.manifest.shards):
                listed.add(features.folder / record.file)
                with contextlib.suppress(FeaturesDamaged):
                    found.append(features.read(index).rows)
        for path in {*self.store.root.glob("*/shard-*.h5")} - listed:
            with contextlib.suppress(FeaturesDamaged):
                found.append(decode_shard(path.read_bytes(), path.name).rows)
        return {row.tobytes().hex() for rows in found if rows.digests is not None for row in rows.digests}

    @invariant()
    def readers_of_earlier_sets_read_what_they_opened(self) -> None:
        for found, rows in getattr(self, "readers", []):
            assert bits(dataclasses.replace(found).load()) == rows


TestChangeMachine = ChangeMachine.TestCase
TestChangeMachine.settings = settings(
    max_examples=8, stateful_step_count=12, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
