"""Engine and batch size are chosen by their rates, and trials never cost more than a small part of the run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from extract_samples import CPU, There
from hypothesis import strategies as st

from headstart.core.cache.errors import DeviceUnavailable, HeadstartError, OutOfMemory
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.interface import EngineConfig, Pending, TuningState
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.tuning.trials import (
    ROUNDS_PER_TRIAL,
    TRIAL_PART,
    VARIANT_BATCHES,
    VARIANT_ROUNDS,
    EngineRequest,
    Trials,
    choose,
    tune,
)


class Rates:
    """A device with these rates in images per second; keeps what it was asked to measure. 0 is what can't be run."""

    def __init__(self, rates: Mapping[EngineConfig, float]) -> None:
        self.rates, self.asked = rates, list[EngineConfig]()

    def __call__(self, config: EngineConfig) -> float:
        self.asked.append(config)
        return self.rates[config]


def rates(**changes: float) -> Rates:
    """eager 16: 40/s, 32: 30/s, 8: 35/s; compiled 16: 50/s, 32: 60/s. Change one as `eager32=50`."""
    speeds = {"eager": (40.0, 30.0, 35.0), "compiled": (50.0, 60.0)}
    found = {
        EngineConfig(name, size): speed for name in SIZES for size, speed in zip(SIZES[name], speeds[name], strict=True)
    }
    return Rates({config: changes.get(f"{config.engine}{config.batch_size}", speed) for config, speed in found.items()})


SIZES = {"eager": (16, 32, 8), "compiled": (16, 32)}
TRIED = sum(SIZES["eager"])


def test_what_is_asked_for_is_not_measured() -> None:
    device = rates()
    assert choose(10**6, {"compiled": (32,)}, device) == EngineConfig("compiled", 32)
    assert device.asked == []


def test_a_short_run_measures_nothing() -> None:
    device = rates()
    assert choose(300, SIZES, device) == EngineConfig("eager", 16)
    assert device.asked == []


def test_batches_at_once_cost_a_trial_as_many_images() -> None:
    images = ROUNDS_PER_TRIAL * TRIED / TRIAL_PART
    for concurrent in (1, 2, 8):
        for rows, tried in ((images * concurrent - 1, False), (images * concurrent + 1, True)):
            device = rates()
            choose(int(rows), SIZES, device, concurrent)
            assert bool(device.asked) == tried


def test_a_longer_run_tries_the_batch_sizes_and_compiles_nothing() -> None:
    device = rates(eager32=41.0)
    assert choose(4_000, SIZES, device) == EngineConfig("eager", 32)
    assert {config.engine for config in device.asked} == {"eager"}


@pytest.mark.parametrize("favourite", [{}, {"eager8": 49.0}, {"eager32": 49.0}], ids=str)
def test_a_compiled_network_is_tried_with_its_own_favourite_not_the_eager_ones(favourite: dict[str, float]) -> None:
    device = rates(**favourite)
    assert choose(24_000, SIZES, device) == EngineConfig("compiled", 16)
    assert device.asked[-1] == EngineConfig("compiled", 16)


def test_a_very_long_run_compiles_for_another_size_too() -> None:
    assert choose(60_000, SIZES, rates()) == EngineConfig("compiled", 32)
    assert choose(60_000, SIZES, rates(compiled32=49.0)) == EngineConfig("compiled", 16)


def test_where_the_favourite_size_gains_nothing_no_other_is_compiled_for() -> None:
    device = rates(compiled16=39.0)
    assert choose(10**6, SIZES, device) == EngineConfig("eager", 16)
    assert EngineConfig("compiled", 32) not in device.asked


def test_what_can_not_be_run_is_not_chosen() -> None:
    assert choose(24_000, SIZES, rates(compiled16=0.0)) == EngineConfig("eager", 16)
    assert choose(24_000, SIZES, rates(eager16=0.0, compiled16=0.0)) == EngineConfig("eager", 8)
    nothing = Rates(dict.fromkeys(rates().rates, 0.0))
    assert choose(24_000, SIZES, nothing) == EngineConfig("eager", 16)  # whose own error then reaches the user


# ---- what the process knows already


def test_a_network_that_is_compiled_already_is_tried_however_short_the_run() -> None:
    state = TuningState(ready={EngineConfig("compiled", 16): "a network"})
    rows = int(ROUNDS_PER_TRIAL * TRIED / TRIAL_PART) + 1
    assert choose(rows, SIZES, rates()) == EngineConfig("eager", 16)
    assert choose(rows, SIZES, rates(), state=state) == EngineConfig("compiled", 16)


