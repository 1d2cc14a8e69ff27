"""How to run a network fastest: the batch size and the engine, from rates measured on this device.

Imports no torch. The choice is made once for all the rows of a command and recorded, since it may change a feature's last
bits.
"""

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
from headstart.core.cache.errors import DeviceUnavailable, OutOfMemory
from headstart.core.extract.network.devices import Device

COMPILE_S = 25.0
"""What compiling costs: 8 to 27 s on two Zen 4 cores for vgg16 and resnet50, 4 to 6 s from kept code (measured)."""

LEAST_GAIN = 0.1
"""The part of the time that compiling must save to be tried. It saved 2 % (vgg16) to 20 % (resnet50) there (measured)."""

SIZE_GAIN = 0.03
"""The same for compiling once more, for another batch size: what a second size can be hoped to save."""

TRIAL_PART = 0.05
"""The part of a run's images whose time may go into trying batch sizes."""

ROUNDS_PER_TRIAL = 3
"""One to warm up, and two that are timed; a batch for each lane in each."""

ARRANGED_BATCHES, ARRANGED_ROUNDS = 3, 2
"""How arrangements are compared: batches of a round, enough for one to be prepared while another is computed, and rounds,
the first of which warms up."""


@dataclasses.dataclass(frozen=True)
class Way:
    """An engine, and the images of each forward pass."""

    engine: str
    batch_size: int


@dataclasses.dataclass
class Known:
    """What this process has learnt of one network: the ways that are prepared, the images per second of those that were
    measured (0 where it can't be gone), those whose arrangements were compared, and the way chosen last, with the rows that
    it was chosen for."""

    ready: dict[Way, Any] = dataclasses.field(default_factory=dict)
    rates: dict[Way, float] = dataclasses.field(default_factory=dict)
    arranged: set[Way] = dataclasses.field(default_factory=set)
    chosen: Way | None = None
    rows: int = 0


Measure = Callable[[Way], float]
"""Images per second, or 0 where the way can't be gone here (no memory, no compiler)."""

Sizes = Mapping[str, Sequence[int]]
"""The batch sizes worth trying with each engine. A short run takes the first size of the first engine unmeasured."""


