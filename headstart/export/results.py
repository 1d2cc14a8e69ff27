"""What became of an export or a check, for whoever tells it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from headstart.core.heads.statistics.accuracy import Score
from headstart.export.files.facts import Facts
from headstart.export.measuring.agreement import Agreement
from headstart.inference.trained import TrainedHead


@dataclasses.dataclass(frozen=True)
class OnRows:
    """The first `rows` of a data set's split: the agreement of a file with `predict` in fp32, and how many got the right
    label by each; None where that would be no test, for the reason in `untested`. `corrected` says what corrections did to
    the labels, None without any."""

    dataset: str
    split: str
    rows: int
    of: int
    agreement: Agreement
    right: Score | None
    right_by_predict: Score | None
    untested: str | None
    corrected: str | None = None


@dataclasses.dataclass(frozen=True)
class Checked:
    """How a file was held against `predict` in fp32, run by `by`: on its test pictures, `tests` in number, and on those
    given. `own` is the same beside the precision that the head's features have, None where that is fp32 or is not to be had
    here. `on_rows` are rows of a data set, None where there are none, for the reason in `unmeasured`."""

    by: str
    facts: Facts
    agreement: Agreement
    tests: int
    own: tuple[str, Agreement] | None = None
    on_rows: OnRows | None = None
    unmeasured: str | None = None


@dataclasses.dataclass(frozen=True)
class Exported:
    """A file that was written: its size in bytes and SHA-256. `checked` is None for tensors alone, which nothing runs.
    `card` is where its model card is, None where none was asked for."""

    path: Path
    nbytes: int
    sha256: str
    head: TrainedHead
    checked: Checked | None
    card: Path | None


@dataclasses.dataclass(frozen=True)
class Proven:
    """A file that was run again by `by`: what stands in it, and how far its test pictures are from that. `given` are
    pictures by `predict` in fp32 with the head called `head`, None where none were given."""

    path: Path
    by: str
    facts: Facts
    agreement: Agreement
    head: str | None = None
    given: Agreement | None = None
