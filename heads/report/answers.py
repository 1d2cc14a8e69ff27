"""What the report says of trained heads beyond Table 1: each head's labels and calibration, pairs of models compared, and
the test images on which they are wrong or disagree. JSON values, from which every rendering takes its numbers.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from headstart.core.heads.data import Labelled
from headstart.core.heads.report.grouping import Group
from headstart.core.heads.statistics.compare import all_pairs, bootstrap_accuracy, holm, over_seeds
from headstart.core.heads.statistics.counts import confusion, label_ratios, label_shift, predicted_counts, recalls
from headstart.core.heads.statistics.disagreement import agreement, confident_mistakes

MISTAKES = 12
DISAGREEMENTS = 24


@dataclasses.dataclass(frozen=True)
class Tested:
    """A group's heads on their test rows: the probabilities (N, C) of the first seed's, the labels (S, N) that those of all
    seeds give, the rows themselves, and the answers that are kept, if any."""

    group: Group
    probabilities: npt.NDArray[np.float32]
    labelled: npt.NDArray[np.int64]
    testing: Labelled
    answers: Mapping[str, Any] | None

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


def facts(tested: Sequence[Tested]) -> dict[str, Any]:
    """The parts of a section that come from test rows.

    Only heads that were tested on the same images, by content, are compared; `not_compared` says which were not.
    """
    if not tested:
        return {}
    classes = tested[0].group.first.key.classes
    models: dict[str, dict[str, Any]] = {}
    for found in tested:
        models.setdefault(found.group.model, {})[found.group.settings] = _described(found)
    same, others = _on_the_same_images(tested)
    settings = list(dict.fromkeys(found.group.settings for found in same))
    return {
        "classes": list(classes),
        "models": models,
        "comparisons": [pair for name in settings for pair in _compared(_of(same, name), name)],
        "label_shifts": [shift for name in settings for shift in _shifts(_of(same, name), name, classes)],
        "sigmoid": [line for found in tested if (line := _sigmoid(found)) is not None],
        "disagreements": _disagreements(_of(same, _shown(settings)), classes),
        "not_compared": [
            f"{found.group.model}, {found.group.settings}: tested on other images than the others, not compared with them"
            for found in others
        ],
    }


def _on_the_same_images(tested: Sequence[Tested]) -> tuple[list[Tested], list[Tested]]:
    """The heads on the images that most heads were tested on, and the others."""
    by_images: dict[str, list[Tested]] = {}
    for found in tested:
        by_images.setdefault(found.testing.digest, []).append(found)
    most = max(by_images, key=lambda images: len(by_images[images]))
    return by_images[most], [found for images, others in by_images.items() if images != most for found in others]


def _shown(settings: Sequence[str]) -> str:
    return "standard" if "standard" in settings else settings[-1]


def _of(tested: Sequence[Tested], settings: str) -> dict[str, Tested]:
    return {found.group.model: found for found in tested if found.group.settings == settings}


def _described(tested: Tested) -> dict[str, Any]:
    classes = tested.group.first.key.classes
    matrix = confusion(tested.labels, tested.predicted, classes)
    ratios = label_ratios(matrix)
    found: dict[str, Any] = {
        "test_interval": list(tested.group.first.evaluation.overall.interval),
        "confusion": matrix.tolist(),
        "recall": {
            name: score.accuracy if score.total else None for name, score in zip(classes, recalls(matrix), strict=True)
        },
        "predicted": dict(zip(classes, predicted_counts(matrix).tolist(), strict=True)),
        "true": dict(zip(classes, matrix.sum(axis=1).tolist(), strict=True)),
        "ratio": {name: _ratio(ratio) for name, ratio in zip(classes, ratios, strict=True)},
        "mistakes": [
            {
                "row": int(tested.testing.rows[m.row]),
                "label": classes[m.label],
                "predicted": classes[m.predicted],
                "probability": m.probability,
            }
            for m in confident_mistakes(tested.probabilities, tested.labels, MISTAKES)
        ],
    }
    return found | _answered(tested.answers) if tested.answers else found


def _ratio(found: Any) -> dict[str, Any]:
    low, high = found.interval or (None, None)
    return {"ratio": found.ratio, "low": low, "high": high}


def _answered(answers: Mapping[str, Any]) -> dict[str, Any]:
    fitted = answers["calibration"]
    before, after = fitted["before"], fitted["after"] or {}  # nothing after a temperature that could not be fitted
    return {
        "seeds": {**_spread(answers["seeds"]["accuracies"]), **answers["seeds"]},
        "both_interval": answers["both"],
        "epochs": answers["epochs"],
        "sizes": answers["sizes"],
        "sizes_equal_steps": answers["sizes_equal_steps"],
        "calibration": {
            **{name: before[name] for name in ("ece", "nll", "brier", "bins")},
            **{f"{name}_after": after.get(name) for name in ("ece", "nll", "brier", "bins")},
            "temperature": fitted["temperature"],
            "not_fitted": (fitted["reason"] or "").removeprefix("not fitted: ") or None,
            "fitted_on": fitted["rows"],
            "of": fitted["fitted_with"],
        },
    }


def _spread(accuracies: Sequence[float]) -> dict[str, Any]:
    spread = over_seeds(accuracies)
    low, high = spread.interval or (None, None)
    return {"mean": spread.mean, "deviation": spread.deviation, "low": low, "high": high, "count": spread.count}


def _sigmoid(tested: Tested) -> dict[str, Any] | None:
    """What the sigmoid before the loss costs, all else being the same."""
    if tested.answers is None or not tested.group.first.config.sigmoid:
        return None
    with_it, without = (_spread(tested.answers["sigmoid"][name]) for name in ("with", "without"))
    return {
        "model": tested.group.model,
        "with": with_it,
        "without": without,
        "difference": without["mean"] - with_it["mean"],
    }


def _compared(tested: Mapping[str, Tested], settings: str) -> list[dict[str, Any]]:
    """McNemar's test for every pair of models with one kind of head, corrected by Holm for all pairs of that kind."""
    if len(tested) < 2:
        return []
    pairs = all_pairs({model: found.predicted == found.labels for model, found in tested.items()})
    return [
        {
            "recipe": settings,
            **_pair(pair.first, pair.second, pair.paired),
            "p_holm": pair.adjusted,
            "note": _trained_apart(tested[pair.first].group, tested[pair.second].group),
        }
        for pair in pairs
    ]