@pytest.mark.parametrize("rows", [16, 300, 24_000])
def test_what_was_chosen_for_as_many_rows_is_chosen_again_unmeasured(rows: int) -> None:
    device, state = rates(), TuningState(chosen=EngineConfig("compiled", 16), rows=24_000)
    assert choose(rows, SIZES, device, state=state) == EngineConfig("compiled", 16)
    assert device.asked == []


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [(24_001, SIZES), (15, SIZES), (300, {"eager": (16, 32, 8)}), (100, {"eager": (4,), "compiled": (4,)})],
    ids=["more rows", "less than a batch", "another engine asked for", "another size asked for"],
)
def test_what_was_chosen_for_something_else_decides_nothing(rows: int, sizes: dict[str, tuple[int, ...]]) -> None:
    state = TuningState(chosen=EngineConfig("compiled", 16), rows=24_000)
    device = rates(compiled16=1.0, compiled32=1.0)
    assert choose(rows, sizes, device, state=state).engine == "eager"


SPEEDS = st.floats(0.1, 1e5)


@hypothesis.given(st.integers(1, 10**7), st.fixed_dictionaries({config: st.just(0.0) | SPEEDS for config in rates().rates}))
def test_trials_are_a_small_part_of_the_run_and_the_best_of_them_wins(rows: int, speeds: dict[EngineConfig, float]) -> None:
    device = Rates(speeds)
    chosen = choose(rows, SIZES, device)
    known = {config: speeds[config] for config in device.asked}
    assert known.get(chosen, 0.0) == max(known.values(), default=0.0)
    assert sum(config.batch_size for config in device.asked if config.engine == "eager") <= rows * TRIAL_PART
    assert len(set(device.asked)) == len(device.asked)


# ---- trials


AT_6 = Preprocessing(6)


@dataclasses.dataclass
class Fake:
    """A network with engines: `made` counts the configurations that were made, `shapes` keeps the batches given to them.

    Making one, or running it, fails for the configurations that `broken` and `greedy` name. `others` are further host
    variants.
    """

    config: EngineConfig = dataclasses.field(default_factory=lambda: EngineConfig("eager", 16))
    concurrent_batches: int = 1
    broken: Mapping[EngineConfig, HeadstartError] = dataclasses.field(default_factory=dict)
    greedy: Mapping[EngineConfig, HeadstartError] = dataclasses.field(default_factory=dict)
    made: list[EngineConfig] = dataclasses.field(default_factory=list)
    shapes: list[tuple[EngineConfig, tuple[int, ...]]] = dataclasses.field(default_factory=list)
    tuning: TuningState = dataclasses.field(default_factory=TuningState)
    others: tuple[Fake, ...] = ()
    device: Device = CPU
    preprocessing: Preprocessing = AT_6

    @property
    def host_variants(self) -> tuple[Fake, ...]:
        return (self, *self.others)

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    def running(self, config: EngineConfig) -> Fake:
        self.made.append(config)
        if config in self.broken:
            raise self.broken[config]
        return dataclasses.replace(self, config=config)

    def submit(self, images: npt.NDArray[np.uint8]) -> Pending:
        self.shapes.append((self.config, images.shape))
        assert images.dtype == np.uint8
        if self.config in self.greedy:
            raise self.greedy[self.config]
        return There(np.zeros((len(images), 4), dtype=np.float32))


COMPILED = EngineConfig("compiled", 8)


def test_a_configuration_is_measured_once_in_a_process() -> None:
    fake, notes = Fake(), list[str]()
    first = Trials(fake, notes.append).measure(COMPILED)
    assert first > 0
    assert Trials(fake.running(EngineConfig("eager", 2)), notes.append).measure(COMPILED) == first
    assert notes == ["preparing the compiled engine for batches of 8"]
    assert len(fake.shapes) == ROUNDS_PER_TRIAL


def test_what_is_ready_needs_no_preparing() -> None:
    fake, notes = Fake(tuning=TuningState(ready={COMPILED: "a network"})), list[str]()
    Trials(fake, notes.append).running(COMPILED)
    assert notes == []


def test_the_eager_engine_needs_no_preparing() -> None:
    fake, notes = Fake(), list[str]()
    trials = Trials(fake, notes.append)
    assert trials.running(EngineConfig("eager", 2)).config == EngineConfig("eager", 2)
    assert (fake.made, notes) == ([EngineConfig("eager", 2)], [])


@pytest.mark.parametrize("concurrent", [1, 3])
@pytest.mark.parametrize("config", [EngineConfig("eager", 16), COMPILED], ids=str)
def test_a_rate_is_measured_with_whole_batches_of_the_size_asked_for(config: EngineConfig, concurrent: int) -> None:
    fake = Fake(concurrent_batches=concurrent)
    rate = Trials(fake, lambda _: None).measure(config)
    assert 0 < rate < float("inf")
    assert fake.shapes == [(config, (config.batch_size, 6, 6, 3))] * (ROUNDS_PER_TRIAL * concurrent)


