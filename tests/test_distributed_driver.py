"""The driver hands out shards and outlives workers: whatever dies, the set is that of one process, or nothing is lost."""

import dataclasses
import queue
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cache_samples import flip
from extract_samples import Interrupted, QuarterMeans, RecordingObserver, file_images
from run_samples import job, run, run_finding_all, shards, tiny

from headstart.core.cache.errors import DeviceUnavailable, FeaturesInvalid, ImageUnreadable, WorkerLost
from headstart.core.cache.store import FeatureStore
from headstart.core.extract.config import ExecutorConfig
from headstart.core.extract.distributed import driver, shift
from headstart.core.extract.distributed.driver import Team
from headstart.core.extract.distributed.hands import Advanced
from headstart.core.extract.distributed.shift import MOST_LOSSES, MOST_STARTS
from headstart.core.extract.distributed.worker import Answer, Worker
from headstart.core.extract.executors import processes
from headstart.core.extract.job import Job
from headstart.core.extract.network.interface import Extractor
from headstart.core.extract.rows.computing import Backbone
from headstart.core.extract.run import Outcome, extract

KILLED = WorkerLost("killed by signal 9")


@dataclasses.dataclass(frozen=True)
class Moment:
    """When a worker is asked for something: the `life`-th one of a place, for the shard `index` or none."""

    place: int
    life: int
    what: str
    index: int | None


class Own(Worker):
    """A worker in this process, whose job needs no planning."""

    def __init__(self, job: Job, extractor: Extractor) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # it is told of no job, it has one
        self._backbone = Backbone(job, lambda _: extractor, self._told)


@dataclasses.dataclass
class FakeHand:
    """A worker that answers at once, unless fate has something else for it."""

    name: str
    place: int
    life: int
    worker: Own
    hands: "FakeHands"
    closed: bool = False

    def ask(self, what: str, *given: Any) -> "Future[Answer]":
        assert not self.closed
        moment = Moment(self.place, self.life, what, given[0].part.index if what == "make" else None)
        self.hands.asked.append(moment)
        found: Future[Answer] = Future()
        if what == "make":
            self.hands.advanced.put((self.name, 1))
        fate = self.hands.fate(moment)
        if isinstance(fate, WorkerLost):
            found.set_exception(fate)
        elif isinstance(fate, DeviceUnavailable | ImageUnreadable):
            found.set_result(Answer(error=fate))
        elif fate != "never":
            found.set_result(self.worker.answer(what, *given))
        return found

    def close(self) -> None:
        assert not self.closed
        self.closed = True


def nothing_happens(_: Moment) -> None:
    """The fate of workers that live for ever."""


@dataclasses.dataclass
class FakeHands:
    """Places for workers, each with what `extractor` gives for a place."""

    job: Job
    count: int = 2
    fate: Callable[[Moment], Any] = nothing_happens
    extractor: Callable[[int], Extractor] = lambda _: QuarterMeans()
    advanced: Advanced = dataclasses.field(default_factory=queue.SimpleQueue)
    started: list[FakeHand] = dataclasses.field(default_factory=list)
    asked: list[Moment] = dataclasses.field(default_factory=list)
    closed: int = 0

    def start(self, place: int) -> FakeHand:
        life = sum(hand.place == place for hand in self.started)
        worker = Own(self.job, self.extractor(place))
        self.started.append(FakeHand(f"fake {place + 1}", place, life, worker, self))
        return self.started[-1]

    def close(self) -> None:
        self.closed += 1

    @property
    def made(self) -> list[int]:
        """The shards that workers were asked for, in order of their numbers."""
        return sorted(one.index for one in self.asked if one.index is not None)


@dataclasses.dataclass
class Driven:
    """Runs of jobs by fake hands."""

    patch: pytest.MonkeyPatch
    store: FeatureStore

    def run(self, hands: FakeHands, observer: RecordingObserver | None = None) -> Outcome:
        self.patch.setattr(processes, "crew", lambda *given: Team(given[1], given[2], hands))

        def load(_: Job) -> Extractor:
            raise AssertionError("the driver loaded a network")

        way = ExecutorConfig("processes", hands.count)
        try:
            return extract(hands.job, load, self.store, observer or RecordingObserver(), executor=way)
        finally:
            assert hands.closed == 1
            assert all(hand.closed for hand in hands.started)


