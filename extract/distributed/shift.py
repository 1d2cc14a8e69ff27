"""One run of workers over the shards that are left: each is handed the next one, and whatever dies is made anew."""

import concurrent.futures
import dataclasses
import queue
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from headstart.core.cache.errors import DeviceUnavailable, FeaturesInvalid, WorkerLost
from headstart.core.cache.manifest import ShardRecord
from headstart.core.cache.shard_plan import Part
from headstart.core.extract.distributed.hands import Hand, Hands
from headstart.core.extract.distributed.worker import Answer, Finished, Task
from headstart.core.extract.executors import Network, Work
from headstart.core.extract.job import ShardsDone
from headstart.core.extract.reading import Pace
from headstart.core.extract.tuning.trials import EngineRequest

MOST_LOSSES = 4
"""How often a shard's worker may die before the shard is held to be the reason."""
MOST_STARTS = 3
"""How often a worker may die before it has done anything, without any other having done something meanwhile."""
LOOK_S = 0.2
"""Seconds between two looks at what the user wants."""
WAITING_S = 30.0
"""Seconds without any worker after which it is said that one is waited for."""


@dataclasses.dataclass(frozen=True)
class _Asked:
    """A worker that was asked for something: for a shard, or (None) to become ready."""

    place: int
    hand: Hand
    part: Part | None
    since: float


def none_begins(hand: Hand, error: WorkerLost) -> WorkerLost:
    """The error of workers that die before they have done anything."""
    return WorkerLost(
        f"{hand.name} was {error}, and so were others, before they could begin; is there memory for them? --num says how "
        f"many, and --executor local needs none"
    )