ERRORS = [DeviceUnavailable("compiling failed (no compiler); use --engine eager"), OutOfMemory("out of memory with 8")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("when", ["broken", "greedy"])
def test_a_configuration_that_can_not_be_run_has_no_rate_and_is_noted(error: HeadstartError, when: str) -> None:
    fake, notes = Fake(**{when: {COMPILED: error}}), list[str]()  # type: ignore[arg-type]
    trials = Trials(fake, notes.append)
    assert trials.measure(COMPILED) == trials.measure(COMPILED) == 0.0  # and is not tried again
    assert notes == ["preparing the compiled engine for batches of 8", f"not used: {error}"]
    assert trials.measure(EngineConfig("eager", 16)) > 0


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_configuration_that_can_not_be_made_is_an_error_where_it_is_to_run(error: HeadstartError) -> None:
    fake = Fake(broken={COMPILED: error})
    trials = Trials(fake, lambda _: None)
    assert trials.measure(COMPILED) == 0.0
    with pytest.raises(type(error), match=str(error).partition(" (")[0]):
        trials.running(COMPILED)


def test_another_error_is_no_reason_to_take_another_configuration() -> None:
    class Wrong(Fake):
        def running(self, config: EngineConfig) -> Fake:
            raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="a mistake of ours"):
        Trials(Wrong(), lambda _: None).measure(COMPILED)


def test_the_best_of_real_trials_is_among_what_could_be_run() -> None:
    no_room = OutOfMemory("too many")
    broken = {EngineConfig("compiled", size): ERRORS[0] for size in (16, 32)}
    fake = Fake(greedy={EngineConfig("eager", 16): no_room, EngineConfig("eager", 32): no_room}, broken=broken)
    assert choose(10**9, SIZES, Trials(fake, lambda _: None).measure) == EngineConfig("eager", 8)


def test_a_clock_that_stands_still_is_no_division_by_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.core.extract.tuning.trials.time.perf_counter", lambda: 5.0)
    assert 0 < Trials(Fake(), lambda _: None).measure(COMPILED) < float("inf")


# ---- the whole choice


@dataclasses.dataclass
class Slow(Fake):
    """A host variant that takes its time."""

    def submit(self, images: npt.NDArray[np.uint8]) -> Pending:
        time.sleep(0.002)
        return super().submit(images)


@dataclasses.dataclass
class Variants(Fake):
    """What is ready in one configuration, with other host variants of it."""

    def running(self, config: EngineConfig) -> Fake:
        ready: Fake = self.tuning.ready.get(config, self)
        return ready


@pytest.mark.parametrize("slow_first", [True, False])
def test_of_two_host_variants_the_faster_one_is_taken_and_remembered(slow_first: bool) -> None:
    config = EngineConfig("compiled", 16)
    quick, slow = Variants(config), Slow(config)
    first, second = (slow, quick) if slow_first else (quick, slow)
    first.others = (second,)
    trials: Trials[Fake] = Trials(Variants(config, tuning=TuningState(ready={config: first})), lambda _: None)
    first.tuning = trials.running(config).tuning
    assert trials.fastest_variant(config, 60_000) is quick
    assert first.tuning.ready == {config: quick}


@pytest.mark.parametrize(("rows", "measured"), [(100, False), (20_000, True)])
def test_host_variants_are_compared_once_and_where_the_run_is_long_enough(rows: int, measured: bool) -> None:
    other = Slow(EngineConfig("compiled", 16))
    fake = Variants(EngineConfig("compiled", 16), others=(other,))
    for again in (rows, rows // 2):
        assert tune(fake, EngineRequest(again, "compiled", 16)) is fake
        assert len(other.shapes) == measured * VARIANT_ROUNDS * VARIANT_BATCHES


def test_the_second_of_two_splits_is_run_as_the_first() -> None:
    fake, notes = Fake(), list[str]()
    first = tune(fake, EngineRequest(60_000), notes.append)
    shapes = len(fake.shapes)
    second = tune(fake, EngineRequest(10_000), notes.append)
    assert second.config == first.config
    assert len(fake.shapes) == shapes


@pytest.mark.parametrize(
    ("most", "asked", "size"), [(1, None, 1), (5, None, 8), (16, None, 16), (900, None, 16), (20, 100_000, 32), (20, 3, 3)]
)
def test_no_batch_is_much_larger_than_there_are_images(most: int, asked: int | None, size: int) -> None:
    assert tune(Fake(), EngineRequest(most, batch_size=asked)).config == EngineConfig("eager", size)
    assert tune(Fake(), EngineRequest(3 * most, batch_size=asked, most=most)).config == EngineConfig("eager", size)
