"""The fastest way is chosen from rates, and trials never cost more than a small part of the run."""

from collections.abc import Mapping

import hypothesis
from hypothesis import strategies as st

from extract.tune import TRIAL_PART, Way, choose


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


def test_a_longer_run_tries_the_batch_sizes_and_compiles_nothing() -> None:
    device = rates(eager32=41.0)
    assert choose(4_000, ENGINES, SIZES, device) == Way("eager", 32)
    assert {way.engine for way in device.asked} == {"eager"}


def test_a_long_run_compiles_with_the_best_batch_size() -> None:
    device = rates()
    assert choose(24_000, ENGINES, SIZES, device) == Way("compiled", 16)
    assert device.asked[-1] == Way("compiled", 16)
    assert choose(24_000, ENGINES, SIZES, rates(eager32=50.0)) == Way("compiled", 32)


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