@dataclasses.dataclass
class Shift:
    """One run of the workers over the parts that are left, of which `rows` have to be computed. `others` have started, and
    are taken from there."""

    work: Work
    network: Network
    hands: Hands
    left: deque[Part]
    rows: int
    records: list[ShardRecord] = dataclasses.field(default_factory=list)
    computed: int = 0
    pace: Pace = dataclasses.field(default_factory=Pace)
    asked: "dict[Future[Answer], _Asked]" = dataclasses.field(default_factory=dict)
    idle: dict[int, Hand] = dataclasses.field(default_factory=dict)
    losses: Counter[Part] = dataclasses.field(default_factory=Counter)
    starts: int = 0
    told: Counter[str] = dataclasses.field(default_factory=Counter)
    rates: dict[str, float] = dataclasses.field(default_factory=dict)
    notes: set[str] = dataclasses.field(default_factory=set)
    busy_at: float = dataclasses.field(default_factory=time.monotonic)
    batch_size: int = 0
    others: dict[int, Hand] = dataclasses.field(default_factory=dict)

    def run(self, first: Hand, total: int) -> None:
        """Until all parts are made. Raises WorkerLost, and what a worker's answer raises."""
        self.idle[0], self.batch_size = first, self.network.config.batch_size
        for place in range(1, min(self.hands.count, total)):
            self._start(place)
        while len(self.records) < total:
            while self.left and self.idle:
                place, hand = self.idle.popitem()
                part = self.left.popleft()
                self._ask(place, hand, part, "make", self._task(part))
            done, _ = concurrent.futures.wait(self.asked, LOOK_S, concurrent.futures.FIRST_COMPLETED)
            self._advance()
            for future in done:
                self._take(future, self.asked.pop(future), total)
            self._say_if_none_works()
        self._check()

    def close(self) -> None:
        """End all workers."""
        for hand in [*self.idle.values(), *(one.hand for one in self.asked.values())]:
            hand.close()

    def _ask(self, place: int, hand: Hand, part: Part | None, what: str, *given: Any) -> None:
        self.asked[hand.ask(what, *given)] = _Asked(place, hand, part, time.monotonic())

    def _start(self, place: int) -> None:
        request = EngineRequest.like(self.network.config, self.rows // self.hands.count)
        hand = self.others.pop(place) if place in self.others else self.hands.start(place)
        self._ask(place, hand, None, "prepare", request)

    def _task(self, part: Part) -> Task:
        work = self.work
        work.contents.stat(part.start, part.stop)  # as the files are before anybody reads them
        known, contents = work.known.part(part.start, part.stop), work.contents.known(part.start, part.stop)
        return Task(part, work.writer.folder, self.network.config, known, contents)

    def _take(self, future: "Future[Answer]", asked: _Asked, total: int) -> None:
        """What a worker answered, or its end."""
        try:
            answer = future.result()
        except WorkerLost as error:
            self._lost(asked, error)
            return
        self.starts, self.idle[asked.place] = 0, asked.hand
        if asked.part is None:
            network, notes = answer.get()
            self._note(asked.hand, notes)
            self._same(asked.hand, network)
            return
        found: Finished = answer.get()
        self._note(asked.hand, found.notes)
        self.batch_size = min(self.batch_size, found.batch_size)
        self.records.append(found.record)
        self.work.writer.noted(found.record)
        self.computed += found.computed
        self.work.contents.take(found.contents)
        self.pace.reading_s += found.pace.reading_s
        self.pace.total_s += found.pace.total_s
        self.pace.images += found.pace.images
        self.rates[asked.hand.name] = found.computed / max(time.monotonic() - asked.since, 1e-9)
        self._advance()
        self.work.observer.advance(found.computed - self.told.pop(asked.hand.name, 0))
        self._say(total)

    def _lost(self, asked: _Asked, error: WorkerLost) -> None:
        """Another takes the place of a worker that has died, and the shard is made anew."""
        observer, part = self.work.observer, asked.part
        observer.advance(-self.told.pop(asked.hand.name, 0))
        asked.hand.close()
        if part is None:
            self.starts += 1
            if self.starts >= MOST_STARTS * self.hands.count:
                raise none_begins(asked.hand, error)
        else:
            self.losses[part] += 1
            if self.losses[part] >= MOST_LOSSES:
                raise WorkerLost(
                    f"{self.work.job.title}: rows {part.start:,} to {part.stop:,} have cost {MOST_LOSSES} workers, the "
                    f"last one {error}; is memory too small for --num {self.hands.count}, or does one of these pictures "
                    f"end it? What is done is kept, and the same command goes on from there"
                ) from None
            self.left.appendleft(part)
            observer.note(f"{asked.hand.name} was {error}; shard {part.index} is made anew")
        self._start(asked.place)

    def _note(self, hand: Hand, notes: Sequence[str]) -> None:
        """What a worker remarks; what all of them do is said once."""
        for text in notes:
            if text not in self.notes:
                self.work.observer.note(f"{hand.name}: {text}")

    def _same(self, hand: Hand, network: Network) -> None:
        """Raise DeviceUnavailable where a worker would compute other bits."""
        ours = self.network
        if network != ours:
            raise DeviceUnavailable(
                f"{hand.name}: {_worded(network)}, where the first worker has {_worded(ours)}; workers must be alike, to "
                f"give the same features"
            )

    def _advance(self) -> None:
        """Tell the observer of what was done since; it may want to end here."""
        self.work.observer.advance(0)
        while True:
            try:
                name, rows = self.hands.advanced.get_nowait()
            except queue.Empty:
                return
            self.told[name] += rows
            self.work.observer.advance(rows)

    def _say(self, total: int) -> None:
        done = ShardsDone(len(self.records), total, self.losses.total(), dict(self.rates))
        self.work.observer.shards(done)

    def _say_if_none_works(self) -> None:
        now = time.monotonic()
        if any(one.part is not None for one in self.asked.values()):
            self.busy_at = now
        elif self.left and now - self.busy_at > WAITING_S:
            self.busy_at = now
            self.work.observer.note(f"{len(self.left):,} shards wait for a worker to start")

    def _check(self) -> None:
        """Whether all networks stayed what they were. Raises FeaturesInvalid; then no shard of this run is kept."""
        asked = [hand.ask("check") for hand in self.idle.values()]
        try:
            for future in asked:
                try:
                    future.result().get()
                except WorkerLost:
                    continue  # nobody can ask it any more, as after a kill
        except FeaturesInvalid:
            self.work.writer.discard(self.records)
            raise


def _worded(network: Network) -> str:
    config = network.config
    return f"{network.device}, {config.engine} in batches of {config.batch_size}, parameters {network.parameters[:12]}…"
