"""How to run a network fastest: the batch size and the engine, from rates measured on this device.

Imports no torch. The choice is made once for all the rows of a command and recorded, since it may change a feature's last
bits.
"""

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np

from headstart.core.cache.errors import DeviceUnavailable, OutOfMemory
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.interface import EngineConfig, Extractor, Pending, Pixels, TuningState

COMPILE_S = 25.0
"""What compiling costs: 8 to 27 s on two Zen 4 cores for vgg16 and resnet50, 4 to 6 s from kept code (measured)."""

LEAST_GAIN = 0.1
"""The part of the time that compiling must save to be tried. It saved 2 % (vgg16) to 20 % (resnet50) there (measured)."""

SIZE_GAIN = 0.03
"""The same for compiling once more, for another batch size: what a second size can be hoped to save."""

TRIAL_PART = 0.05
"""The part of a run's images whose time may go into trying batch sizes."""

ROUNDS_PER_TRIAL = 3
"""One to warm up, and two that are timed; as many batches in each as are computed at once."""

VARIANT_BATCHES, VARIANT_ROUNDS = 3, 2
"""How host variants are compared: batches of a round, enough for one to be prepared while another is computed, and rounds,
the first of which warms up."""


@dataclasses.dataclass(frozen=True)
class EngineRequest:
    """What is asked for, and what is left to the trials: engine `auto`, batch size None.

    The choice is made for `rows` images, in all passes over them. There are `most` images at once (by default `rows`): a
    batch that is much larger would be padding.
    """

    rows: int
    engine: str = "auto"
    batch_size: int | None = None
    most: int | None = None

    @classmethod
    def like(cls, config: EngineConfig, rows: int) -> "EngineRequest":
        """`rows` images as others compute those of the same set, however few are done here."""
        return cls(rows, config.engine, config.batch_size, max(rows, config.batch_size))

    def candidates(self, device: Device) -> dict[str, tuple[int, ...]]:
        """The batch sizes worth trying with each engine, the usual ones first."""
        engines = device.engines if self.engine == "auto" else (self.engine,)
        largest = 1 << (max(1, self.most or self.rows) - 1).bit_length()
        sizes = {name: (self.batch_size,) if self.batch_size else device.batch_sizes(name) for name in engines}
        return {name: tuple(dict.fromkeys(min(size, largest) for size in tried)) for name, tried in sizes.items()}


Measure = Callable[[EngineConfig], float]
"""Images per second, or 0 where the configuration can't be run here (no memory, no compiler)."""

Sizes = Mapping[str, Sequence[int]]
"""The batch sizes worth trying with each engine. A short run takes the first size of the first engine unmeasured."""


def choose(
    rows: int, sizes: Sizes, measure: Measure, concurrent_batches: int = 1, state: TuningState | None = None
) -> EngineConfig:
    """The fastest configuration for `rows` images.

    A trial takes `concurrent_batches` at once. The first engine's batch sizes are tried where the run is long enough;
    another engine where compiling pays, or has been done already, beginning with its own favourite size: what is best for
    several batches at once need not be best for a compiled network (ResNet50 on two cores: eager 43.0 images/s in batches
    of 8 and 40.8 of 16, compiled 47.3 and 49.2). What was chosen in this process for at least as many rows is taken again.
    """
    state = state or TuningState()
    (engine, usual), *others = sizes.items()
    configs = [EngineConfig(name, size) for name, tried in sizes.items() for size in tried]
    if state.chosen in configs and state.rows >= rows >= state.chosen.batch_size:
        return state.chosen
    if len(configs) == 1 or ROUNDS_PER_TRIAL * concurrent_batches * sum(usual) > rows * TRIAL_PART:
        return configs[0]
    rates = {config: measure(config) for config in (EngineConfig(engine, size) for size in usual)}

    def pays(config: EngineConfig, gain: float) -> bool:
        return config in state.ready or max(rates.values()) * COMPILE_S < rows * gain

    for name, tried in others:
        for place, config in enumerate(EngineConfig(name, size) for size in tried):
            if not pays(config, LEAST_GAIN if place == 0 else SIZE_GAIN):
                break
            rates[config] = measure(config)
            if rates[config] < max(rates.values()):  # neither the engine nor a step from its favourite is better
                break
    return max(rates, key=lambda config: rates[config])