def choose(rows: int, sizes: Sizes, measure: Measure, lanes: int = 1, known: Known | None = None) -> Way:
    """The fastest way for `rows` images.

    A trial takes `lanes` batches at once. The first engine's batch sizes are tried where the run is long enough; another
    engine where compiling pays, or has been done already, beginning with its own favourite size: what lanes like need not
    be what a compiled network likes (ResNet50 on two cores: eager 43.0 images/s in batches of 8 and 40.8 of 16, compiled
    47.3 and 49.2). What was chosen in this process for at least as many rows is taken again.
    """
    known = known or Known()
    (engine, usual), *others = sizes.items()
    first = Way(engine, usual[0])
    ways = [Way(name, size) for name, tried in sizes.items() for size in tried]
    if known.chosen in ways and known.rows >= rows >= known.chosen.batch_size:
        return known.chosen
    if len(ways) == 1 or ROUNDS_PER_TRIAL * lanes * sum(usual) > rows * TRIAL_PART:
        return first
    rates = {way: measure(way) for way in (Way(engine, size) for size in usual)}

    def pays(way: Way, gain: float) -> bool:
        return way in known.ready or max(rates.values()) * COMPILE_S < rows * gain

    for name, tried in others:
        for place, way in enumerate(Way(name, size) for size in tried):
            if not pays(way, LEAST_GAIN if place == 0 else SIZE_GAIN):
                break
            rates[way] = measure(way)
            if rates[way] < max(rates.values()):  # neither the engine nor a step from its favourite is better
                break
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
    """What can be run in several ways; `extract.network.extractor.FeatureExtractor` is the one we ship."""

    @property
    def known(self) -> Known:
        """What was learnt of the network in this process, the same for all ways of running it."""
        ...

    def running(self, way: Way) -> Self:
        """The same network run by another engine or in other batches. Raises DeviceUnavailable, OutOfMemory."""
        ...

    @property
    def arrangements(self) -> Sequence[Self]:
        """This way with the host's work arranged in each manner there is, the usual one first: all give the same bits."""
        ...

    @property
    def batch_size(self) -> int:
        """How many images a forward pass has."""
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
    """Measures ways of running one extractor, each once in a process."""

    def __init__(self, extractor: R, image_size: int, note: Callable[[str], None]) -> None:
        self._extractor, self._size, self._note = extractor, image_size, note

    def running(self, way: Way) -> R:
        """The extractor in this way. Raises DeviceUnavailable, OutOfMemory."""
        if way.engine != "eager" and way not in self._extractor.known.ready:
            self._note(f"preparing the {way.engine} engine for batches of {way.batch_size}")
        return self._extractor.running(way)

    def measure(self, way: Way) -> float:
        """Images per second by the faster of two rounds; 0, with a note, where the way can't be gone here."""
        rates = self._extractor.known.rates
        if way not in rates:
            try:
                extractor = self.running(way)
                rates[way] = self._rate(extractor, extractor.lanes, ROUNDS_PER_TRIAL)
            except (DeviceUnavailable, OutOfMemory) as error:
                self._note(f"not used: {error}")
                rates[way] = 0.0
        return rates[way]

    def arranged(self, way: Way, rows: int) -> R:
        """The extractor in this way, in the fastest of its arrangements; compared once, and where `rows` are worth it.

        Raises DeviceUnavailable, OutOfMemory.
        """
        extractor = self.running(way)
        kinds, known = extractor.arrangements, extractor.known
        images = ARRANGED_ROUNDS * ARRANGED_BATCHES * len(kinds) * way.batch_size
        if len(kinds) > 1 and way not in known.arranged and images <= rows * TRIAL_PART:
            rates = [self._rate(each, ARRANGED_BATCHES, ARRANGED_ROUNDS) for each in kinds]
            extractor = kinds[rates.index(max(rates))]
            known.ready[way] = extractor
            known.arranged.add(way)
        return extractor

    def _rate(self, extractor: R, batches: int, rounds: int) -> float:
        """Images per second by the fastest of the rounds but the first, which warms up."""
        shape = (extractor.batch_size, self._size, self._size, 3)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        seconds = [_round(extractor, images, batches) for _ in range(rounds)]
        return batches * extractor.batch_size / max(min(seconds[1:]), 1e-9)  # some clocks stand still for a while


def _round(extractor: Runnable, images: npt.NDArray[np.uint8], batches: int) -> float:
    """The seconds for some batches, as many asked for at once as in a run."""
    started = time.perf_counter()
    asked: deque[Pending] = deque()
    try:
        for _ in range(batches):
            asked.append(extractor.submit(images))
            if len(asked) == 2 * extractor.lanes:
                asked[0].result()
                asked.popleft()
        while asked:
            asked[0].result()
            asked.popleft()
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
    most: int | None = None,
) -> R:
    """The extractor running in the fastest way for `rows` images among those that `asked` leaves open: an engine or
    `auto`, and a batch size or None. No batch is much larger than the `most` images that there are: the rest would be
    padding. Raises DeviceUnavailable, OutOfMemory for what was asked for and can't be had."""
    engine, batch_size = asked
    engines = device.engines if engine == "auto" else (engine,)
    largest = 1 << (max(1, rows if most is None else most) - 1).bit_length()
    worth = {name: device.batch_sizes(name) if batch_size is None else (batch_size,) for name in engines}
    sizes = {name: tuple(dict.fromkeys(min(size, largest) for size in tried)) for name, tried in worth.items()}
    trials, known = Trials(extractor, image_size, note), extractor.known
    way = choose(rows, sizes, trials.measure, extractor.lanes, known)
    settled = trials.arranged(way, rows)
    if way != known.chosen or rows > known.rows:
        known.chosen, known.rows = way, rows
    return settled
