"""Timed inference over a hand-written image side: which rows run, in which order, and what is reckoned from the clock."""

import dataclasses
import math
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pytest
import torch
from heads_samples import CLASSES, DIM, axis_head
from heads_samples import one_thread as one_thread

from headstart.core.extract.stages import Stages
from headstart.core.heads.config import BenchConfig
from headstart.inference import measurement
from headstart.inference.measurement import Figures, measure

Event = tuple[Any, ...]
STAGES = ["read", "transfer", "preprocess", "backbone", "head"]


@dataclasses.dataclass
class Clock:
    """A clock that moves only when it is told to, in place of `time`."""

    now: float = 1000.0

    def perf_counter(self) -> float:
        return self.now


@dataclasses.dataclass
class FakeSide:
    """An image side without images: row i has the label i modulo 3. Keeps what was done in `events`.

    Every stage moves `clock` by its `seconds`, once for each row; reading the rows in `slow` takes a second longer.
    """

    rows: int
    batch_size: int
    name: str = "batches"
    events: list[Event] = dataclasses.field(default_factory=list)
    clock: Clock = dataclasses.field(default_factory=Clock)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    slow: frozenset[int] = frozenset()
    padded: bool = False

    def read(self, start: int, stop: int) -> np.ndarray:
        assert 0 <= start < stop <= self.rows
        assert stop - start <= self.batch_size
        self.events.append((self.name, start, stop))
        self._pass("read", stop - start)
        self.clock.now += len(self.slow & set(range(start, stop)))
        return np.arange(start, stop)

    def transfer(self, pixels: np.ndarray) -> torch.Tensor:
        self._pass("transfer", len(pixels))
        return torch.from_numpy(pixels)

    def preprocess(self, pixels: torch.Tensor) -> torch.Tensor:
        self._pass("preprocess", len(pixels))
        return torch.nn.functional.one_hot(pixels % 3, DIM)

    def backbone(self, images: torch.Tensor) -> torch.Tensor:
        """Features; where `padded`, those of a whole batch, as a backbone compiled for one shape gives them."""
        self._pass("backbone", len(images))
        features = images.float()
        return torch.cat([features, features.new_zeros(self.batch_size - len(images), DIM)]) if self.padded else features

    def stream(self, rows: int) -> Generator[np.ndarray, None, None]:
        for start in range(0, rows, self.batch_size):
            stop = min(start + self.batch_size, rows)
            yield self.backbone(self.preprocess(self.transfer(self.read(start, stop))))[: stop - start].numpy()

    def synchronize(self) -> None:
        self.events.append(("synchronize",))

    def _pass(self, stage: str, rows: int) -> None:
        self.clock.now += rows * self.seconds.get(stage, 0.0)

    def side(self) -> Stages:
        stages = (self.stream, self.read, self.transfer, self.preprocess, self.backbone, self.synchronize)
        return Stages(self.rows, self.batch_size, *stages)


