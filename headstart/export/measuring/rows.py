"""An exported file beside `predict` on the rows of a data set: agreement and, on test rows, accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.core.cache.errors import ArgumentInvalid, DataInvalid, DataNotFound
from headstart.core.cache.text import safe
from headstart.core.heads.statistics.accuracy import Score
from headstart.correcting.pairs import decisions
from headstart.correcting.rows import corrected_rows
from headstart.export.measuring import comparison
from headstart.export.measuring.agreement import Agreement
from headstart.export.results import OnRows
from headstart.inference import timing
from headstart.observer import Observer, progress

if TYPE_CHECKING:
    from pathlib import Path

    from headstart.core.extract.images import Images
    from headstart.export.measuring.reference import Reference, Shares
    from headstart.export.running.process import Runner
    from headstart.inference.trained import TrainedHead
    from headstart.requests import ExportRequest
    from headstart.workspace import Workspace

CROSS_VALIDATED = (
    "the head was tested by cross-validation and then trained on all pictures: none is left that it has not seen"
)


def on_rows(
    workspace: Workspace,
    head: TrainedHead,
    request: ExportRequest,
    reference: Reference,
    run: Runner,
    observer: Observer,
) -> tuple[OnRows | None, str | None]:
    """What the first rows show, or why there are none. Raises DataNotFound and DataInvalid for a data set that was named
    and is not there, ArgumentInvalid for corrections of other pictures."""
    if not request.limit:
        return None, "--limit 0 asks for none"
    if request.dataset is None and head.run is not None and head.run.evaluated_by.cross_validated:
        return None, f"{CROSS_VALIDATED}; --dataset names other pictures to compare the file with predict on"
    try:
        images = timing.test_images(workspace, head, request.dataset)
    except (DataNotFound, DataInvalid) as error:
        if request.dataset is not None:
            raise
        return None, str(error)
    if not (rows := min(images.rows, request.limit)):
        return None, f"{images.source}: there are no images"
    transform = reference.extractor.preprocessing if request.input == "resized" else None
    with progress(observer, f"{head.title}: predict, to compare with", rows) as advance:
        theirs = reference.of_rows(images, rows, advance)
    with progress(observer, f"{head.title}: {request.path.name} beside predict", rows) as advance:
        ours = comparison.of_rows(run, images, rows, transform, advance)
    if request.corrections is None and (said := timing.as_given(head)) is not None:
        observer.remark(f"{said}, as --corrections has them")
    if request.corrections is not None:
        return _corrected(head, images, ours, theirs, request.corrections, observer)
    right, by_predict = (_right(head, images, found) for found in (ours, theirs))
    untested = None if right else _why(head, images)
    return OnRows(
        images.name, images.split, rows, images.rows, Agreement.of(ours, theirs), right, by_predict, untested
    ), None


def _corrected(
    head: TrainedHead, images: Images, ours: Shares, theirs: Shares, path: Path, observer: Observer
) -> tuple[OnRows | None, str | None]:
    """What the rows show that were not removed, by their corrected labels. Raises what `corrections.read` raises."""
    found = decisions(path, observer)
    made = corrected_rows(images, len(ours), found, head.checkpoint.classes)
    if found.stands and made.numbers.elsewhere == len(found.stands):
        raise ArgumentInvalid(
            f"--corrections {path}: none of the {len(found.stands):,} decisions is on one of the {len(ours):,} images of "
            f"{safe(images.name)} {images.split} that are compared; leave the option out, or name the data set that was "
            f"reviewed with --dataset"
        )
    words = made.numbers.words(safe(path.name))
    if not made.stays.any():
        return None, f"none of the {len(ours):,} images is left: {words}"
    ours, theirs, labels = ours[made.stays], theirs[made.stays], made.labels[made.stays]
    tested = images.split == "test" and made.classes == head.checkpoint.classes and not _seen(head, images)
    right, by_predict = (Score(int((one.argmax(axis=1) == labels).sum()), len(labels)) for one in (ours, theirs))
    untested = None if tested else _why(head, images, made.classes)
    return OnRows(
        dataset=images.name,
        split=images.split,
        rows=len(labels),
        of=images.rows,
        agreement=Agreement.of(ours, theirs),
        right=right if tested else None,
        right_by_predict=by_predict if tested else None,
        untested=untested,
        corrected=words,
    ), None


def _right(head: TrainedHead, images: Images, found: Shares) -> Score | None:
    """How many rows got the right label; None where that would be no test."""
    share = timing.accuracy(head, images, found.argmax(axis=1))
    return None if share is None else Score(round(share * len(found)), len(found))


def _seen(head: TrainedHead, images: Images) -> bool:
    """Whether the head was trained on all of the data set."""
    cross_validated = head.run is not None and head.run.evaluated_by.cross_validated
    return cross_validated and images.name == head.checkpoint.key.dataset


def _why(head: TrainedHead, images: Images, classes: tuple[str, ...] | None = None) -> str:
    """Why accuracy on these rows, of the data set's classes or others, would be no test."""
    if (images.classes if classes is None else classes) != head.checkpoint.classes:
        return "these are not the classes of the head"
    if _seen(head, images):
        return CROSS_VALIDATED
    return (
        f"the split {images.split} has pictures without labels"
        if images.split == "test"
        else f"{images.split} is no test split"
    )
