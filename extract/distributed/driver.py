"""The driver of several workers: it hands out shards, takes back what the manifest says of them, and outlives workers.

What is left to do is always the plan less the shards that are there, so that whatever dies costs the shards in hand.
"""

import concurrent.futures
import dataclasses
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from headstart.core.cache.errors import WorkerLost
from headstart.core.cache.manifest import ShardRecord
from headstart.core.cache.shard_plan import Part
from headstart.core.extract.distributed.hands import Hand, Hands
from headstart.core.extract.distributed.shift import MOST_STARTS, Shift, none_begins
from headstart.core.extract.distributed.worker import Answer
from headstart.core.extract.executors import Made, Work
from headstart.core.extract.executors.local import Alone
from headstart.core.extract.job import Job
from headstart.core.extract.rows.computing import Load
from headstart.core.extract.rows.making import to_compute

LOADING_S = 30.0
"""Seconds for which the first worker waits for the others to load, before it measures and begins."""


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
        shift = Shift(work, network, self._hands, deque(parts), rows, notes=set(notes), others=others)
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
                    raise none_begins(hand, error) from None

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
