"""The fastest way is chosen from rates, and trials never cost more than a small part of the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from extract_samples import There
from hypothesis import strategies as st

from cache.errors import DeviceUnavailable, HeadstartError, OutOfMemory
from extract.tune import ROUNDS_PER_TRIAL, TRIAL_PART, Pending, Trials, Way, choose


class Rates:
    """A device with these rates in images per second; keeps the ways it was asked to measure. None is no rate."""

    def __init__(self, rates: Mapping[Way, float | None]) -> None:
        self.rates, self.asked = rates, list[Way]()

    def __call__(self, way: Way) -> float | None:
        self.asked.append(way)
        return self.rates[way]


def rates(**changes: float | None) -> Rates:
    """eager 16: 40/s, 32: 30/s, 8: 35/s; compiled 16: 50/s, 32: 60/s, 8: 45/s. Change one as `eager32=50`."""
    found: dict[Way, float | None] = {}
    for engine, speeds in (("eager", (40.0, 30.0, 35.0)), ("compiled", (50.0, 60.0, 45.0))):
        for size, speed in zip(SIZES, speeds, strict=True):
            found[Way(engine, size)] = changes.get(f"{engine}{size}", speed)
    return Rates(found)


SIZES, ENGINES = (16, 32, 8), ("eager", "compiled")


def test_what_is_asked_for_is_not_measured() -> None:
    device = rates()
    assert choose(10**6, ("compiled",), (32,), device) == Way("compiled", 32)
    assert device.asked == []


def test_a_short_run_measures_nothing() -> None:
    device = rates()
    assert choose(300, ENGINES, SIZES, device) == Way("eager", 16)
    assert device.asked == []


def test_lanes_cost_a_trial_as_many_images() -> None:
    images = ROUNDS_PER_TRIAL * sum(SIZES) / TRIAL_PART
    for lanes in (1, 2, 8):
        for rows, tried in ((images * lanes - 1, False), (images * lanes + 1, True)):
            device = rates()
            choose(int(rows), ENGINES, SIZES, device, lanes)
            assert bool(device.asked) == tried


def test_a_longer_run_tries_the_batch_sizes_and_compiles_nothing() -> None:
    device = rates(eager32=41.0)
    assert choose(4_000, ENGINES, SIZES, device) == Way("eager", 32)
    assert {way.engine for way in device.asked} == {"eager"}


def test_a_long_run_compiles_with_the_best_batch_size() -> None:
    device = rates()
    assert choose(24_000, ENGINES, SIZES, device) == Way("compiled", 16)
    assert device.asked[-1] == Way("compiled", 16)
    assert choose(24_000, ENGINES, SIZES, rates(eager32=50.0)) == Way("compiled", 32)


def test_a_batch_size_that_is_a_little_better_eagerly_is_not_compiled_for() -> None:
    device = rates(eager8=44.0, compiled8=48.0)
    assert choose(24_000, ENGINES, SIZES, device) == Way("compiled", 16)
    assert Way("compiled", 8) not in device.asked
    assert choose(24_000, ENGINES, SIZES, rates(eager8=44.0, compiled16=43.0)) == Way("eager", 8)


def test_a_compiled_network_that_is_slower_is_not_used() -> None:
    assert choose(24_000, ENGINES, SIZES, rates(compiled16=39.0)) == Way("eager", 16)


def test_what_can_not_be_run_is_not_chosen() -> None:
    assert choose(24_000, ENGINES, SIZES, rates(compiled16=None)) == Way("eager", 16)
    assert choose(24_000, ENGINES, SIZES, rates(eager16=None, compiled8=None)) == Way("eager", 8)
    nothing = Rates(dict.fromkeys(rates().rates))
    assert choose(24_000, ENGINES, SIZES, nothing) == Way("eager", 16)  # whose own error then reaches the user


SPEEDS = st.floats(0.1, 1e5)


@hypothesis.given(
    st.integers(1, 10**7), st.fixed_dictionaries({Way(e, s): st.none() | SPEEDS for e in ENGINES for s in SIZES})
)
def test_trials_are_a_small_part_of_the_run_and_the_best_of_them_wins(rows: int, speeds: dict[Way, float | None]) -> None:
    device = Rates(speeds)
    chosen = choose(rows, ENGINES, SIZES, device)
    known = {way: speeds[way] or 0.0 for way in device.asked}
    assert (known.get(chosen, 0.0) or 0.0) == max(known.values(), default=0.0)
    assert sum(way.batch_size for way in device.asked if way.engine == "eager") <= rows * TRIAL_PART
    assert len(set(device.asked)) == len(device.asked)


# ---- trials


@dataclasses.dataclass
class Fake:
    """A network with engines: `made` counts the ways that were made, `shapes` keeps the batches given to them.

    Making one, or running it, fails in the ways that `broken` and `greedy` name.
    """

    way: Way = dataclasses.field(default_factory=lambda: Way("eager", 16))
    lanes: int = 1
    broken: Mapping[Way, HeadstartError] = dataclasses.field(default_factory=dict)
    greedy: Mapping[Way, HeadstartError] = dataclasses.field(default_factory=dict)
    made: list[Way] = dataclasses.field(default_factory=list)
    shapes: list[tuple[Way, tuple[int, ...]]] = dataclasses.field(default_factory=list)

    def running(self, way: Way) -> Fake:
        self.made.append(way)
        if way in self.broken:
            raise self.broken[way]
        return dataclasses.replace(self, way=way)

    def submit(self, images: npt.NDArray[np.uint8]) -> Pending:
        self.shapes.append((self.way, images.shape))
        assert images.dtype == np.uint8
        if self.way in self.greedy:
            raise self.greedy[self.way]
        return There(np.zeros((len(images), 4), dtype=np.float32))


COMPILED = Way("compiled", 8)


def test_a_way_is_made_once_however_often_it_is_measured_and_run() -> None:
    fake, notes = Fake(), list[str]()
    trials = Trials(fake, 6, notes.append)
    assert trials.measure(COMPILED) is not None
    assert trials.measure(COMPILED) is not None
    assert trials.running(COMPILED) is trials.running(COMPILED)
    assert fake.made == [COMPILED]
    assert notes == ["preparing the compiled engine for batches of 8"]


def test_the_eager_engine_needs_no_preparing() -> None:
    fake, notes = Fake(), list[str]()
    trials = Trials(fake, 6, notes.append)
    assert trials.running(Way("eager", 2)).way == Way("eager", 2)
    assert (fake.made, notes) == ([Way("eager", 2)], [])


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("way", [Way("eager", 16), COMPILED], ids=str)
def test_a_rate_is_measured_with_whole_batches_of_the_ways_size(way: Way, lanes: int) -> None:
    fake = Fake(lanes=lanes)
    rate = Trials(fake, 6, lambda _: None).measure(way)
    assert rate is not None
    assert 0 < rate < float("inf")
    assert fake.shapes == [(way, (way.batch_size, 6, 6, 3))] * (ROUNDS_PER_TRIAL * lanes)


ERRORS = [DeviceUnavailable("compiling failed (no compiler); use --engine eager"), OutOfMemory("out of memory with 8")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("when", ["broken", "greedy"])
def test_a_way_that_can_not_be_gone_has_no_rate_and_is_noted(error: HeadstartError, when: str) -> None:
    fake, notes = Fake(**{when: {COMPILED: error}}), list[str]()  # type: ignore[arg-type]
    trials = Trials(fake, 6, notes.append)
    assert trials.measure(COMPILED) is None
    assert notes == ["preparing the compiled engine for batches of 8", f"not used: {error}"]
    assert trials.measure(Way("eager", 16)) is not None


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_way_that_can_not_be_made_is_an_error_where_it_is_to_run(error: HeadstartError) -> None:
    fake = Fake(broken={COMPILED: error})
    trials = Trials(fake, 6, lambda _: None)
    assert trials.measure(COMPILED) is None
    with pytest.raises(type(error), match=str(error).partition(" (")[0]):
        trials.running(COMPILED)


def test_another_error_is_no_reason_to_go_another_way() -> None:
    class Wrong(Fake):
        def running(self, way: Way) -> Fake:
            raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="a mistake of ours"):
        Trials(Wrong(), 6, lambda _: None).measure(COMPILED)


def test_the_best_of_real_trials_is_among_what_could_be_run() -> None:
    no_room = OutOfMemory("too many")
    fake = Fake(greedy={Way("eager", 16): no_room, Way("eager", 32): no_room}, broken={COMPILED: ERRORS[0]})
    assert choose(10**9, ENGINES, SIZES, Trials(fake, 6, lambda _: None).measure) == Way("eager", 8)
