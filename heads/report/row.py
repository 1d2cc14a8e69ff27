"""A line of the report's table of heads: what was trained, how long it took, and how good it is."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

from headstart.core.heads.audit.leaks import Apart, apart
from headstart.core.heads.curve.record import Curve
from headstart.core.heads.protocol import TEST_SPLIT, Protocol
from headstart.core.heads.report.grouping import Group
from headstart.core.heads.report.units import percent
from headstart.core.heads.runs import Run
from headstart.core.heads.selection.record import Selection
from headstart.core.heads.settings import is_published
from headstart.core.heads.statistics.accuracy import Score
from headstart.core.heads.statistics.measures import NAMES
from headstart.core.heads.timings import Timing


@dataclasses.dataclass(frozen=True)
class Inference:
    """What `bench-inference` measured of a run: `images` labelled in `elapsed_s` seconds."""

    images: int
    elapsed_s: float


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table of heads, for heads that differ in their seed alone. Times in seconds, accuracies as fractions
    of 1; None where it was not measured.

    `run` is the one that stands for them, `accuracy` the mean over `seeds` and `deviation` the standard deviation (None for
    one seed). `interval` is at 95 %, over test images, or over seeds and images where there are several (`interval_over`).
    `extraction_s` is the share of the training rows used, `training_s` the time of the `together` heads trained at once.
    `test_used` names the images that it was tested on, empty where that was not recorded. `published` says whether the
    published figures may stand beside it, `notes` what must stand beside the figures, `folder` where
    the run is, `sigmoid` whether the head was trained with the study's sigmoid before its loss.

    `measures` are the means over `seeds` of those of `statistics.measures` that were recorded of each; None where one is
    not defined. `selection` says what was tried before the run that stands for them, `evaluated_by` on which rows it was
    tested. `place` is where its images are, as `--dataset` takes it, `made_by` the options that make its features, and
    `trained_by` those that train such a head. `curve` is the few-shot curve of the first of the runs that has one.
    `outdated` says that a later snapshot of its data set is there. `without_twins` is the accuracy without test images that
    have a twin in training, None where none is known to have one.
    """

    run: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    model: str
    settings: str
    head: str
    dataset: str
    weights: str
    device: str
    train_rows: int
    test_rows: int
    extraction_s: float | None
    training_s: float
    together: int
    inference: Inference | None
    accuracies: tuple[float, ...]
    accuracy: float
    deviation: float | None
    interval: tuple[float, float]
    interval_over: str
    losses: tuple[float, ...]
    published: bool
    notes: tuple[str, ...]
    folder: str = ""
    test_used: str = ""
    sigmoid: bool = False
    measures: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    selection: Selection | None = None
    evaluated_by: Protocol = TEST_SPLIT
    place: str = ""
    made_by: tuple[str, ...] = ()
    trained_by: tuple[str, ...] = ()
    curve: Curve | None = None
    outdated: bool = False
    without_twins: Apart | None = None

    @property
    def trained_in_s(self) -> float | None:
        """Seconds from images to a trained head: extraction, and its share of a training of several; None where that is
        not known."""
        return None if self.extraction_s is None else self.extraction_s + self.training_s / self.together


