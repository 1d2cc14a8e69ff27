"""Scores of all rows by heads that did not see them, every division of the rows at once where that is sound."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from headstart.core.heads.config import TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.kinds import kind
from headstart.core.heads.kinds.base import ClosedFormHead, Rows
from headstart.core.heads.selection.unseen import Scores, Side, threads_of
from headstart.core.heads.solvers.axes import leading
from headstart.core.heads.solvers.logistic import Problem, logistic_scores
from headstart.core.heads.training.given import Given, by_class, on_device, standardised

Division = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Rows to learn from, and rows to judge by."""
SHARED = 500
"""Rows from which folds share one standardisation, that of all rows: it knows no label, and means and deviations of a fifth
of them more or less are nearly the same. Of fewer rows each fold has its own. A judgement, not a measured bound."""
FEW_CLASSES = 50
"""Classes up to which it is worth it. Seconds of one processor, shared and apart, with 512 features: 10 classes of 100 rows
0.6 and 1.3, 50 of 60 rows 3.1 and 3.2, 150 of 4 rows 4.5 and 3.6, 500 of 5 rows 40.8 and 17.0."""
TRIED = 500
"""Rows by which a kind is left out where one division judges many. A judgement, not a measured bound."""
_MOST = 2**27
"""Numbers of features up to which they are copied for it, half a gigabyte."""


@dataclasses.dataclass(frozen=True)
class Divided:
    """Rows and their divisions. Of many rows, each class on the learning side of every division, heads without epochs are
    `shared`: trained for all divisions at once, on features (N, D) that are standardised once."""

    data: Labelled
    divisions: Sequence[Division]
    classes: int
    device: str
    shared: bool
    _standardised: dict[bool, tuple[Rows, Labelled]] = dataclasses.field(default_factory=dict)
    _apart: dict[bool, list[Side]] = dataclasses.field(default_factory=dict)
    _problems: dict[tuple[bool, str | None], Problem] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def sides(self) -> list[Side]:
        """Each division by itself, on the rows as they are: they are copied, so not before somebody asks."""
        return sides_of(self.data, self.divisions, self.classes, self.device)

    def threads(self, config: TrainConfig) -> contextlib.AbstractContextManager[None]:
        """Threads for heads of this kind on each division."""
        most = max(len(learn) for learn, _ in self.divisions) * self.data.features.shape[1] * self.data.versions
        return threads_of(config, self.device, most, self.classes)

    @functools.cached_property
    def first(self) -> npt.NDArray[np.int64] | None:
        """The rows of the first of several divisions that are shared, or `TRIED` of one that judges more than twice as
        many, drawn at random: rows may be sorted by class."""
        rows = len(self.divisions[0][1])
        if len(self.divisions) > 1:
            return np.arange(rows) if self.shared else None
        return np.sort(np.random.default_rng(0).permutation(rows)[:TRIED]) if rows > 2 * TRIED else None

    def scores(self, configs: Sequence[TrainConfig]) -> Iterator[tuple[int, Scores]]:
        """For configurations of one kind as `Side.scores`: their places, and the scores of the rows that are judged, in the
        order of the divisions. Raises as `train_many`."""
        head = kind(configs[0].head)
        if not (self.shared and issubclass(head, ClosedFormHead)):
            yield from _beside(self.sides, configs)
            return
        found = head.folded(configs, self._problem(self._once(configs[0])[0], configs[0]))
        if found is None:
            yield from _beside(self._sides(configs[0]), _as_they_are(configs))
            return
        for place, scores in found:
            yield place, self._judged(scores)

    def trial(self, configs: Sequence[TrainConfig]) -> Iterator[Scores]:
        """The scores of the `first` rows alone, for configurations of one kind. Raises as `train_many`."""
        if self.shared:
            found = self._sides(configs[0])[0].scores(_as_they_are(configs))
        else:
            found = self.sides[0].scores(configs, self.first)
        yield from (scores for _, scores in sorted(found, key=lambda both: both[0]))

    def _sides(self, config: TrainConfig) -> list[Side]:
        """Each division by itself, on rows that are standardised once: copies, so not before a kind needs them."""
        if config.standardise not in self._apart:
            _, own = self._once(config)
            self._apart[config.standardise] = sides_of(own, self.divisions, self.classes, self.device)
        return self._apart[config.standardise]

    def _once(self, config: TrainConfig) -> tuple[Rows, Labelled]:
        """The rows as they are, or standardised."""
        if config.standardise not in self._standardised:
            plain = Given(on_device(self.device, self.data), None)
            rows = standardised(plain).rows if config.standardise else plain.rows
            every = rows.features.cpu().numpy().reshape(rows.versions, rows.pictures, -1)
            views = every[1:] if rows.versions > 1 else None
            self._standardised[config.standardise] = rows, dataclasses.replace(self.data, features=every[0], views=views)
        return self._standardised[config.standardise]

    def _problem(self, rows: Rows, config: TrainConfig) -> Problem:
        """One problem for each division: pictures to be judged have the weight 0, and so have their views. The same object
        for all kinds."""
        key = config.standardise, config.class_weight
        if key not in self._problems:
            self._problems[key] = self._posed(rows, config)
        return self._problems[key]

    def _posed(self, rows: Rows, config: TrainConfig) -> Problem:
        present, labels = rows.labels.unique(return_inverse=True)
        weights = torch.zeros(len(self.divisions), len(labels), dtype=torch.float64, device=labels.device)
        for own, (learn, _) in zip(weights, self.divisions, strict=True):
            every = (learn + rows.pictures * np.arange(rows.versions)[:, None]).ravel()
            at = torch.from_numpy(every).to(labels.device)
            part = Rows(rows.features[:0], rows.labels[at], None if rows.weights is None else rows.weights[at])
            given = by_class(part, config).weights
            own[at] = (1.0 if given is None else given.double()) / rows.versions
        mean = weights.mean(dim=0)
        axes = leading(rows.features, (mean / mean.sum()).to(rows.features) @ rows.features, mean)
        return Problem(rows.features, labels, weights, len(present), axes=axes)

    def logistic(self, config: TrainConfig, penalties: Sequence[float], tolerance: float) -> Iterator[tuple[float, Scores]]:
        """Of divisions that are `shared` the scores of logistic regressions as `scores` has them, but fitted to a tolerance
        that is given: penalties in falling order, each fitted when it is asked for, as long as solutions are reached."""
        problem = self._problem(self._once(config)[0], config)
        problem = dataclasses.replace(problem, smoothing=config.label_smoothing)
        for found in logistic_scores(problem, penalties, tolerance):
            if not found.left <= tolerance:
                return
            yield found.penalty, self._judged(found.scores)

    def _judged(self, scores: torch.Tensor) -> Scores:
        """Of scores (K, C, N) of the classes that have rows, those of the rows that each division judges."""
        parts = [scores[i][:, torch.from_numpy(judge)].T for i, (_, judge) in enumerate(self.divisions)]
        own = torch.cat(parts).float().cpu().numpy()
        found = np.full((len(own), self.classes), -np.inf, dtype=np.float32)
        found[:, np.unique(self.data.labels)] = own
        return found


