"""One backbone, asked by many at once: batches of whatever is waiting, computed as an extraction computes them.

A picture that is alone is computed at once, by all of the processor's threads. Where more are on their way, each of the
extraction's workers has a batch of its own, cut so that twice as many batches are under way as are computed: while one is
computed, the answers of another go out and the next requests are decoded. Batches have few sizes, and no row is padding: on
a CPU a row's bits do not depend on how many came with it (`extract.featurise`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import numpy as np

from headstart.core.extract.network.interface import EngineConfig, Extractor, Features, Pixels
from headstart.core.extract.network.workers import use_one_thread
from headstart.core.heads.predict import Wanted, answers
from headstart.serve.engine.asked import Answer, Picture
from headstart.serve.heads import Served, Shared

if TYPE_CHECKING:
    from headstart.core.extract.pictures.preprocess import Preprocessing


class Watch(Protocol):
    """Told of each batch that was computed, from the thread that computed it."""

    def batch(self, pictures: int, seconds: float) -> None:
        """So many pictures took so long."""


_FADES = 0.95
"""How much of the number of pictures that were in hand is still believed after each batch."""
_NEAREST = 2**0.5
"""Makes the largest power of two below a number the nearest one to it."""

Waiting = tuple[Picture, Pixels, float]
"""A picture as its backbone sees it, uint8 (S, S, 3), and since when it waits."""


def sizes_up_to(most: int) -> tuple[int, ...]:
    """The sizes of batches: powers of two below `most`, and that."""
    found = [1 << power for power in range(most.bit_length()) if 1 << power < most]
    return (*found, most)


def alone_thread() -> ThreadPoolExecutor:
    """One thread, which alone computes with all of the processor's threads, for all backbones: each thread that does has a
    team of OpenMP threads of its own, and where those of all teams are more than the processors, they sleep between two
    operations instead of waiting awake (libgomp, GOMP_SPINCOUNT). A picture took 10.3 ms by a second thread and 7.4 by the
    only one (ResNet18, two cores)."""
    return ThreadPoolExecutor(1, "alone")


class Batcher:
    """Computes pictures through one backbone and asks its heads.

    `lanes` threads each have a batch. `delay_s` is the longest that pictures wait for others that are being decoded.
    `alone` (`alone_thread`) computes the picture that is alone.
    """

    def __init__(self, shared: Shared, delay_s: float, watch: Watch, alone: ThreadPoolExecutor | None = None) -> None:
        self.heads = shared.heads
        self._delay_s, self._watch, self._alone = delay_s, watch, alone or alone_thread()
        self._extractor = shared.extractor
        self._sizes = sizes_up_to(shared.extractor.batch_size)
        self._on_cpu = shared.extractor.device.kind == "cpu"
        self._lanes = shared.extractor.concurrent_batches if self._on_cpu else 2
        self._shares = 2 * self._lanes if self._on_cpu else self._lanes
        self._asking = threading.Lock()
        self._changed = threading.Condition()
        self._waiting: deque[Waiting] = deque()
        self._in_hand = self._decoding = 0
        self._lately = 0.0
        self._closed = False
        self._threads: list[threading.Thread] = []

    @property
    def transform(self) -> Preprocessing:
        """What happens to a picture before it is put here."""
        return self._extractor.preprocessing

    @property
    def precision(self) -> str:
        """That of the features."""
        return self._extractor.device.precision

    @property
    def queue(self) -> int:
        """How many pictures wait."""
        return len(self._waiting)

    def start(self) -> None:
        """Start the lanes."""
        for lane in range(self._lanes):
            self._threads.append(threading.Thread(target=self._run, name=f"lane-{lane}", daemon=True))
            self._threads[-1].start()

    def warm(self) -> None:
        """Compute a batch of each size in each way that there is. Raises OutOfMemory."""
        side = self.transform.image_size
        for size in self._sizes:
            blank = np.zeros((size, side, side, 3), dtype=np.uint8)
            running = self._running(size)
            pending = [running.submit(blank) for _ in range(self._extractor.concurrent_batches)]
            features = [each.result() for each in pending]
        self._alone.submit(self._running(1), blank[:1]).result()
        for head in self.heads:
            answers(head.trained.checkpoint, list(features[0]), "cpu", Wanted())

    def close(self) -> None:
        """Compute what waits, take nothing more, and return once the lanes have ended."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def expect(self, pictures: int) -> None:
        """So many are being decoded."""
        with self._changed:
            self._in_hand += pictures
            self._decoding += pictures
            self._lately = max(self._in_hand, self._lately)

    def unexpect(self) -> None:
        """One of them can't be."""
        with self._changed:
            self._in_hand -= 1
            self._decoding -= 1
            self._changed.notify()

    def put(self, picture: Picture, pixels: Pixels) -> None:
        """One of them is: uint8 (S, S, 3)."""
        with self._changed:
            self._decoding -= 1
            self._waiting.append((picture, pixels, time.monotonic()))
            self._changed.notify()

    # ------------------------------------------------------------------------------------------------ in the lanes

    def _run(self) -> None:
        if self._on_cpu:  # else a head's matrix product would give this thread a team too
            use_one_thread()
        while (batch := self._take()) is not None:
            alone = self._on_cpu and len(batch) == self._in_hand == 1
            try:
                self._answer(batch, alone)
            except Exception as error:  # whatever it is, who waits hears of it and the lane goes on
                for picture, _, _ in batch:
                    picture.ask.settle(error=error)
            finally:
                with self._changed:
                    self._in_hand -= len(batch)

    def _take(self) -> list[Waiting] | None:
        """The next batch; None once there will be none."""
        with self._changed:
            while True:
                if not self._waiting:
                    if self._closed:
                        return None
                    self._changed.wait()
                elif (left_s := self._patience()) > 0:
                    self._changed.wait(left_s)
                else:
                    count = self._fitting(min(len(self._waiting), self._share))
                    batch = [self._waiting.popleft() for _ in range(count)]
                    self._lately = max(self._in_hand, self._lately * _FADES)
                    if self._waiting:  # for another lane, which nobody may have told of them
                        self._changed.notify()
                    return batch

    @property
    def _share(self) -> int:
        """How many pictures a batch has, so that those that were in hand lately make as many batches as shall be under
        way. They are fewer each time that answers go out, until who got them has asked again."""
        return self._fitting(max(1, int(_NEAREST * self._lately / self._shares)))

    def _fitting(self, count: int) -> int:
        """The largest size of batches that so many fill."""
        return max(size for size in self._sizes if size <= count)

    def _patience(self) -> float:
        """The seconds to wait for a better batch: none where enough is there or nothing is on its way."""
        if not self._decoding or len(self._waiting) >= self._share:
            return 0.0
        return self._waiting[0][2] + self._delay_s - time.monotonic()

    def _running(self, size: int) -> Extractor:
        return self._extractor.running(EngineConfig(self._extractor.engine, size))

    def _answer(self, batch: Sequence[Waiting], alone: bool) -> None:
        started = time.perf_counter()
        there = [(picture, pixels) for picture, pixels, _ in batch if not picture.ask.dropped]
        if there:
            features = self._compute(np.stack([pixels for _, pixels in there]), alone)
            for head in self.heads:
                ask_head(head, [picture for picture, _ in there], features)
            self._watch.batch(len(there), time.perf_counter() - started)
        for picture, _, _ in batch:
            picture.ask.settle()

    def _compute(self, pixels: Pixels, alone: bool) -> Features:
        running = self._running(next(size for size in self._sizes if size >= len(pixels)))
        if alone:
            return self._alone.submit(running, pixels).result()
        if self._on_cpu:
            return running.submit(pixels).result()
        with self._asking:  # a device's buffers are filled in turns; it computes while another lane waits for its features
            pending = running.submit(pixels)
        return pending.result()


def ask_head(head: Served, pictures: Sequence[Picture], features: Features) -> None:
    """Give the pictures that want this head its answers, from features (n, D) of all of them."""
    wanted: dict[Wanted, list[int]] = {}
    for row, picture in enumerate(pictures):
        if head.name in picture.ask.wishes.heads:
            wanted.setdefault(picture.ask.wishes.wanted, []).append(row)
    for wish, rows in wanted.items():
        found = answers(head.trained.checkpoint, [features[row] for row in rows], "cpu", wish)
        for row, (labels, possible) in zip(rows, found, strict=True):
            pictures[row].answers[head.name] = Answer(labels, possible, _nearest(head, pictures[row], features[row]))


def _nearest(head: Served, picture: Picture, features: Features) -> list[dict[str, object]] | None:
    count = picture.ask.wishes.neighbours
    return head.nearest.nearest(features, count) if count and head.nearest is not None else None