def row_of(group: Group, timing: Timing | None, interval: tuple[float, float] | None = None) -> Row:
    """A group's line. `interval` is that over seeds and images where the group's heads could be tested again;
    without it several seeds have the interval over images of a head that is right as often as they are on average."""
    run = group.first
    extraction = run.train
    used = run.train_rows + run.val_rows
    share = None if extraction.elapsed_s is None else extraction.elapsed_s * min(1.0, used / extraction.rows)
    if run.val is not None:
        share = None if share is None or run.val.elapsed_s is None else share + run.val.elapsed_s
    total = run.evaluation.overall.total
    accuracies = tuple(one.evaluation.overall.accuracy for one in group.runs)
    mean = statistics.fmean(accuracies)
    several = len(accuracies) > 1
    without = apart([one.without_twins for one in group.runs], total, chosen=run.val is not None)
    return Row(
        run=run.name,
        runs=tuple(one.name for one in group.runs),
        seeds=tuple(one.config.seed for one in group.runs),
        model=group.model,
        settings=group.settings,
        head=run.config.head,
        dataset=run.key.dataset,
        weights=f"{run.key.weights} {run.key.weights_sha256[:8]}",
        device=run.device,
        train_rows=used,
        test_rows=total,
        extraction_s=share,
        training_s=run.elapsed_s,
        together=run.together,
        inference=Inference(timing.images, timing.elapsed_s) if timing else None,
        accuracies=accuracies,
        accuracy=mean,
        deviation=statistics.stdev(accuracies) if several else None,
        interval=interval or Score(round(mean * total), total).interval,
        interval_over="seeds and images" if several and interval else "images",
        losses=run.losses,
        published=is_published(run.config, run.key),
        notes=_notes(group.runs, without),
        test_used=run.test.used,
        sigmoid=run.config.sigmoid and run.config.trained_by_gradient,
        measures=_means(group.runs),
        selection=run.selection,
        evaluated_by=run.evaluated_by,
        curve=next((one.curve for one in group.runs if one.curve), None),
        without_twins=without,
    )


def _notes(runs: Sequence[Run], without: Apart | None) -> tuple[str, ...]:
    """What must stand beside the figures, each once."""
    found = [note for one in runs for note in (*one.notes, *_tested_by(one.evaluated_by))]
    return tuple(dict.fromkeys([*found, *([without.sentence(percent)] if without else [])]))


def comparable(rows: Sequence[Row]) -> list[Row]:
    """The heads that may be ranked: of those with an accuracy, the ones tested on the images that most were; none that is
    outdated where others are there."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in [row for row in rows if not row.outdated] or rows:
        if math.isfinite(row.accuracy):
            groups.setdefault((row.test_used, row.test_rows), []).append(row)
    return max(groups.values(), key=len, default=[])


def best_of(rows: Sequence[Row]) -> Row | None:
    """Of those that may be ranked the head with the highest accuracy, of equal ones that with the least log loss; None
    without any."""
    return min(comparable(rows), key=rank, default=None)


def rank(row: Row) -> tuple[float, float]:
    """What heads on the same images are put in order by, the best first."""
    loss = row.measures.get("log_loss")
    return -round(row.accuracy, 12), math.inf if loss is None else loss  # means of equal shares may differ in a last digit


def tie(best: Row, rows: Sequence[Row]) -> str:
    """What must be said beside the best head where others that may be ranked are as often right; empty where none is."""
    others = [rank(row)[1] for row in comparable(rows) if row is not best and rank(row)[0] == rank(best)[0]]
    if not others:
        return ""
    many = f"{len(others)} other{' has' if len(others) == 1 else 's have'} the same accuracy"
    return f"{many} and a higher log loss" if rank(best)[1] < min(others) < math.inf else many


def _means(runs: Sequence[Run]) -> dict[str, float | None]:
    """The mean over runs of every measure that all of them have."""
    found = {name: [run.evaluation.measures.get(name) for run in runs] for name in NAMES}
    recorded = [name for name in NAMES if all(name in run.evaluation.measures for run in runs)]
    return {
        name: None if None in found[name] else statistics.fmean(v for v in found[name] if v is not None)
        for name in recorded
    }


def _tested_by(found: Protocol) -> tuple[str, ...]:
    """What must be said of an accuracy that is not of rows apart from those the kept head was trained on."""
    if not found.cross_validated:
        return ()
    apart = (
        ""
        if found.deviation is None
        else f", {found.repeats} repeats: standard deviation {100 * found.deviation:.1f} points"
    )
    each = f"each image was predicted once by a head that did not see it ({found.folds} folds{apart})"
    return (f"tested by cross-validation: {each}; the head that is kept was trained on all of them",)