@pytest.fixture
def driven(monkeypatch: pytest.MonkeyPatch, store: FeatureStore) -> Driven:
    return Driven(monkeypatch, store)


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, bytes]:
    """The shards of the same job by one process."""
    own = FeatureStore(tmp_path / "alone")
    run(tiny(), own)
    return shards(own)


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_workers_make_what_one_process_makes(driven: Driven, alone: dict[str, bytes], count: int) -> None:
    hands, observer = FakeHands(tiny(), count), RecordingObserver()
    outcome = driven.run(hands, observer)
    assert shards(driven.store) == alone
    assert outcome.computed == 18 == sum(observer.advanced)
    assert hands.made == [0, 1, 2, 3, 4]
    assert len(hands.started) == min(count, 5)  # no more workers than shards
    assert [(rows, done) for _, rows, done in observer.begun] == [(18, 0)]
    assert [one.done for one in observer.told] == [1, 2, 3, 4, 5]
    assert {one.total for one in observer.told} == {5}
    assert not observer.notes
    manifest = outcome.features.manifest
    assert manifest.elapsed_s == pytest.approx(outcome.elapsed_s, abs=0.01)  # by the clock, however many there are
    assert manifest.provenance.batch_size == 3
    run_finding_all(hands.job, driven.store)


@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_a_complete_set_is_mended(driven: Driven, alone: dict[str, bytes], damage: Callable[[Path], object]) -> None:
    folder = driven.run(FakeHands(tiny(), 2)).features.folder
    damage(folder / "shard-00003.h5")
    again = FakeHands(tiny(), 2)
    driven.run(again)
    assert again.made == [3]
    assert shards(driven.store) == alone


@pytest.mark.parametrize("place", [0, 1])
def test_a_worker_that_dies_in_a_shard_is_replaced(driven: Driven, alone: dict[str, bytes], place: int) -> None:
    died: list[Moment] = []

    def fate(one: Moment) -> Any:
        if one.what == "make" and (one.place, one.life) == (place, 0):
            died.append(one)
            return KILLED
        return None

    hands, observer = FakeHands(tiny(), 2, fate), RecordingObserver()
    driven.run(hands, observer)
    (lost,) = died
    assert shards(driven.store) == alone
    assert observer.notes == [f"fake {place + 1} was killed by signal 9; shard {lost.index} is made anew"]
    assert -1 in observer.advanced  # the row that the dead one had told of is taken back
    assert sum(observer.advanced) == 18
    assert observer.told[-1].lost == 1
    assert [hand.place for hand in hands.started].count(place) == 2


def test_a_shard_that_ends_every_worker_ends_the_run_with_what_is_done_kept(
    driven: Driven, alone: dict[str, bytes]
) -> None:
    hands = FakeHands(tiny(), 2, lambda one: KILLED if one.index == 2 else None)
    sentence = r"rows 8 to 12 have cost 4 workers, the last one killed by signal 9; .*the same command goes on from there"
    with pytest.raises(WorkerLost, match=sentence):
        driven.run(hands)
    assert hands.made.count(2) == MOST_LOSSES
    done = shards(driven.store)
    assert done
    assert done.items() <= alone.items()
    again = FakeHands(tiny(), 2)
    driven.run(again)
    assert shards(driven.store) == alone
    assert len(again.made) == 5 - len(done)


@pytest.mark.parametrize("what", ["load", "prepare"])
def test_a_first_worker_that_dies_before_it_begins_is_replaced(driven: Driven, alone: dict[str, bytes], what: str) -> None:
    hands = FakeHands(tiny(), 2, lambda one: KILLED if (one.place, one.what) == (0, what) and one.life < 2 else None)
    driven.run(hands)
    assert shards(driven.store) == alone
    assert sorted(hand.place for hand in hands.started) == [0, 0, 0, 1]


