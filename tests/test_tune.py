"""The fastest way is chosen from rates, and trials never cost more than a small part of the run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from extract_samples import There
from headstart.core.cache.errors import DeviceUnavailable, HeadstartError, OutOfMemory
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.tuning import (
    ARRANGED_BATCHES,
    ARRANGED_ROUNDS,
    ROUNDS_PER_TRIAL,
    TRIAL_PART,
    Known,
    Pending,
    Trials,
    Way,
    choose,
    settle,
)
from hypothesis import strategies as st


class Rates:
    """A device with these rates in images per second; keeps the ways it was asked to measure. 0 is what can't be run."""

    def __init__(self, rates: Mapping[Way, float]) -> None:
        self.rates, self.asked = rates, list[Way]()

    def __call__(self, way: Way) -> float:
        self.asked.append(way)
        return self.rates[way]


def rates(**changes: float) -> Rates:
    """eager 16: 40/s, 32: 30/s, 8: 35/s; compiled 16: 50/s, 32: 60/s. Change one as `eager32=50`."""
    speeds = {"eager": (40.0, 30.0, 35.0), "compiled": (50.0, 60.0)}
    found = {Way(name, size): speed for name in SIZES for size, speed in zip(SIZES[name], speeds[name], strict=True)}
    return Rates({way: changes.get(f"{way.engine}{way.batch_size}", speed) for way, speed in found.items()})


SIZES = {"eager": (16, 32, 8), "compiled": (16, 32)}
TRIED = sum(SIZES["eager"])


def test_what_is_asked_for_is_not_measured() -> None:
    device = rates()
    assert choose(10**6, {"compiled": (32,)}, device) == Way("compiled", 32)
    assert device.asked == []


def test_a_short_run_measures_nothing() -> None:
    device = rates()
    assert choose(300, SIZES, device) == Way("eager", 16)
    assert device.asked == []


def test_lanes_cost_a_trial_as_many_images() -> None:
    images = ROUNDS_PER_TRIAL * TRIED / TRIAL_PART
    for lanes in (1, 2, 8):
        for rows, tried in ((images * lanes - 1, False), (images * lanes + 1, True)):
            device = rates()
            choose(int(rows), SIZES, device, lanes)
            assert bool(device.asked) == tried


def test_a_longer_run_tries_the_batch_sizes_and_compiles_nothing() -> None:
    device = rates(eager32=41.0)
    assert choose(4_000, SIZES, device) == Way("eager", 32)
    assert {way.engine for way in device.asked} == {"eager"}


@pytest.mark.parametrize("favourite", [{}, {"eager8": 49.0}, {"eager32": 49.0}], ids=str)
def test_a_compiled_network_is_tried_with_its_own_favourite_not_the_eager_ones(favourite: dict[str, float]) -> None:
    device = rates(**favourite)
    assert choose(24_000, SIZES, device) == Way("compiled", 16)
    assert device.asked[-1] == Way("compiled", 16)


def test_a_very_long_run_compiles_for_another_size_too() -> None:
    assert choose(60_000, SIZES, rates()) == Way("compiled", 32)
    assert choose(60_000, SIZES, rates(compiled32=49.0)) == Way("compiled", 16)


def test_where_the_favourite_size_gains_nothing_no_other_is_compiled_for() -> None:
    device = rates(compiled16=39.0)
    assert choose(10**6, SIZES, device) == Way("eager", 16)
    assert Way("compiled", 32) not in device.asked


def test_what_can_not_be_run_is_not_chosen() -> None:
    assert choose(24_000, SIZES, rates(compiled16=0.0)) == Way("eager", 16)
    assert choose(24_000, SIZES, rates(eager16=0.0, compiled16=0.0)) == Way("eager", 8)
    nothing = Rates(dict.fromkeys(rates().rates, 0.0))
    assert choose(24_000, SIZES, nothing) == Way("eager", 16)  # whose own error then reaches the user


# ---- what the process knows already


