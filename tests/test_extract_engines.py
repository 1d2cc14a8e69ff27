"""The engine and the batch size of a run: chosen once, on the disk before the first shard, and the same after a kill."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from cache_samples import flip
from extract_samples import (
    Interrupted,
    QuarterMeans,
    RecordingObserver,
    array_images,
    file_images,
    noise,
)
from run_samples import PIXELS, expected_rows, files, run, run_finding_all, tiny

from headstart.core.cache.errors import DeviceUnavailable
from headstart.core.cache.execution import NAME as EXECUTION
from headstart.core.cache.execution import Execution, read_execution
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.writer import SetWriter
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.interface import EngineConfig
from headstart.core.extract.run import Outcome

ENGINES = Device("cpu", "bf16", "this CPU")
"""A device with two engines; the stand-in gives the same features on each."""


def open_job(rows: int = 18, device: Device = ENGINES, **config: object) -> Job:
    """A job that leaves the batch size and the engine to us unless `config` names them."""
    return dataclasses.replace(tiny(rows, **{"batch_size": None, **config}), device=device)


def begun(store: FeatureStore) -> Execution | None:
    """The record of a run under way."""
    return read_execution(store.folder(open_job().named, "train"))


def config_of(outcome: Outcome) -> EngineConfig:
    return EngineConfig(outcome.features.manifest.provenance.engine, outcome.features.manifest.provenance.batch_size)


def interrupted(job: Job, store: FeatureStore, after: int = 4) -> None:
    """A run that ends when more than `after` rows are computed."""
    with pytest.raises(Interrupted, match=r"^$"):
        run(job, store, observer=RecordingObserver(stop_after=after))


def test_a_short_run_takes_the_first_way_without_a_trial(store: FeatureStore) -> None:
    extractor, observer = QuarterMeans(batch_size=16), RecordingObserver()
    outcome = run(open_job(), store, extractor, observer)
    assert (config_of(outcome), extractor.seen, observer.notes) == (EngineConfig("eager", 16), 18, [])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"engine": "compiled"}, EngineConfig("compiled", 16)),
        ({"batch_size": 5}, EngineConfig("eager", 5)),
        ({"batch_size": 5, "engine": "compiled"}, EngineConfig("compiled", 5)),
    ],
    ids=str,
)
def test_what_is_asked_for_is_done_and_told_by_the_manifest(
    store: FeatureStore, config: dict[str, object], expected: EngineConfig
) -> None:
    outcome = run(open_job(**config), store)
    assert config_of(outcome) == expected
    assert store.sets()[0].manifest.provenance == outcome.features.manifest.provenance
    assert np.array_equal(outcome.features.load().ids, expected_rows(PIXELS).ids)


@dataclasses.dataclass
class Looking(QuarterMeans):
    """Keeps the execution record that it finds in the set's folder when it is given a batch."""

    store: FeatureStore | None = None
    found: list[Execution | None] = dataclasses.field(default_factory=list)

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        assert self.store is not None
        self.found.append(begun(self.store))
        return super().__call__(images)


def test_the_way_is_on_the_disk_before_the_first_batch_and_until_the_manifest_tells_it(store: FeatureStore) -> None:
    looking = Looking(store=store)
    run(open_job(engine="compiled", batch_size=5), store, looking)
    assert set(looking.found) == {Execution("compiled", 5, 18, "this CPU")}
    assert begun(store) is None


def test_a_killed_run_is_resumed_in_the_way_it_was_begun(store: FeatureStore) -> None:
    interrupted(open_job(engine="compiled", batch_size=5), store)
    assert begun(store) == Execution("compiled", 5, 18, "this CPU")
    observer = RecordingObserver()
    outcome = run(open_job(), store, observer=observer)
    assert (outcome.computed, config_of(outcome)) == (14, EngineConfig("compiled", 5))
    assert observer.notes == ["preparing the compiled engine for batches of 5"]


