"""What the report says of trained heads beyond Table 1: each head's labels and calibration, pairs of models compared, and
the test images on which they are wrong or disagree. JSON values, from which every rendering takes its numbers.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from heads.compare import all_pairs, holm, over_seeds
from heads.counts import confusion, label_ratios, label_shift, predicted_counts, recalls
from heads.disagreement import agreement, confident_mistakes
from heads.runs import Run

MISTAKES = 12
DISAGREEMENTS = 24


@dataclasses.dataclass(frozen=True)
class Tested:
    """A run's head on its test rows: probabilities (N, C), labels (N,), and the answers kept beside the run, if any."""

    run: Run
    probabilities: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    answers: Mapping[str, Any] | None

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Class indices (N,)."""
        found: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return found


def facts(tested: Sequence[Tested]) -> dict[str, Any]:
    """The parts of the report that come from test rows; heads on other test rows than the first one's are left out of the
    comparisons, since only the same images can be paired."""
    if not tested:
        return {}
    first = tested[0]
    same = [found for found in tested if _same_images(first, found)]
    classes = first.run.key.classes
    models: dict[str, dict[str, Any]] = {}
    for found in tested:
        models.setdefault(found.run.model, {})[found.run.config.recipe] = _described(found)
    return {
        "classes": list(classes),
        "models": models,
        "comparisons": [pair for recipe in _recipes(same) for pair in _compared(_of(same, recipe), recipe)],
        "label_shifts": [shift for recipe in _recipes(same) for shift in _shifts(_of(same, recipe), recipe, classes)],
        "sigmoid": [line for found in tested if (line := _sigmoid(found)) is not None],
        "disagreements": _disagreements(_of(same, "standard") or _of(same, _recipes(same)[-1]), classes),
    }


def _same_images(one: Tested, other: Tested) -> bool:
    named = (one.run.key.dataset, one.run.key.classes) == (other.run.key.dataset, other.run.key.classes)
    return named and np.array_equal(one.labels, other.labels)


def _recipes(tested: Sequence[Tested]) -> list[str]:
    return list(dict.fromkeys(found.run.config.recipe for found in tested))


def _of(tested: Sequence[Tested], recipe: str) -> dict[str, Tested]:
    return {found.run.model: found for found in tested if found.run.config.recipe == recipe}


def _described(tested: Tested) -> dict[str, Any]:
    classes = tested.run.key.classes
    matrix = confusion(tested.labels, tested.predicted, classes)
    ratios = label_ratios(matrix)
    found: dict[str, Any] = {
        "test_interval": list(tested.run.evaluation.overall.interval),
        "confusion": matrix.tolist(),
        "recall": {
            name: score.accuracy if score.total else None for name, score in zip(classes, recalls(matrix), strict=True)
        },
        "predicted": dict(zip(classes, predicted_counts(matrix).tolist(), strict=True)),
        "true": dict(zip(classes, matrix.sum(axis=1).tolist(), strict=True)),
        "ratio": {name: _ratio(ratio) for name, ratio in zip(classes, ratios, strict=True)},
        "mistakes": [
            {**dataclasses.asdict(m), "label": classes[m.label], "predicted": classes[m.predicted]}
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
        "sizes_equal_steps": answers.get("sizes_equal_steps", []),
        "calibration": {
            **{name: before[name] for name in ("ece", "nll", "brier", "bins")},
            **{f"{name}_after": after.get(name) for name in ("ece", "nll", "brier", "bins")},
            "temperature": fitted["temperature"],
            "reason": fitted.get("reason"),
            "fitted_on": fitted["rows"],
            "fitted_with": fitted.get("fitted_with"),
        },
    }


def _spread(accuracies: Sequence[float]) -> dict[str, Any]:
    spread = over_seeds(accuracies)
    low, high = spread.interval or (None, None)
    return {"mean": spread.mean, "deviation": spread.deviation, "low": low, "high": high, "count": spread.count}


def _sigmoid(tested: Tested) -> dict[str, Any] | None:
    """What the sigmoid before the loss costs, all else being the study's recipe."""
    if tested.answers is None or tested.run.config.recipe != "study":
        return None
    with_it, without = (_spread(tested.answers["sigmoid"][name]) for name in ("with", "without"))
    return {
        "model": tested.run.model,
        "with": with_it,
        "without": without,
        "difference": without["mean"] - with_it["mean"],
    }


def _compared(tested: Mapping[str, Tested], recipe: str) -> list[dict[str, Any]]:
    """McNemar's test for every pair of models under one recipe, corrected by Holm for all pairs of that recipe."""
    if len(tested) < 2:
        return []
    pairs = all_pairs({model: found.predicted == found.labels for model, found in tested.items()})
    return [{"recipe": recipe, **_pair(pair.first, pair.second, pair.paired), "p_holm": pair.adjusted} for pair in pairs]


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


def _shifts(tested: Mapping[str, Tested], recipe: str, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Whether two models give a label equally often, for every label and pair; corrected by Holm for all of them."""
    names = list(tested)
    found = [
        {
            "recipe": recipe,
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
    labels = next(iter(tested.values())).labels
    found = agreement({model: one.probabilities for model, one in tested.items()})
    return [
        {
            "row": one.row,
            "label": classes[labels[one.row]],
            "predicted": {model: classes[label] for model, label in one.predicted.items()},
        }
        for one in found[:DISAGREEMENTS]
    ]