@dataclasses.dataclass
class Bench:
    """Both image sides with one list of events and one clock."""

    rows: int = 10
    batch_size: int = 4
    padded: bool = False
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    slow: frozenset[int] = frozenset()
    events: list[Event] = dataclasses.field(default_factory=list)
    clock: Clock = dataclasses.field(default_factory=Clock)

    def measure(self, on_advance: Callable[[int], None] = lambda _: None, **config: Any) -> Figures:
        shared = (self.events, self.clock, self.seconds)
        batches = FakeSide(self.rows, self.batch_size, "batches", *shared, padded=self.padded)
        singles = FakeSide(self.rows, 1, "single", *shared, slow=self.slow, padded=self.padded)

        def advance(rows: int) -> None:
            self.events.append(("advance", rows))
            on_advance(rows)

        return measure(batches.side(), singles.side(), axis_head(), BenchConfig(**config), advance)

    def timed_reads(self) -> list[Event]:
        """The batches of the throughput passes: those that were reported as done."""
        return [event for event, then in zip(self.events, self.events[1:], strict=False) if then[0] == "advance"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that `headstart.inference.measurement` reads."""
    clock = Clock()
    monkeypatch.setattr(measurement, "time", clock)
    return clock


@pytest.mark.parametrize("padded", [False, True], ids=["as many rows", "padded batches"])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 64])
def test_every_image_gets_its_own_label(batch_size: int, padded: bool) -> None:
    found = Bench(10, batch_size, padded).measure()
    assert found.predicted.tolist() == [row % len(CLASSES) for row in range(10)]
    assert found.predicted.dtype == np.int64
    assert (found.images, found.batch_size) == (10, batch_size)


@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_each_pass_runs_every_row_once_in_order(repeats: int) -> None:
    made = Bench(10, 4)
    assert made.measure(repeats=repeats).repeats == repeats
    assert made.timed_reads() == [("batches", 0, 4), ("batches", 4, 8), ("batches", 8, 10)] * repeats


def test_progress_counts_the_images_of_every_pass() -> None:
    seen: list[int] = []
    Bench(10, 4).measure(seen.append, repeats=2)
    assert seen == [4, 4, 2, 4, 4, 2]


@pytest.mark.parametrize(("limit", "images"), [(None, 10), (7, 7), (1, 1), (10, 10), (99, 10)])
def test_a_limit_takes_the_first_images(limit: int | None, images: int) -> None:
    made = Bench(10, 4)
    found = made.measure(limit=limit)
    assert (found.images, len(found.predicted)) == (images, images)
    assert max(event[2] for event in made.events if event[0] in ("batches", "single")) == images


@pytest.mark.parametrize(
    ("warmup", "first"), [(0, []), (1, [(0, 4)]), (2, [(0, 4), (4, 8)]), (9, [(0, 4), (4, 8), (8, 10)])]
)
def test_batches_run_before_the_first_one_is_timed(warmup: int, first: list[tuple[int, int]]) -> None:
    made = Bench(10, 4)
    made.measure(warmup=warmup)
    before = made.events[: made.events.index(("advance", 4)) - 1]
    assert before == [("batches", *rows) for rows in first]


@pytest.mark.parametrize(("latency_images", "count"), [(1, 1), (6, 6), (50, 10)])
def test_latency_is_that_of_single_images_after_a_warm_up(latency_images: int, count: int) -> None:
    made = Bench(10, 4)
    found = made.measure(latency_images=latency_images, warmup=2)
    assert found.latency_images == count
    alone = [event for event in made.events if event[0] == "single"]
    assert alone == [("single", row, row + 1) for row in [0, 1, *range(count)]]
    assert list(found.latency_s) == ["p50", "p90", "p99"]


@pytest.mark.parametrize(("stage_batches", "batches"), [(1, 1), (2, 2), (99, 3)])
def test_the_device_is_waited_for_after_every_stage(stage_batches: int, batches: int) -> None:
    made = Bench(10, 4)
    made.measure(stage_batches=stage_batches)
    assert made.events.count(("synchronize",)) == 4 * batches  # reading happens on the host


def test_nothing_waits_within_the_throughput_passes() -> None:
    made = Bench(10, 4)
    made.measure(repeats=2, warmup=0)
    last = max(i for i, event in enumerate(made.events) if event[0] == "advance")
    assert ("synchronize",) not in made.events[:last]


def test_figures_of_a_real_clock_are_sane() -> None:
    found = Bench(10, 4).measure(repeats=3)
    assert list(found.stages_s) == STAGES
    assert all(value >= 0 and math.isfinite(value) for value in found.stages_s.values())
    assert found.images_per_s == pytest.approx(10 / found.elapsed_s)
    assert 0 < found.latency_s["p50"] <= found.latency_s["p90"] <= found.latency_s["p99"]


# ------------------------------------------------------------------------------------------------- from a fake's clock


def test_each_stage_is_charged_its_own_time_per_image(clock: Clock) -> None:
    seconds = {"read": 0.5, "transfer": 0.25, "preprocess": 0.125, "backbone": 4.0}
    found = Bench(10, 4, seconds=seconds, clock=clock).measure(stage_batches=2)
    assert found.stages_s == {**seconds, "head": 0.0}


def test_stages_are_per_image_when_the_last_batch_is_short(clock: Clock) -> None:
    found = Bench(10, 4, seconds={"read": 0.5}, clock=clock).measure(stage_batches=99)
    assert found.stages_s["read"] == 0.5


def test_the_median_of_the_passes_counts(clock: Clock) -> None:
    passes = iter((7.0, 1.0, 3.0))
    made = Bench(4, 4, clock=clock)

    def slow_down(_: int) -> None:
        clock.now += next(passes)

    found = made.measure(slow_down, repeats=3)
    assert (found.elapsed_s, found.images_per_s) == (3.0, 4 / 3)


def test_warm_up_is_not_timed(clock: Clock) -> None:
    found = Bench(8, 4, seconds={"backbone": 1.0}, clock=clock).measure(warmup=2)
    assert (found.elapsed_s, found.images_per_s) == (8.0, 1.0)


def test_percentiles_are_those_of_the_single_images(clock: Clock) -> None:
    made = Bench(100, 50, seconds={"backbone": 2.0}, slow=frozenset(range(3, 73, 10)), clock=clock)
    found = made.measure(latency_images=100, warmup=0)
    waits = np.full(100, 2.0)
    waits[3:73:10] = 3.0
    assert list(found.latency_s.values()) == pytest.approx(np.percentile(waits, [50, 90, 99]))
    assert found.latency_s["p99"] > found.latency_s["p90"] == 2.0
