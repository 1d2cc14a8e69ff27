"""The driver of several workers: it hands out shards, takes back what the manifest says of them, and outlives workers.

What is left to do is always the plan less the shards that are there, so that whatever dies costs the shards in hand.
"""

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
from headstart.core.extract.executors import Made, Network, Work
from headstart.core.extract.executors.local import Alone
from headstart.core.extract.job import Job, ShardsDone
from headstart.core.extract.reading import Pace
from headstart.core.extract.rows.computing import Load
from headstart.core.extract.rows.making import to_compute
from headstart.core.extract.tuning.trials import EngineRequest

MOST_LOSSES = 4
"""How often a shard's worker may die before the shard is held to be the reason."""
MOST_STARTS = 3
"""How often a worker may die before it has done anything, without any other having done something meanwhile."""
LOOK_S = 0.2
"""Seconds between two looks at what the user wants."""
WAITING_S = 30.0
"""Seconds without any worker after which it is said that one is waited for."""
LOADING_S = 30.0
"""Seconds for which the first worker waits for the others to load, before it measures and begins."""


@dataclasses.dataclass(frozen=True)
class _Asked:
    """A worker that was asked for something: for a shard, or (None) to become ready."""

    place: int
    hand: Hand
    part: Part | None
    since: float


class Team:
    """Several workers that make a job's shards: an `extract.executors.Crew`."""

    def __init__(self, job: Job, loader: Load, hands: Hands) -> None:
        self._job, self._loader, self._hands = job, loader, hands
        self._first: Hand | None = None
        self._others: dict[int, Hand] = {}
        self._loading: list[Future[Answer]] = []

    def load(self) -> None:
        self._leader()
        self._start_others(-(-self._job.rows // self._job.config.shard_rows))
        self._led("load")

    def make(self, work: Work, parts: Sequence[Part], todo: int) -> Made:
        if not todo:  # rows are copied, which no other process does better
            return Alone(work.job, self._loader).make(work, parts, todo)
        request, _ = work.request(todo), self._leader()
        self._start_others(len(parts))
        # what they do meanwhile would be measured; one for whom a cluster has no room yet is not waited for
        concurrent.futures.wait(self._loading, LOADING_S)
        network, notes = self._led("prepare", request)
        for text in notes:
            work.observer.note(text)
        work.begin(network)
        # no worker knows what another computes, so a picture that two shards have is computed for both
        rows = sum(to_compute(work.known, [part]) for part in parts)
        work.observer.begin(work.job.title, work.rows, work.rows - rows)
        started, others = time.perf_counter(), self._others
        shift = _Shift(work, network, self._hands, deque(parts), rows, notes=set(notes), others=others)
        first, self._first = self._leader(), None
        try:
            shift.run(first, len(parts))
        finally:
            shift.close()
        elapsed_s = time.perf_counter() - started
        remark = shift.pace.remark(work.job.config.workers)
        config = dataclasses.replace(network.config, batch_size=shift.batch_size)
        network = dataclasses.replace(network, config=config)
        records = _by_the_clock(shift.records, elapsed_s)
        return Made(records, shift.computed, elapsed_s, network, () if remark is None else (remark,))

    def close(self) -> None:
        for hand in [*([self._first] if self._first is not None else []), *self._others.values()]:
            hand.close()
        self._first = None
        self._others.clear()
        self._hands.close()

    def _led(self, what: str, *given: Any) -> Any:
        """What the first worker answers; where it dies another takes its place. Raises WorkerLost, and what it answers."""
        starts = 0
        while True:
            hand, starts = self._leader(), starts + 1
            try:
                return hand.ask(what, *given).result().get()
            except WorkerLost as error:
                self._first = None
                hand.close()
                if starts == MOST_STARTS:
                    raise _none_begins(hand, error) from None

    def _leader(self) -> Hand:
        """The worker that loads and measures first."""
        if self._first is None:
            self._first = self._hands.start(0)
        return self._first

    def _start_others(self, count: int) -> None:
        """Start those that will be needed and have them load while the first one does, so that they can begin with it."""
        for place in range(1, min(self._hands.count, count)):
            if place not in self._others:
                self._others[place] = self._hands.start(place)
                self._loading.append(self._others[place].ask("load"))  # what goes wrong comes again when they are prepared


def _by_the_clock(records: Sequence[ShardRecord], elapsed_s: float) -> list[ShardRecord]:
    """The shards with their shares of the seconds by the clock: several were made at once, and images per second come from
    the sum."""
    spent = sum(record.elapsed_s or 0.0 for record in records)
    factor = elapsed_s / spent if spent else 0.0
    return [dataclasses.replace(record, elapsed_s=round((record.elapsed_s or 0.0) * factor, 3)) for record in records]


def _none_begins(hand: Hand, error: WorkerLost) -> WorkerLost:
    return WorkerLost(
        f"{hand.name} was {error}, and so were others, before they could begin; is there memory for them? --num says how "
        f"many, and --executor local needs none"
    )


@dataclasses.dataclass
class _Shift:
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
                raise _none_begins(asked.hand, error)
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