E = TypeVar("E", bound=Extractor)


class Trials(Generic[E]):
    """Measures configurations of one extractor, each once in a process. `note` is told what is prepared and what fails."""

    def __init__(self, extractor: E, note: Callable[[str], None]) -> None:
        self._extractor, self._note = extractor, note

    def running(self, config: EngineConfig) -> E:
        """The extractor so configured. Raises DeviceUnavailable, OutOfMemory."""
        if config.engine != "eager" and config not in self._extractor.tuning.ready:
            self._note(f"preparing the {config.engine} engine for batches of {config.batch_size}")
        return self._extractor.running(config)

    def measure(self, config: EngineConfig) -> float:
        """Images per second by the faster of two rounds; 0, with a note, where the configuration can't be run here."""
        rates = self._extractor.tuning.rates
        if config not in rates:
            try:
                extractor = self.running(config)
                rates[config] = self._rate(extractor, extractor.concurrent_batches, ROUNDS_PER_TRIAL)
            except (DeviceUnavailable, OutOfMemory) as error:
                self._note(f"not used: {error}")
                rates[config] = 0.0
        return rates[config]

    def fastest_variant(self, config: EngineConfig, rows: int) -> E:
        """The extractor so configured, in the fastest of its host variants; they are compared once, and where `rows` are
        worth it. Raises DeviceUnavailable, OutOfMemory."""
        extractor = self.running(config)
        variants, state = extractor.host_variants, extractor.tuning
        images = VARIANT_ROUNDS * VARIANT_BATCHES * len(variants) * config.batch_size
        if len(variants) > 1 and config not in state.compared and images <= rows * TRIAL_PART:
            rates = [self._rate(each, VARIANT_BATCHES, VARIANT_ROUNDS) for each in variants]
            extractor = variants[rates.index(max(rates))]
            state.ready[config] = extractor
            state.compared.add(config)
        return extractor

    def _rate(self, extractor: E, batches: int, rounds: int) -> float:
        """Images per second by the fastest of the rounds but the first, which warms up."""
        size = extractor.preprocessing.image_size
        shape = (extractor.batch_size, size, size, 3)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        seconds = [_round(extractor, images, batches) for _ in range(rounds)]
        return batches * extractor.batch_size / max(min(seconds[1:]), 1e-9)  # some clocks stand still for a while


def _round(extractor: Extractor, images: Pixels, batches: int) -> float:
    """The seconds for some batches, as many in flight as in a run."""
    started = time.perf_counter()
    in_flight: deque[Pending] = deque()
    try:
        for _ in range(batches):
            in_flight.append(extractor.submit(images))
            if len(in_flight) == 2 * extractor.concurrent_batches:
                in_flight[0].result()
                in_flight.popleft()
        while in_flight:
            in_flight[0].result()
            in_flight.popleft()
    finally:
        for pending in in_flight:
            pending.cancel()
    return time.perf_counter() - started


def tune(extractor: E, request: EngineRequest, note: Callable[[str], None] = lambda _: None) -> E:
    """The extractor by the fastest engine and batch size among those that the request leaves open. `note` is told what is
    prepared and what can't be used.

    Raises DeviceUnavailable, OutOfMemory for what was asked for and can't be had.
    """
    trials, state = Trials(extractor, note), extractor.tuning
    config = choose(request.rows, request.candidates(extractor.device), trials.measure, extractor.concurrent_batches, state)
    tuned = trials.fastest_variant(config, request.rows)
    if config != state.chosen or request.rows > state.rows:
        state.chosen, state.rows = config, request.rows
    return tuned