def test_all_load_before_the_first_one_measures(driven: Driven) -> None:
    hands = FakeHands(tiny(), 2)
    driven.run(hands)
    asked = [(one.place, one.what) for one in hands.asked]
    assert asked.index((1, "load")) < asked.index((0, "prepare"))


def test_one_that_does_not_load_is_not_waited_for(
    driven: Driven, alone: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "LOADING_S", 0.01)
    driven.run(FakeHands(tiny(), 2, lambda one: "never" if one.place and one.what in ("load", "prepare") else None))
    assert shards(driven.store) == alone


@pytest.mark.parametrize("what", ["load", "prepare"])
def test_first_workers_that_never_begin_end_the_run(driven: Driven, what: str) -> None:
    hands = FakeHands(tiny(), 2, lambda one: KILLED if one.what == what else None)
    with pytest.raises(WorkerLost, match=r"^fake 1 was killed by signal 9, and so were others, before they .*--num"):
        driven.run(hands)
    assert [hand.place for hand in hands.started].count(0) == MOST_STARTS
    assert all(hand.closed for hand in hands.started)
    assert not shards(driven.store)


def test_others_that_never_begin_end_the_run_where_nothing_else_is_done(driven: Driven) -> None:
    def fate(one: Moment) -> Any:
        if one.place:
            return KILLED if one.what == "prepare" else None
        return "never" if one.what == "make" else None

    hands = FakeHands(tiny(), 2, fate)
    with pytest.raises(WorkerLost, match=r"^fake 2 was killed by signal 9, and so were others, before they could begin"):
        driven.run(hands)
    assert [hand.place for hand in hands.started].count(1) == 2 * MOST_STARTS


def test_a_worker_that_needs_several_starts_while_others_work_ends_nothing(driven: Driven, alone: dict[str, bytes]) -> None:
    driven.run(FakeHands(tiny(), 2, lambda one: KILLED if one.place and one.life < 4 else None))
    assert shards(driven.store) == alone


def test_an_error_of_a_worker_is_the_runs(driven: Driven) -> None:
    hands = FakeHands(tiny(), 2, lambda one: ImageUnreadable("3.png: cut off") if one.index == 3 else None)
    with pytest.raises(ImageUnreadable, match=r"^3\.png: cut off$"):
        driven.run(hands)
    assert "shard-00003.h5" not in shards(driven.store)


def test_an_error_at_the_start_leaves_no_folder(driven: Driven) -> None:
    hands = FakeHands(tiny(), 2, lambda one: DeviceUnavailable("no such device") if one.what == "load" else None)
    with pytest.raises(DeviceUnavailable, match="no such device"):
        driven.run(hands)
    assert not driven.store.root.exists()


def test_workers_that_are_unlike_are_refused(driven: Driven) -> None:
    hands = FakeHands(tiny(), 2, extractor=lambda place: QuarterMeans(parameters=f"those of {place}"))
    with pytest.raises(
        DeviceUnavailable, match=r"^fake 2: this CPU, .* of 1…, where the first worker has this CPU, .* of 0…"
    ):
        driven.run(hands)


@pytest.mark.parametrize("place", [0, 1])
def test_a_network_that_did_not_stay_frozen_leaves_no_shard_of_the_run(driven: Driven, place: int) -> None:
    run(tiny(limit=8), driven.store)
    before = shards(driven.store)
    hands = FakeHands(tiny(), 2, extractor=lambda own: QuarterMeans(thawed=own == place))
    with pytest.raises(FeaturesInvalid, match="the stand-in changed"):
        driven.run(hands)
    assert shards(driven.store) == before


def test_a_worker_that_is_gone_before_it_is_checked_is_as_one_that_was_killed(
    driven: Driven, alone: dict[str, bytes]
) -> None:
    driven.run(FakeHands(tiny(), 2, lambda one: KILLED if one.what == "check" and one.place else None))
    assert shards(driven.store) == alone


@pytest.mark.parametrize("after", [0, 1, 5, 11])
def test_an_interruption_ends_all_workers_and_keeps_what_is_done(
    driven: Driven, alone: dict[str, bytes], after: int
) -> None:
    with pytest.raises(Interrupted):
        driven.run(FakeHands(tiny(), 2), RecordingObserver(stop_after=after))
    done = shards(driven.store)
    assert done.items() <= alone.items()
    outcome = driven.run(FakeHands(tiny(), 2))
    assert shards(driven.store) == alone
    assert outcome.computed == sum(4 if index < 4 else 2 for index in range(5) if f"shard-{index:05d}.h5" not in done)


