"""What test rows say of heads: their labels, pairs of models, and test images on which heads are wrong or disagree."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from headstart.core.heads.data import Labelled
from headstart.core.heads.report.facts import (
    Disagreement,
    HeadResults,
    LabelShift,
    Mistake,
    ModelPair,
    Ratio,
    Section,
    SigmoidCost,
)
from headstart.core.heads.report.grouping import Group
from headstart.core.heads.statistics.accuracy import ClassScore
from headstart.core.heads.statistics.compare import Comparison, all_pairs, bootstrap_accuracy, holm, over_seeds
from headstart.core.heads.statistics.counts import confusion, label_ratios, label_shift, predicted_counts, recalls
from headstart.core.heads.statistics.disagreement import agreement, confident_mistakes
from headstart.core.heads.study.results import Analyses

MISTAKES = 12
DISAGREEMENTS = 24


@dataclasses.dataclass(frozen=True)
class Predictions:
    """A group's heads on their test rows: the probabilities (N, C) of the first seed's, the labels (S, N) that those of all
    seeds give, the rows themselves, and what a study measured of them, if there was one.

    They may have been kept with the run, or come from the kept head: never from a head that was trained on these rows.
    """

    group: Group
    probabilities: npt.NDArray[np.float32]
    labelled: npt.NDArray[np.int64]
    testing: Labelled
    analyses: Analyses | None

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The true class indices (N,)."""
        return self.testing.labels

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The class indices (N,) that the first seed's head gives."""
        found: npt.NDArray[np.int64] = self.labelled[0]
        return found

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy: over images for one seed (Wilson), over seeds and images for several."""
        if len(self.labelled) == 1:
            return self.group.first.evaluation.overall.interval
        return bootstrap_accuracy(self.labelled == self.labels, np.random.default_rng(0))


def evaluated(section: Section, tested: Sequence[Predictions]) -> Section:
    """The section with what test rows say of its heads.

    Only heads that were tested on the same images, by content, are compared; `not_compared` says which were not.
    """
    if not tested:
        return section
    classes = tested[0].group.first.key.classes
    same, others = _on_the_same_images(tested)
    settings = list(dict.fromkeys(found.group.settings for found in same))
    models = dict.fromkeys(found.group.model for found in tested)
    return dataclasses.replace(
        section,
        heads=tuple(_results(found) for model in models for found in tested if found.group.model == model),
        comparisons=tuple(pair for name in settings for pair in _pairs(_of(same, name), name)),
        label_shifts=tuple(shift for name in settings for shift in _shifts(_of(same, name), name, classes)),
        sigmoid=tuple(cost for found in tested if (cost := _sigmoid(found)) is not None),
        disagreements=_disagreements(_of(same, _shown(settings)), classes),
        not_compared=tuple(
            f"{found.group.model}, {found.group.settings}: tested on other images than the others, not compared with them"
            for found in others
        ),
    )


def _on_the_same_images(tested: Sequence[Predictions]) -> tuple[list[Predictions], list[Predictions]]:
    """The heads on the images that most heads were tested on, and the others."""
    by_images: dict[str, list[Predictions]] = {}
    for found in tested:
        by_images.setdefault(found.testing.digest, []).append(found)
    most = max(by_images, key=lambda images: len(by_images[images]))
    return by_images[most], [found for images, others in by_images.items() if images != most for found in others]


def _shown(settings: Sequence[str]) -> str:
    return "standard" if "standard" in settings else settings[-1]


def _of(tested: Sequence[Predictions], settings: str) -> dict[str, Predictions]:
    return {found.group.model: found for found in tested if found.group.settings == settings}


def _results(tested: Predictions) -> HeadResults:
    classes = tested.group.first.key.classes
    matrix = confusion(tested.labels, tested.predicted, classes)
    ratios = [Ratio(found.ratio, found.interval) for found in label_ratios(matrix)]
    given, true = predicted_counts(matrix).tolist(), matrix.sum(axis=1).tolist()
    right = [score.correct for score in recalls(matrix)]
    by_class = dict(zip(classes, map(ClassScore.of_counts, right, given, true), strict=True))
    return HeadResults(
        model=tested.group.model,
        settings=tested.group.settings,
        test_interval=tested.group.first.evaluation.overall.interval,
        confusion=tuple(map(tuple, matrix.tolist())),
        recall={name: one.recall for name, one in by_class.items()},
        precision={name: one.precision for name, one in by_class.items()},
        f1={name: one.f1 for name, one in by_class.items()},
        predicted=dict(zip(classes, given, strict=True)),
        true=dict(zip(classes, true, strict=True)),
        ratio=dict(zip(classes, ratios, strict=True)),
        mistakes=_mistakes(tested, classes),
        analyses=tested.analyses,
        spread=over_seeds(tested.analyses.seeds.accuracies) if tested.analyses else None,
    )


def _mistakes(tested: Predictions, classes: Sequence[str]) -> tuple[Mistake, ...]:
    return tuple(
        Mistake(int(tested.testing.rows[found.row]), classes[found.label], classes[found.predicted], found.probability)
        for found in confident_mistakes(tested.probabilities, tested.labels, MISTAKES)
    )


def _sigmoid(tested: Predictions) -> SigmoidCost | None:
    """What the sigmoid before the loss costs, all else being the same."""
    if tested.analyses is None or not tested.group.first.config.sigmoid:
        return None
    found = tested.analyses.sigmoid
    return SigmoidCost(tested.group.model, over_seeds(found.with_sigmoid), over_seeds(found.without))


def _pairs(tested: Mapping[str, Predictions], settings: str) -> list[ModelPair]:
    """McNemar's test for every pair of models with one kind of head, corrected by Holm for all pairs of that kind."""
    if len(tested) < 2:
        return []
    pairs = all_pairs({model: found.predicted == found.labels for model, found in tested.items()})
    groups = {model: found.group for model, found in tested.items()}
    return [ModelPair(settings, pair, _trained_apart(groups[pair.first], groups[pair.second])) for pair in pairs]


def _trained_apart(first: Group, second: Group) -> str | None:
    """What to say of two heads that did not learn from the same images."""
    one, other = first.first, second.first
    if one.train.used and one.train.used == other.train.used:
        return None
    return f"not trained on the same images ({one.train_rows + one.val_rows:,} and {other.train_rows + other.val_rows:,})"


def _shifts(tested: Mapping[str, Predictions], settings: str, classes: Sequence[str]) -> list[LabelShift]:
    """Whether two models give a label equally often, for every label and pair; corrected by Holm for all of them."""
    found = [
        (name, first, second, label_shift(tested[first].predicted, tested[second].predicted, i, classes))
        for first, second in itertools.combinations(tested, 2)
        for i, name in enumerate(classes)
    ]
    corrected = holm([paired.p_value for *_, paired in found])
    return [
        LabelShift(settings, name, Comparison(first, second, paired, p))
        for (name, first, second, paired), p in zip(found, corrected, strict=True)
    ]


def _disagreements(tested: Mapping[str, Predictions], classes: Sequence[str]) -> tuple[Disagreement, ...]:
    if len(tested) < 2:
        return ()
    testing = next(iter(tested.values())).testing
    found = agreement({model: one.probabilities for model, one in tested.items()})
    return tuple(
        Disagreement(
            int(testing.rows[one.row]),
            classes[testing.labels[one.row]],
            {model: classes[label] for model, label in one.predicted.items()},
        )
        for one in found[:DISAGREEMENTS]
    )