def test_a_network_that_is_compiled_already_is_tried_however_short_the_run() -> None:
    known = Known(ready={Way("compiled", 16): "a network"})
    rows = int(ROUNDS_PER_TRIAL * TRIED / TRIAL_PART) + 1
    assert choose(rows, SIZES, rates()) == Way("eager", 16)
    assert choose(rows, SIZES, rates(), known=known) == Way("compiled", 16)


@pytest.mark.parametrize("rows", [16, 300, 24_000])
def test_what_was_chosen_for_as_many_rows_is_chosen_again_unmeasured(rows: int) -> None:
    device, known = rates(), Known(chosen=Way("compiled", 16), rows=24_000)
    assert choose(rows, SIZES, device, known=known) == Way("compiled", 16)
    assert device.asked == []


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [(24_001, SIZES), (15, SIZES), (300, {"eager": (16, 32, 8)}), (100, {"eager": (4,), "compiled": (4,)})],
    ids=["more rows", "less than a batch", "another engine asked for", "another size asked for"],
)
def test_what_was_chosen_for_something_else_decides_nothing(rows: int, sizes: dict[str, tuple[int, ...]]) -> None:
    known = Known(chosen=Way("compiled", 16), rows=24_000)
    device = rates(compiled16=1.0, compiled32=1.0)
    assert choose(rows, sizes, device, known=known).engine == "eager"


SPEEDS = st.floats(0.1, 1e5)


@hypothesis.given(st.integers(1, 10**7), st.fixed_dictionaries({way: st.just(0.0) | SPEEDS for way in rates().rates}))
def test_trials_are_a_small_part_of_the_run_and_the_best_of_them_wins(rows: int, speeds: dict[Way, float]) -> None:
    device = Rates(speeds)
    chosen = choose(rows, SIZES, device)
    known = {way: speeds[way] for way in device.asked}
    assert known.get(chosen, 0.0) == max(known.values(), default=0.0)
    assert sum(way.batch_size for way in device.asked if way.engine == "eager") <= rows * TRIAL_PART
    assert len(set(device.asked)) == len(device.asked)


# ---- trials


@dataclasses.dataclass
class Fake:
    """A network with engines: `made` counts the ways that were made, `shapes` keeps the batches given to them.

    Making one, or running it, fails in the ways that `broken` and `greedy` name. `others` are further arrangements.
    """

    way: Way = dataclasses.field(default_factory=lambda: Way("eager", 16))
    lanes: int = 1
    broken: Mapping[Way, HeadstartError] = dataclasses.field(default_factory=dict)
    greedy: Mapping[Way, HeadstartError] = dataclasses.field(default_factory=dict)
    made: list[Way] = dataclasses.field(default_factory=list)
    shapes: list[tuple[Way, tuple[int, ...]]] = dataclasses.field(default_factory=list)
    known: Known = dataclasses.field(default_factory=Known)
    others: tuple[Fake, ...] = ()

    @property
    def arrangements(self) -> tuple[Fake, ...]:
        return (self, *self.others)

    @property
    def batch_size(self) -> int:
        return self.way.batch_size

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


def test_a_way_is_measured_once_in_a_process() -> None:
    fake, notes = Fake(), list[str]()
    first = Trials(fake, 6, notes.append).measure(COMPILED)
    assert first > 0
    assert Trials(fake.running(Way("eager", 2)), 6, notes.append).measure(COMPILED) == first
    assert notes == ["preparing the compiled engine for batches of 8"]
    assert len(fake.shapes) == ROUNDS_PER_TRIAL


def test_what_is_ready_needs_no_preparing() -> None:
    fake, notes = Fake(known=Known(ready={COMPILED: "a network"})), list[str]()
    Trials(fake, 6, notes.append).running(COMPILED)
    assert notes == []


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
    assert 0 < rate < float("inf")
    assert fake.shapes == [(way, (way.batch_size, 6, 6, 3))] * (ROUNDS_PER_TRIAL * lanes)