def test_a_killed_run_is_resumed_in_its_way_for_fewer_rows_too(store: FeatureStore) -> None:
    interrupted(open_job(engine="compiled", batch_size=5), store)
    assert config_of(run(open_job(limit=8), store)) == EngineConfig("compiled", 5)


def test_what_a_killed_run_chose_outlives_a_shorter_one(store: FeatureStore) -> None:
    interrupted(open_job(engine="compiled", batch_size=5), store)
    run(open_job(limit=8), store)
    assert begun(store) == Execution("compiled", 5, 18, "this CPU")
    assert config_of(run(open_job(), store)) == EngineConfig("compiled", 5)
    assert begun(store) is None


def test_what_a_killed_extension_chose_outlives_a_touched_file(store: FeatureStore, tmp_path: Path) -> None:
    images = file_images(tmp_path / "photos", 12)

    def photos(**config: object) -> Job:
        return dataclasses.replace(open_job(), images=images, config=open_job(**config).config)

    run(photos(limit=4), store)
    interrupted(photos(limit=12, engine="compiled", batch_size=5), store, after=4)
    chosen = Execution("compiled", 5, 12, "this CPU")
    folder = store.folder(photos().named, images.split)
    assert read_execution(folder) == chosen
    os.utime(images.root / "00.png", ns=(0, 0))
    run_finding_all(photos(limit=4), store)
    assert read_execution(folder) == chosen
    assert config_of(run(photos(limit=12), store)) == EngineConfig("compiled", 5)
    assert read_execution(folder) is None


def test_a_shard_is_mended_in_the_way_the_set_was_made(store: FeatureStore) -> None:
    folder = run(open_job(engine="compiled", batch_size=5), store).features.folder
    flip(folder / "shard-00001.h5")
    outcome = run(open_job(), store)
    assert (outcome.computed, config_of(outcome)) == (4, EngineConfig("compiled", 5))


def test_an_extension_beyond_the_plan_is_decided_anew(store: FeatureStore) -> None:
    run(open_job(limit=8, engine="compiled", batch_size=5), store)
    interrupted(open_job(), store, after=0)
    assert begun(store) == Execution("eager", 16, 18, "this CPU")
    assert config_of(run(open_job(), store)) == EngineConfig("eager", 16)


def test_a_killed_run_whose_plan_grows_is_decided_anew(store: FeatureStore) -> None:
    interrupted(open_job(limit=8, engine="compiled", batch_size=5), store)
    assert config_of(run(open_job(), store)) == EngineConfig("eager", 16)


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "complete"])
def test_another_device_decides_anew(store: FeatureStore, killed: bool) -> None:
    asked = open_job(engine="compiled", batch_size=5)
    if killed:
        interrupted(asked, store)
    else:
        flip(run(asked, store).features.folder / "shard-00001.h5")
    other = dataclasses.replace(ENGINES, description="another CPU")
    outcome = run(open_job(device=other), store)
    assert config_of(outcome) == EngineConfig("eager", 16)
    assert outcome.features.manifest.provenance.device == "another CPU"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"batch_size": 7}, EngineConfig("compiled", 7)),
        ({"engine": "eager"}, EngineConfig("eager", 5)),
        ({"batch_size": 7, "engine": "eager"}, EngineConfig("eager", 7)),
    ],
    ids=str,
)
def test_what_is_asked_for_wins_over_what_was_recorded_and_is_recorded(
    store: FeatureStore, config: dict[str, object], expected: EngineConfig
) -> None:
    interrupted(open_job(engine="compiled", batch_size=5), store)
    interrupted(open_job(**config), store)
    assert begun(store) == Execution(expected.engine, expected.batch_size, 18, "this CPU")
    assert config_of(run(open_job(), store)) == expected


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff"], ids=["empty", "object", "list", "bytes"])
def test_a_damaged_record_is_made_anew(store: FeatureStore, content: bytes) -> None:
    interrupted(open_job(engine="compiled", batch_size=5), store)
    (store.folder(open_job().named, "train") / EXECUTION).write_bytes(content)
    assert config_of(run(open_job(), store)) == EngineConfig("eager", 16)