def _trained_apart(first: Group, second: Group) -> str | None:
    """What to say of two heads that did not learn from the same images."""
    one, other = first.first, second.first
    if one.train.used and one.train.used == other.train.used:
        return None
    return f"not trained on the same images ({one.train_rows + one.val_rows:,} and {other.train_rows + other.val_rows:,})"


def _pair(first: str, second: str, paired: Any) -> dict[str, Any]:
    low, high = paired.interval
    return {
        "first": first,
        "second": second,
        "only_first": paired.only_first,
        "only_second": paired.only_second,
        "difference": paired.difference,
        "low": low,
        "high": high,
        "p": paired.p_value,
        "method": paired.test,
    }


def _shifts(tested: Mapping[str, Tested], settings: str, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Whether two models give a label equally often, for every label and pair; corrected by Holm for all of them."""
    names = list(tested)
    found = [
        {
            "recipe": settings,
            "label": name,
            **_pair(first, second, label_shift(tested[first].predicted, tested[second].predicted, i, classes)),
        }
        for place, first in enumerate(names)
        for second in names[place + 1 :]
        for i, name in enumerate(classes)
    ]
    corrected = holm([shift["p"] for shift in found]) if found else []
    return [{**shift, "p_holm": p} for shift, p in zip(found, corrected, strict=True)]


def _disagreements(tested: Mapping[str, Tested], classes: Sequence[str]) -> list[dict[str, Any]]:
    if len(tested) < 2:
        return []
    testing = next(iter(tested.values())).testing
    found = agreement({model: one.probabilities for model, one in tested.items()})
    return [
        {
            "row": int(testing.rows[one.row]),
            "label": classes[testing.labels[one.row]],
            "predicted": {model: classes[label] for model, label in one.predicted.items()},
        }
        for one in found[:DISAGREEMENTS]
    ]
