"""Pictures through trained heads: one pass of each backbone, however many heads learned from its features."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

from headstart.commands import trained_by
from headstart.core.cache.errors import RunNotFound
from headstart.core.cache.key import FeatureKey
from headstart.core.cache.views import views_in_words
from headstart.core.extract.featurise import expand, featurise, outside
from headstart.core.extract.network.extractor import FeatureExtractor
from headstart.core.heads.config import RECIPES
from headstart.core.heads.predict import Labels, Photo, Possible, Wanted, answers, averaged_labels, caveat, shortage
from headstart.inference.trained import TrainedHead, choose, restore, titles
from headstart.inference.views import PLAIN, versions
from headstart.observer import Observer
from headstart.requests import HeadChoice, InferenceOptions
from headstart.workspace import Workspace


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What heads say of pictures: the `titles` of the heads by their names, and what must be said of their probabilities
    and of their prediction sets."""

    photos: tuple[Photo, ...]
    titles: dict[str, str]
    caveats: tuple[str, ...]

    @property
    def unreadable(self) -> tuple[Photo, ...]:
        """The pictures that could not be read, which have no labels."""
        return tuple(photo for photo in self.photos if photo.error)


def predict(
    workspace: Workspace,
    pictures: Sequence[str],
    choice: HeadChoice,
    options: InferenceOptions,
    wanted: Wanted,
    observer: Observer,
) -> Predictions:
    """The most probable labels of pictures (files, folders and patterns) by the heads chosen and, with a coverage, the
    classes that each may be of.

    Transform, class names and weights are those that each head recorded. Raises DataNotFound, RunNotFound, for a coverage
    also where a head has no calibration, and for views where it was trained without, RunDamaged, WeightsMismatch,
    WeightsNotFound, DeviceUnavailable, OutOfMemory.
    """
    files = expand(pictures, observer.note)
    heads = choose(workspace, choice, options, observer)
    if wanted.views:
        _check_views(heads)
    doubts = [
        *_of_views(heads, wanted),
        *_of_sets(heads, wanted.coverage),
        *(doubt for head in heads if (doubt := caveat(head.checkpoint))),
    ]
    photos = label_files(workspace, heads, files, options, wanted, observer)
    return Predictions(tuple(photos), titles(heads), tuple(dict.fromkeys(doubts)))


def label_files(
    workspace: Workspace,
    heads: Sequence[TrainedHead],
    files: Sequence[Path],
    options: InferenceOptions,
    wanted: Wanted,
    observer: Observer,
) -> list[Photo]:
    """Every picture through every head; heads on the same features share a pass of the backbone, with `views` one for each
    of their views more."""
    sharing: dict[FeatureKey, list[TrainedHead]] = {}
    for head in heads:  # whatever their data sets: a feature does not depend on them
        sharing.setdefault(head.checkpoint.key.feature_key, []).append(head)
    labels: list[dict[str, Labels]] = [{} for _ in files]
    sets: list[dict[str, Possible]] = [{} for _ in files]
    errors: dict[int, str] = {}
    for group in sharing.values():
        extractor = restore(workspace, group[0], options.weights, options.batch_size, observer)
        if wanted.views:
            errors |= _label_views(group, files, extractor, options, wanted.topk, observer, labels)
            continue
        for block in featurise(outside(files), extractor, options.workers, options.batch_size, observer.note):
            errors |= {image.row: image.reason for image in block.skipped}
            for head in group:
                found = answers(head.checkpoint, block.features, "cpu", wanted)
                for row, (best, possible) in zip(block.rows, found, strict=True):
                    labels[row][head.name] = best
                    sets[row] |= {} if possible is None else {head.name: possible}
    over = {head.name: averaged_over(head) for head in heads} if wanted.views else {}
    return [
        Photo(str(file), labels[row], errors.get(row), sets[row], {} if row in errors else over)
        for row, file in enumerate(files)
    ]


def _label_views(
    group: Sequence[TrainedHead],
    files: Sequence[Path],
    extractor: FeatureExtractor,
    options: InferenceOptions,
    topk: int,
    observer: Observer,
    labels: list[dict[str, Labels]],
) -> dict[int, str]:
    """Put into `labels` what heads on the same features say of pictures and their views, and give why some have none."""
    words = dict.fromkeys([PLAIN, *(view for head in group for view in head.checkpoint.head.config.views)])
    errors: dict[int, str] = {}
    for some in versions(files, [*words], extractor, options, observer.note):
        errors |= some.errors
        for head in group:
            own = [some.features[view] for view in (PLAIN, *head.checkpoint.head.config.views)]
            for row, best in zip(some.rows, averaged_labels(head.checkpoint, own, "cpu", topk), strict=True):
                labels[row][head.name] = best
    return errors


def averaged_over(head: TrainedHead) -> tuple[str, ...]:
    """What a head's probabilities are means over, in words."""
    return ("the image", *(views_in_words([view]) for view in head.checkpoint.head.config.views))


def _check_views(heads: Sequence[TrainedHead]) -> None:
    """Raise RunNotFound where a head was trained without views."""
    for head in heads:
        if not head.checkpoint.head.config.views:
            options = trained_by(head.checkpoint.key, RECIPES["standard"])
            again = shlex.join(["headstart", "train-head", *options, "--views"])
            raise RunNotFound(
                f"{head.name}: was trained without views, so that --views has none to average over; "
                f"`{again}` trains one with those that are kept"
            )


def _of_views(heads: Sequence[TrainedHead], wanted: Wanted) -> list[str]:
    """What must be said of means over views."""
    return [f"{head.name}: averaged over {' + '.join(averaged_over(head))}" for head in heads] if wanted.views else []


def _of_sets(heads: Sequence[TrainedHead], coverage: float | None) -> list[str]:
    """What must be said of the heads' prediction sets. Raises RunNotFound where a head can't make any."""
    if coverage is None:
        return []
    few = [f"{head.name}: {said}" for head in heads if (said := _shortage(head, coverage))]
    promise = f"about {100 * coverage:.10g}% of pictures like the training pictures have their class in the set"
    return [*few, f"{promise}; of other pictures nothing is known"]


def _shortage(head: TrainedHead, coverage: float) -> str | None:
    try:
        return shortage(head.checkpoint, coverage)
    except RunNotFound as error:
        raise RunNotFound(f"{head.name}: {error}") from error
