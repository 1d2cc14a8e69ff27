"""How to run a long extraction fastest: the batch size and the engine, from rates measured on this device.

Imports no torch. The choice is made once for a plan and recorded, since it may change a feature's last bits.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from cache.errors import DeviceUnavailable, OutOfMemory
from extract.devices import Device

COMPILE_S = 25.0
"""What compiling costs: 8 to 27 s on two Zen 4 cores for vgg16 and resnet50, 4 to 6 s from kept code (measured)."""

LEAST_GAIN = 0.1
"""The part of the time that compiling must save to be tried. It saved 2 % (vgg16) to 20 % (resnet50) there (measured)."""

TRIAL_PART = 0.05
"""The part of a run's images whose time may go into trying batch sizes."""

ROUNDS_PER_TRIAL = 3
"""One to warm up, and two that are timed; a batch for each lane in each."""


@dataclasses.dataclass(frozen=True)
class Way:
    """An engine, and the images of each forward pass."""

    engine: str
    batch_size: int


Measure = Callable[[Way], float | None]
"""Images per second, or None where the way can't be gone here (no memory, no compiler)."""


def choose(rows: int, engines: Sequence[str], batch_sizes: Sequence[int], measure: Measure, lanes: int = 1) -> Way:
    """The fastest way for `rows` images; the first engine and batch size are what a short run takes unmeasured.

    A trial takes `lanes` batches at once. Batch sizes are tried with the first engine where the run is long enough, then
    the other engines with the first of them, or with the best where that is clearly better: what lanes like need not be
    what a compiled network likes, and code is kept for each size (ResNet50 on two cores: eager 43.0 images/s in batches of
    8 and 40.8 of 16, compiled 47.3 and 49.2).
    """
    first = Way(engines[0], batch_sizes[0])
    if len(engines) * len(batch_sizes) == 1 or ROUNDS_PER_TRIAL * lanes * sum(batch_sizes) > rows * TRIAL_PART:
        return first
    rates = {way: measure(way) or 0.0 for way in (Way(engines[0], size) for size in batch_sizes)}
    best = max(rates, key=lambda way: rates[way])
    usual = first if rates[first] >= rates[best] * (1 - LEAST_GAIN) else best
    for engine in engines[1:]:
        if rates[best] * COMPILE_S < rows * LEAST_GAIN:
            way = Way(engine, usual.batch_size)
            rates[way] = measure(way) or 0.0
    return max(rates, key=lambda way: rates[way])


class Pending(Protocol):
    """Features that were asked for; a `concurrent.futures.Future` could be one."""

    def result(self) -> npt.NDArray[np.float32]:
        """Wait for them: float32 (n, D). Raises OutOfMemory."""
        ...

    def cancel(self) -> object:
        """Nobody will: give up what can be given up, and return when it is."""
        ...


class Runnable(Protocol):
    """What can be run in several ways; `extract.pooled.FeatureExtractor` is the one we ship."""

    def running(self, way: Way) -> Self:
        """The same network run by another engine or in other batches. Raises DeviceUnavailable, OutOfMemory."""
        ...

    @property
    def lanes(self) -> int:
        """How many batches are computed at once."""
        ...

    def submit(self, images: npt.NDArray[np.uint8]) -> Pending:
        """Ask for the features of uint8 (n, H, W, 3), n from 1 to a batch's size. Raises OutOfMemory."""
        ...


R = TypeVar("R", bound=Runnable)


class Trials(Generic[R]):
    """Measures ways of running one extractor, and keeps what it made for each: compiling takes long."""

    def __init__(self, extractor: R, image_size: int, note: Callable[[str], None]) -> None:
        self._extractor, self._size, self._note = extractor, image_size, note
        self._made: dict[Way, R] = {}

    def running(self, way: Way) -> R:
        """The extractor in this way. Raises DeviceUnavailable, OutOfMemory."""
        if way not in self._made:
            if way.engine != "eager":
                self._note(f"preparing the {way.engine} engine for batches of {way.batch_size}")
            self._made[way] = self._extractor.running(way)
        return self._made[way]

    def measure(self, way: Way) -> float | None:
        """Images per second by the faster of two rounds; None, with a note, where the way can't be gone here."""
        images = np.random.default_rng(0).integers(0, 256, (way.batch_size, self._size, self._size, 3), dtype=np.uint8)
        try:
            extractor = self.running(way)
            seconds = [_round(extractor, images) for _ in range(ROUNDS_PER_TRIAL)]
        except (DeviceUnavailable, OutOfMemory) as error:
            self._note(f"not used: {error}")
            return None
        return extractor.lanes * way.batch_size / min(seconds[1:])


def _round(extractor: Runnable, images: npt.NDArray[np.uint8]) -> float:
    """The seconds for a batch in each lane."""
    started = time.perf_counter()
    asked = [extractor.submit(images) for _ in range(extractor.lanes)]
    try:
        for pending in asked:
            pending.result()
    finally:
        for pending in asked:
            pending.cancel()
    return time.perf_counter() - started


def settle(
    extractor: R,
    device: Device,
    image_size: int,
    rows: int,
    asked: tuple[str, int | None],
    note: Callable[[str], None],
) -> R:
    """The extractor running in the fastest way for `rows` images among those that `asked` leaves open: an engine or
    `auto`, and a batch size or None. Raises DeviceUnavailable, OutOfMemory for what was asked for and can't be had."""
    engine, batch_size = asked
    engines = device.engines if engine == "auto" else (engine,)
    sizes = device.batch_sizes if batch_size is None else (batch_size,)
    trials = Trials(extractor, image_size, note)
    return trials.running(choose(rows, engines, sizes, trials.measure, extractor.lanes))