ERRORS = [DeviceUnavailable("compiling failed (no compiler); use --engine eager"), OutOfMemory("out of memory with 8")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("when", ["broken", "greedy"])
def test_a_way_that_can_not_be_gone_has_no_rate_and_is_noted(error: HeadstartError, when: str) -> None:
    fake, notes = Fake(**{when: {COMPILED: error}}), list[str]()  # type: ignore[arg-type]
    trials = Trials(fake, 6, notes.append)
    assert trials.measure(COMPILED) == trials.measure(COMPILED) == 0.0  # and is not tried again
    assert notes == ["preparing the compiled engine for batches of 8", f"not used: {error}"]
    assert trials.measure(Way("eager", 16)) > 0


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_way_that_can_not_be_made_is_an_error_where_it_is_to_run(error: HeadstartError) -> None:
    fake = Fake(broken={COMPILED: error})
    trials = Trials(fake, 6, lambda _: None)
    assert trials.measure(COMPILED) == 0.0
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
    broken = {Way("compiled", size): ERRORS[0] for size in (16, 32)}
    fake = Fake(greedy={Way("eager", 16): no_room, Way("eager", 32): no_room}, broken=broken)
    assert choose(10**9, SIZES, Trials(fake, 6, lambda _: None).measure) == Way("eager", 8)


def test_a_clock_that_stands_still_is_no_division_by_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.core.extract.network.tuning.time.perf_counter", lambda: 5.0)
    assert 0 < Trials(Fake(), 6, lambda _: None).measure(COMPILED) < float("inf")


# ---- the whole choice


LOW = Device("cpu", "bf16", "this CPU")


@dataclasses.dataclass
class Slow(Fake):
    """An arrangement that takes its time."""

    def submit(self, images: npt.NDArray[np.uint8]) -> Pending:
        time.sleep(0.002)
        return super().submit(images)


@dataclasses.dataclass
class Arranged(Fake):
    """What is ready in one way, with other arrangements of it."""

    def running(self, way: Way) -> Fake:
        ready: Fake = self.known.ready.get(way, self)
        return ready


@pytest.mark.parametrize("slow_first", [True, False])
def test_of_two_arrangements_the_faster_one_is_taken_and_remembered(slow_first: bool) -> None:
    way = Way("compiled", 16)
    quick, slow = Arranged(way), Slow(way)
    first, second = (slow, quick) if slow_first else (quick, slow)
    first.others = (second,)
    trials: Trials[Fake] = Trials(Arranged(way, known=Known(ready={way: first})), 6, lambda _: None)
    first.known = trials.running(way).known
    assert trials.arranged(way, 60_000) is quick
    assert first.known.ready == {way: quick}


@pytest.mark.parametrize(("rows", "measured"), [(100, False), (20_000, True)])
def test_arrangements_are_compared_once_and_where_the_run_is_long_enough(rows: int, measured: bool) -> None:
    other = Slow(Way("compiled", 16))
    fake = Arranged(Way("compiled", 16), others=(other,))
    for again in (rows, rows // 2):
        assert settle(fake, LOW, 6, again, ("compiled", 16), lambda _: None) is fake
        assert len(other.shapes) == measured * ARRANGED_ROUNDS * ARRANGED_BATCHES


def test_the_second_of_two_splits_is_settled_by_the_first() -> None:
    fake, notes = Fake(), list[str]()
    first = settle(fake, LOW, 6, 60_000, ("auto", None), notes.append)
    shapes = len(fake.shapes)
    second = settle(fake, LOW, 6, 10_000, ("auto", None), notes.append)
    assert second.way == first.way
    assert len(fake.shapes) == shapes


@pytest.mark.parametrize(
    ("most", "asked", "size"), [(1, None, 1), (5, None, 8), (16, None, 16), (900, None, 16), (20, 100_000, 32), (20, 3, 3)]
)
def test_no_batch_is_much_larger_than_there_are_images(most: int, asked: int | None, size: int) -> None:
    assert settle(Fake(), LOW, 6, most, ("auto", asked), lambda _: None).way == Way("eager", size)
    assert settle(Fake(), LOW, 6, 3 * most, ("auto", asked), lambda _: None, most).way == Way("eager", size)