def divided(data: Labelled, divisions: Sequence[Division], classes: int, device: str) -> Divided:
    """The divisions of the rows, shared where they may be."""
    fits = data.features.size * data.versions <= _MOST
    many = len(data.labels) >= SHARED and fits and device != "mps"  # which has no doubles
    every = len(np.unique(data.labels))
    several = len(divisions) > 1  # of one there is nothing to share: it was no faster
    shared = (
        many
        and several
        and every <= FEW_CLASSES
        and all(len(np.unique(data.labels[learn])) == every for learn, _ in divisions)
    )
    return Divided(data, divisions, classes, device, shared)


def sides_of(data: Labelled, divisions: Sequence[Division], classes: int, device: str) -> list[Side]:
    """Each division by itself. Heads that have epochs choose theirs by the rows that are judging, if there are any."""
    apart = data.judging is not None
    return [Side(data if apart else data.at(learn), data.features[judge], classes, device) for learn, judge in divisions]


def _as_they_are(configs: Sequence[TrainConfig]) -> list[TrainConfig]:
    """The configurations for rows that are standardised already."""
    return [dataclasses.replace(config, standardise=False) for config in configs]


def _beside(sides: Sequence[Side], configs: Sequence[TrainConfig]) -> Iterator[tuple[int, Scores]]:
    """Each configuration on all sides before the next is trained on any."""
    for parts in zip(*(side.scores(configs) for side in sides), strict=True):
        yield parts[0][0], np.concatenate([part for _, part in parts])
