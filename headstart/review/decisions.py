"""The decisions on a data set's pictures: the file that keeps them, and who saw what when they decided.

A browser says with each decision which state of the picture it saw. Where that is no longer the state, somebody else has
decided, and the decision is refused: nothing is overwritten unseen. A decision is confirmed once it is durably in the file.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

from headstart.core.cache import corrections
from headstart.core.cache.corrections import UNDO, Correction, Corrections
from headstart.core.cache.errors import DataNotFound, HeadstartError


@dataclasses.dataclass(frozen=True)
class Standing:
    """The decision that stands on a picture, None where there is none. Its `version` is another one with each decision."""

    picture: str
    version: str
    decision: Correction | None

    def to_json(self) -> dict[str, str | None]:
        """What the page is told of it."""
        found = self.decision
        return {
            "picture": self.picture,
            "version": self.version,
            "action": None if found is None else found.action,
            "label": "" if found is None else found.label,
            "when": "" if found is None else found.when,
        }


class Overtaken(HeadstartError):
    """Somebody else decided on the picture meanwhile: `standing` is what stands now."""

    def __init__(self, standing: Standing) -> None:
        super().__init__("somebody else has decided on this picture meanwhile; nothing was changed")
        self.standing = standing


class NothingToUndo(HeadstartError):
    """No decision stands on the picture."""


class Decisions:
    """The decisions in a file. Threads may share it; other processes may add lines to the file at the same time.

    `epoch` names this object: versions of another one, of a service that ran before, are told from its own.
    """

    def __init__(self, path: Path, epoch: str) -> None:
        """Raises DataInvalid where the file holds something else, OSError."""
        self.path, self.epoch = path, epoch
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._number, self._numbers = 0, dict[str, int]()
        self._found = self._read()

    @property
    def found(self) -> Corrections:
        """All that stands, whoever decided it. Raises DataInvalid, OSError."""
        with self._lock:
            self._follow()
            return self._found

    def of(self, pictures: Collection[str]) -> list[Standing]:
        """What stands on each of these pictures."""
        with self._lock:
            return [self._standing(picture) for picture in pictures]

    def since(self, number: int) -> tuple[int, list[Standing]]:
        """The number of the last change, and what stands on the pictures that were decided on after change `number`. Raises
        DataInvalid, OSError."""
        with self._lock:
            self._follow()
            return self._number, [self._standing(one) for one, at in self._numbers.items() if at > number]

    def decide(self, decision: Correction, version: str) -> tuple[int, Standing]:
        """Keep a decision by somebody who saw the picture's state `version`, and return the number of the change and what
        stands. Raises Overtaken, NothingToUndo, DataInvalid, OSError; the file is as it was then."""
        with self._lock:
            self._follow()
            before = self._standing(decision.picture)
            if before.version != version:
                raise Overtaken(before)
            if decision.action == UNDO and before.decision is None:
                raise NothingToUndo("no decision stands on this picture: there is nothing to undo")
            after = corrections.append(self.path, [decision])
            self._change([decision.picture, *self._differing(after)])
            self._found, self._seen = after, None  # read again: others may have added lines since
            return self._number, self._standing(decision.picture)

    def _standing(self, picture: str) -> Standing:
        version = f"{self.epoch}.{self._numbers.get(picture, 0)}"
        return Standing(picture, version, self._found.stands.get(picture))

    def _follow(self) -> None:
        """Take up what other processes added."""
        if self._mark() != self._seen:
            found = self._read()
            self._change(self._differing(found))
            self._found = found

    def _read(self) -> Corrections:
        self._seen = self._mark()
        try:
            return corrections.read(self.path)
        except DataNotFound:
            return corrections.NONE

    def _mark(self) -> tuple[int, ...] | None:
        """What differs once the file is another one."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def _differing(self, found: Corrections) -> Iterator[str]:
        before = self._found.stands
        for picture in [*before.keys() - found.stands.keys(), *found.stands]:
            if before.get(picture) != found.stands.get(picture):
                yield picture

    def _change(self, pictures: Collection[str] | Iterator[str]) -> None:
        for picture in dict.fromkeys(pictures):
            self._number += 1
            self._numbers[picture] = self._number
