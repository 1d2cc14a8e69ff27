"""A review under way: the pictures in their order, the decisions, and one retraining at a time."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from headstart.core.cache.errors import HeadstartError
from headstart.core.heads.statistics.accuracy import Score
from headstart.review.contents import Contents
from headstart.review.decisions import Decisions
from headstart.review.order import KINDS, Proposal
from headstart.review.retraining import Comparison, Retrained, Told

LOG = logging.getLogger("headstart.review")


@dataclasses.dataclass(frozen=True, eq=False)
class Queue:
    """The contents in the order to look at them, each with its proposal, and the names of all `classes`. `generation`
    counts the orders that there were."""

    generation: int
    order: tuple[int, ...]
    proposals: dict[int, Proposal]
    classes: tuple[str, ...]

    def of_kind(self, kind: str | None) -> tuple[int, ...]:
        """Those of a kind, all for None, in order."""
        return tuple(item for item in self.order if kind is None or self.proposals[item].kind == kind)

    def counts(self) -> list[dict[str, Any]]:
        """How many there are of each kind that is there."""
        found = Counter(self.proposals[item].kind for item in self.order)
        return [{"kind": kind, "count": found[kind]} for kind in KINDS if found[kind]]


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a retraining is: `state` is idle, running, done or failed; steps `done` of `steps`; the `comparison` of the
    last one that was done; why one failed. `started` is the `time.monotonic` of its start."""

    state: str = "idle"
    number: int = 0
    done: int = 0
    steps: int = 1
    comparison: Comparison | None = None
    error: str = ""
    started: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """What the page is told of it."""
        found = self.comparison
        return {
            "state": self.state,
            "number": self.number,
            "done": self.done,
            "steps": self.steps,
            "seconds": round(time.monotonic() - self.started) if self.state == "running" else 0,
            "error": self.error,
            "comparison": None
            if found is None
            else {
                "by": found.by,
                "before": _score(found.before),
                "after": _score(found.after),
                "decisions": found.decisions,
                "seconds": round(found.elapsed_s, 2),
            },
        }


def _score(found: Score | None) -> dict[str, float] | None:
    if found is None:
        return None
    low, high = found.interval
    return {"accuracy": found.accuracy, "low": low, "high": high, "correct": found.correct, "pictures": found.total}


Run = Callable[[Any, Told], Retrained]
Ordering = Callable[[Retrained, frozenset[int]], dict[int, Proposal]]


class Work:
    """What all browsers share. `run` trains on decisions, `ordering` says what to look at by what came of it."""

    def __init__(self, contents: Contents, decisions: Decisions, first: Retrained, run: Run, ordering: Ordering) -> None:
        self.contents, self.decisions = contents, decisions
        self._run, self._ordering = run, ordering
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.progress = Progress()
        self.queue = self._queued(first, 1)

    @property
    def running(self) -> bool:
        """Whether heads are being trained."""
        return self.progress.state == "running"

    def retrain(self) -> bool:
        """Start a retraining, unless one runs: whether it was started."""
        with self._lock:
            if self.running:
                return False
            before = self.progress
            self.progress = Progress("running", before.number + 1, comparison=before.comparison, started=time.monotonic())
            self._thread = threading.Thread(target=self._retrain, name="retrain", daemon=True)
            self._thread.start()
            return True

    def join(self) -> None:
        """Wait until nothing is trained any more."""
        if self._thread is not None:
            self._thread.join()

    def _retrain(self) -> None:
        started = self.progress
        try:
            found = self._run(self.decisions.found, self._told)
            self.queue = self._queued(found, self.queue.generation + 1)
            self.progress = dataclasses.replace(self.progress, state="done", comparison=found.comparison)
        except (HeadstartError, OSError) as error:
            self.progress = dataclasses.replace(started, state="failed", error=str(error))
        except Exception as error:
            LOG.error("retraining failed", exc_info=error)
            self.progress = dataclasses.replace(started, state="failed", error="it failed here; the service's log says why")

    def _told(self, done: int, steps: int) -> None:
        self.progress = dataclasses.replace(self.progress, done=done, steps=steps)

    def _queued(self, found: Retrained, generation: int) -> Queue:
        items, stands = self.contents.items, self.decisions.found.stands
        decided = frozenset(items[picture] for picture in stands if picture in items)
        proposals = self._ordering(found, decided)
        return Queue(generation, tuple(proposals), proposals, found.current.classes)