@dataclasses.dataclass
class Shrinking(QuarterMeans):
    """Has room at first, as while it is tried."""

    def __call__(self, images: Any) -> Any:
        if self.seen > 2:
            self.room = 1
        return super().__call__(images)


def test_a_worker_that_runs_out_of_memory_says_so_and_the_set_has_the_smaller_batch(driven: Driven) -> None:
    observer = RecordingObserver()
    hands = FakeHands(tiny(), 2, extractor=lambda place: Shrinking() if place else QuarterMeans())
    outcome = driven.run(hands, observer)
    assert observer.notes == ["fake 2: out of memory; going on with batches of 1"]
    assert outcome.features.manifest.provenance.batch_size == 1
    assert outcome.computed == 18


def test_rows_that_are_kept_are_copied_by_whoever_makes_the_shard(driven: Driven, tmp_path: Path) -> None:
    images = file_images(tmp_path / "pictures", 10)
    before = run(job(images), driven.store).features.load().features
    order = [9, 1, 2, 3, 4, 5, 6, 7, 8, 0]
    turned = dataclasses.replace(images, paths=tuple(images.paths[i] for i in order))
    fifth, seventh = ((tmp_path / f"pictures/{name}.png").read_bytes() for name in ("04", "07"))
    (tmp_path / "pictures/05.png").write_bytes(fifth)  # another picture that is kept
    (tmp_path / "pictures/06.png").write_bytes(seventh + b"more")  # a new file, which shows what is kept
    observer = RecordingObserver()
    outcome = driven.run(FakeHands(job(turned), 2), observer)
    assert outcome.computed == 1
    assert outcome.features.folder.name.endswith("-2")
    expected = before[order]
    expected[5], expected[6] = before[4], before[7]
    assert np.array_equal(outcome.features.load().features, expected)
    assert sum(observer.advanced) == 1 == 10 - observer.begun[0][2]


def test_a_set_whose_rows_are_all_kept_elsewhere_needs_no_worker(driven: Driven, tmp_path: Path) -> None:
    images = file_images(tmp_path, 10)
    run(job(images), driven.store)
    turned = dataclasses.replace(images, paths=(images.paths[9], *images.paths[1:9], images.paths[0]))
    hands = FakeHands(job(turned), 2)
    assert driven.run(hands).computed == 0
    assert not hands.started


def test_pictures_that_two_shards_share_are_counted_for_both(driven: Driven, tmp_path: Path) -> None:
    images = file_images(tmp_path, 10)
    for twin in ("04.png", "09.png"):
        (tmp_path / twin).write_bytes((tmp_path / "00.png").read_bytes())
    own = FeatureStore(tmp_path / "alone")
    run(job(images), own)
    observer = RecordingObserver()
    outcome = driven.run(FakeHands(job(images), 2), observer)
    assert shards(driven.store) == shards(own)
    assert outcome.computed == sum(observer.advanced) == 10 - observer.begun[0][2]


@dataclasses.dataclass
class Impatient(RecordingObserver):
    """Ends the run after some looks."""

    looks: int = 0

    def advance(self, rows: int) -> None:
        super().advance(rows)
        self.looks += 1
        if self.looks > 50:
            raise Interrupted


def test_it_is_said_when_nobody_works_for_long(driven: Driven, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shift, "WAITING_S", 0.0)
    monkeypatch.setattr(shift, "LOOK_S", 0.01)
    monkeypatch.setattr(driver, "LOADING_S", 0.1)  # no worker that is awaited ever begins

    def fate(one: Moment) -> Any:
        return KILLED if one.what == "make" else "never" if one.life or one.place else None

    observer = Impatient()
    with pytest.raises(Interrupted):
        driven.run(FakeHands(tiny(), 2, fate), observer)
    assert "5 shards wait for a worker to start" in observer.notes
