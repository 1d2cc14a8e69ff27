"""Engine and batch size of a run: all splits of a command decide together, and none takes another than its sibling."""

import dataclasses
from pathlib import Path

import pytest
from extract_samples import Interrupted, QuarterMeans, RecordingObserver, array_images, no_body, noise

from headstart.core.cache.store import FeatureStore
from headstart.core.extract.backbones import Backbone
from headstart.core.extract.config import ExtractConfig
from headstart.core.extract.job import Job
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.interface import EngineConfig
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.run import Outcome, extract
from headstart.core.extract.tuning.trials import TRIAL_PART
from headstart.core.extract.weights import Weights

CPU = Device("cpu", "bf16", "this CPU")
FIRST = EngineConfig("eager", 16)
TRIED = int(3 * (16 + 32 + 8) / TRIAL_PART) + 1
"""Rows enough for batch sizes to be tried."""


def job(split: str, rows: int = 20, device: Device = CPU, name: str = "tiny", **config: object) -> Job:
    own = ["train", "test", "all"].index(split) + 3 * (name != "tiny")  # pictures of its own: equal ones would be copied
    images = dataclasses.replace(array_images(noise(rows, 8, seed=own)), split=split, name=name)
    return Job(
        images=images,
        backbone=Backbone("quarters", 4, no_body),
        weights=Weights("file", "0" * 64, "nowhere"),
        preprocessing=Preprocessing(16),
        device=device,
        config=ExtractConfig(**config),  # type: ignore[arg-type]
    )


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path)


def config_of(outcome: Outcome) -> EngineConfig:
    origin = outcome.features.manifest.provenance
    return EngineConfig(origin.engine, origin.batch_size)


def configs(
    store: FeatureStore, *jobs: Job, notes: list[str] | None = None, stop_after: int | None = None
) -> list[EngineConfig]:
    """How the jobs of one command are computed, by one network."""
    network, observer = QuarterMeans(batch_size=16, room=20), RecordingObserver(stop_after=stop_after)
    if notes is not None:
        observer.notes = notes
    made = [extract(one, lambda _: network, store, observer, jobs[i + 1 :]) for i, one in enumerate(jobs)]
    return [config_of(outcome) for outcome in made]


def test_the_rows_of_all_splits_count_towards_what_trials_may_cost(store: FeatureStore) -> None:
    part = TRIED // 2 + 1
    notes = list[str]()
    train, test = configs(store, job("train", part), job("test", part), notes=notes)
    assert train == test
    assert "not used: no room for 32 images" in notes  # it was tried, which neither would have been worth alone


def test_rows_that_are_there_count_for_nothing(store: FeatureStore) -> None:
    part, notes = TRIED // 2 + 1, list[str]()
    configs(store, job("test", part, engine="eager", batch_size=16, name="other"))
    configs(store, job("train", part), job("test", part, name="other"), notes=notes)
    assert notes == []


def test_another_network_decides_for_itself(store: FeatureStore) -> None:
    part, notes = TRIED // 2 + 1, list[str]()
    other = dataclasses.replace(job("test", part), weights=Weights("file", "1" * 64, "elsewhere"))
    configs(store, job("train", part), other, notes=notes)
    assert notes == []


MADE = {"engine": "compiled", "batch_size": 5}


@pytest.mark.parametrize(("first", "second"), [("train", "test"), ("test", "train")])
def test_a_split_that_is_added_is_computed_as_the_other_was(store: FeatureStore, first: str, second: str) -> None:
    notes = list[str]()
    assert configs(store, job(first, **MADE)) == [EngineConfig("compiled", 5)]
    assert configs(store, job(second), notes=notes) == [EngineConfig("compiled", 5)]
    assert notes == [
        f"quarters tiny {second}: computed as {first} was, compiled in batches of 5; "
        f"--engine and --batch-size say another way",
        "preparing the compiled engine for batches of 5",
    ]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"engine": "eager"}, EngineConfig("eager", 5)),
        ({"batch_size": 7}, EngineConfig("compiled", 7)),
        ({"engine": "eager", "batch_size": 7}, EngineConfig("eager", 7)),
    ],
    ids=str,
)
def test_what_is_asked_for_comes_before_the_other_split(
    store: FeatureStore, config: dict[str, object], expected: EngineConfig
) -> None:
    configs(store, job("train", **MADE))
    assert configs(store, job("test", **config)) == [expected]


def test_an_extension_is_computed_as_the_other_split_was(store: FeatureStore) -> None:
    configs(store, job("test", **MADE))
    configs(store, job("train", limit=8, engine="eager", batch_size=3))
    assert configs(store, job("train")) == [EngineConfig("compiled", 5)]


def test_a_run_goes_on_as_it_was_begun_whatever_the_other_split(store: FeatureStore) -> None:
    configs(store, job("test", **MADE))
    with pytest.raises(Interrupted, match=r"^$"):
        configs(store, job("train", engine="eager", batch_size=3, shard_rows=5), stop_after=6)
    assert configs(store, job("train")) == [EngineConfig("eager", 3)]


def test_a_split_that_a_killed_run_began_is_a_sibling_too(store: FeatureStore) -> None:
    with pytest.raises(Interrupted, match=r"^$"):
        configs(store, job("train", shard_rows=5, **MADE), stop_after=6)
    assert configs(store, job("test")) == [EngineConfig("compiled", 5)]
    assert configs(store, job("train")) == [EngineConfig("compiled", 5)]


def test_splits_that_are_both_extended_decide_anew_together(store: FeatureStore) -> None:
    configs(store, job("train", limit=8, **MADE), job("test", limit=8, **MADE))
    assert configs(store, job("train"), job("test")) == [FIRST, FIRST]


def test_splits_that_are_both_made_anew_decide_anew_together(store: FeatureStore) -> None:
    configs(store, job("train", **MADE), job("test", **MADE))
    assert configs(store, job("train", force=True), job("test", force=True)) == [FIRST, FIRST]


@pytest.mark.parametrize(
    "other",
    [
        job("test", device=dataclasses.replace(CPU, description="another CPU")),
        job("test", name="other"),
        dataclasses.replace(job("test"), weights=Weights("file", "1" * 64, "elsewhere")),
    ],
    ids=["device", "data set", "weights"],
)
def test_what_is_no_sibling_decides_nothing(store: FeatureStore, other: Job) -> None:
    configs(store, job("train", **MADE))
    assert configs(store, other) == [FIRST]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"], ids=["empty", "object", "bytes"])
def test_a_damaged_sibling_decides_nothing_and_stops_nobody(store: FeatureStore, content: bytes) -> None:
    configs(store, job("train", **MADE))
    (store.folder(job("train").named, "train") / "manifest.json").write_bytes(content)
    assert configs(store, job("test")) == [FIRST]
    (store.folder(job("test").named, "test") / "manifest.json").write_bytes(content)
    assert configs(store, job("all"), job("test"))[0] == FIRST


def test_memory_that_ran_out_for_one_split_is_remembered_for_the_other(store: FeatureStore) -> None:
    train, test = configs(store, job("train", batch_size=32), job("test"))
    assert train == test == EngineConfig("eager", 16)