def test_a_run_killed_just_before_its_manifest_is_told_as_it_was_computed(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(SetWriter, "commit", killed)
        with pytest.raises(Interrupted, match=r"^$"):
            run(open_job(engine="compiled", batch_size=5), store)
    outcome = run(open_job(), store)
    assert (outcome.computed, config_of(outcome)) == (0, EngineConfig("compiled", 5))
    assert begun(store) is None


def test_a_run_that_finds_all_there_decides_and_records_nothing(store: FeatureStore) -> None:
    first = run(open_job(), store)
    folder = first.features.folder
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    for config in ({}, {"engine": "compiled"}, {"batch_size": 7}, {"limit": 5, "engine": "compiled"}):
        assert config_of(run_finding_all(open_job(**config), store)) == config_of(first)  # type: ignore[arg-type]
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert EXECUTION not in before


class NoCompiler(QuarterMeans):
    """A stand-in on a machine that can't compile."""

    def running(self, config: EngineConfig) -> QuarterMeans:
        if config.engine == "compiled":
            raise DeviceUnavailable("compiling failed (no compiler here); use --engine eager")
        return super().running(config)


def test_an_engine_that_was_asked_for_and_is_not_there_is_an_error(store: FeatureStore) -> None:
    with pytest.raises(DeviceUnavailable, match=r"compiling failed \(no compiler here\); use --engine eager"):
        run(open_job(engine="compiled"), store, NoCompiler())
    assert list(store.folder(open_job().named, "train").iterdir()) == []
    assert config_of(run(open_job(), store, NoCompiler())) == EngineConfig("eager", 16)


def test_the_engine_of_a_killed_run_that_is_not_there_any_more_is_an_error_that_loses_nothing(store: FeatureStore) -> None:
    interrupted(open_job(engine="compiled", batch_size=5), store)
    before = files(store)
    assert len(before) == 1
    with pytest.raises(DeviceUnavailable, match="use --engine eager"):
        run(open_job(), store, NoCompiler())
    assert files(store) == before
    outcome = run(open_job(engine="eager"), store, NoCompiler())
    assert (outcome.computed, config_of(outcome)) == (14, EngineConfig("eager", 5))


def test_force_forgets_the_way_too(store: FeatureStore) -> None:
    interrupted(open_job(engine="compiled", batch_size=5), store)
    assert config_of(run(open_job(force=True), store)) == EngineConfig("eager", 16)


LONG = 3400
"""Rows enough for the three batch sizes of a CPU to be tried."""


def long_job(**config: object) -> Job:
    images = array_images(noise(LONG, 8))
    return dataclasses.replace(open_job(shard_rows=1700, **config), images=images)


def test_a_long_run_is_computed_in_the_way_that_trials_showed_best(store: FeatureStore) -> None:
    observer = RecordingObserver()
    outcome = run(long_job(), store, QuarterMeans(room=8), observer)
    assert config_of(outcome) == EngineConfig("eager", 8)
    assert observer.notes == [f"not used: no room for {size} images" for size in (16, 32)]
    assert sum(observer.advanced) == LONG


def test_a_few_missing_rows_of_a_long_set_are_worth_no_trials(store: FeatureStore) -> None:
    run(long_job(limit=LONG - 10, batch_size=16), store)
    observer = RecordingObserver()
    outcome = run(long_job(), store, QuarterMeans(batch_size=16), observer)
    assert (outcome.computed, config_of(outcome), observer.notes) == (10, EngineConfig("eager", 16), [])
    assert observer.begun == [("quarters tiny train", LONG, LONG - 10)]


def test_a_long_run_that_is_resumed_makes_no_trials(store: FeatureStore) -> None:
    interrupted(long_job(batch_size=8), store, after=1700)
    extractor = QuarterMeans(batch_size=8)
    outcome = run(long_job(), store, extractor)
    assert (outcome.computed, extractor.seen, config_of(outcome)) == (1700, 1700, EngineConfig("eager", 8))
