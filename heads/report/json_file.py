"""The report as JSON: `report.json`, which other programs read. It is written and never read back.

    version, title, doubts, sections [{title, dataset, rows, models {model: {settings: results}}, …}], hardware, created,
    versions

A change that takes a key away, or gives one another meaning, raises `VERSION`. Version 2 has no pictures: test images
are named by their ids, and the pictures are in report.html. The title of version 1 ended in what are now the `doubts`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from headstart.core.heads.audit.kept import KeptAudit
from headstart.core.heads.config import stated
from headstart.core.heads.curve.record import Curve
from headstart.core.heads.report import audited, more_pictures
from headstart.core.heads.report.facts import (
    Disagreement,
    HeadResults,
    LabelShift,
    Mistake,
    ModelPair,
    Photograph,
    Report,
    Section,
    SigmoidCost,
)
from headstart.core.heads.report.row import Row
from headstart.core.heads.statistics.calibration import Calibration
from headstart.core.heads.statistics.compare import Comparison, Spread
from headstart.core.heads.statistics.maps import FeatureMap, Projection
from headstart.core.heads.study import results
from headstart.core.heads.study.results import Analyses, TemperatureResults

VERSION = 2


def to_json(report: Report) -> dict[str, Any]:
    """The report as JSON values."""
    return {
        "version": VERSION,
        "title": report.title,
        "doubts": list(report.doubts),
        "sections": [_section(section) for section in report.sections],
        "hardware": report.hardware,
        "created": report.created,
        "versions": dict(report.versions),
    }


def _section(found: Section) -> dict[str, Any]:
    return {
        "title": found.title,
        "rows": [_row(row) for row in found.rows],
        "photos": [_photograph(photo) for photo in found.photos],
        "published": dataclasses.asdict(found.published) if found.published else None,
        **(_tested(found) if found.heads else {}),
        "dataset": found.dataset,
        "split": found.split,
        "classes": list(found.classes),
        "maps": {model: _map(one) if one else None for model, one in found.maps.items()},
        "stages": {model: dict(stages) for model, stages in found.stages.items()},
        "audit": _audit(found.audit, found) if found.audit else None,
        "batch_norm": results.batch_norm_to_json(found.batch_norm) if found.batch_norm else None,
    }


def _audit(found: KeptAudit, section: Section) -> dict[str, Any]:
    """What an audit found, without the groups of pictures, which are in its own file; of one that is outdated only when it
    was made, and the command that makes a new one."""
    outdated = section.audit_outdated
    facts = {"created": found.created, "outdated": outdated, "command": audited.again(found, section)}
    totals = {} if outdated else {name: value for name, value in dataclasses.asdict(found).items() if name != "groups"}
    return {**totals, **facts}


def _row(row: Row) -> dict[str, Any]:
    """The row's fields; its settings are called `recipe`, and say in words whether there is a sigmoid."""
    names = {"settings": "recipe"}
    found = {
        names.get(name, name): value
        for name, value in dataclasses.asdict(row, dict_factory=stated).items()
        if name != "sigmoid"
    }
    return {**found, "curve": _curve(row.curve) if row.curve else None}


def _curve(found: Curve) -> dict[str, Any]:
    """The few-shot curve, with what it says of twice the images."""
    said = {"verdict": more_pictures.verdict(found), "sentence": more_pictures.sentence(found)}
    points = [{**dataclasses.asdict(point), "mean": point.mean} for point in found.points]
    return {**dataclasses.asdict(found), "points": points, "doubled": _ends(found.doubled()), **said}


def _photograph(found: Photograph) -> dict[str, Any]:
    return found.photo.to_json()


def _tested(found: Section) -> dict[str, Any]:
    """What test rows say: left out where no head could be tested again."""
    models: dict[str, dict[str, Any]] = {}
    for head in found.heads:
        models.setdefault(head.model, {})[head.settings] = _head(head)
    return {
        "models": models,
        "comparisons": [_pair(pair) for pair in found.comparisons],
        "label_shifts": [_shift(shift) for shift in found.label_shifts],
        "sigmoid": [_sigmoid(cost) for cost in found.sigmoid],
        "disagreements": [_shown(one) for one in found.disagreements],
        "not_compared": list(found.not_compared),
    }


def _shown(found: Mistake | Disagreement) -> dict[str, Any]:
    """A test image by its row and its id."""
    return {name: value for name, value in dataclasses.asdict(found).items() if name != "image"}


def _ends(interval: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"low": low, "high": high}


def _head(head: HeadResults) -> dict[str, Any]:
    return {
        "test_interval": list(head.test_interval),
        "confusion": [list(row) for row in head.confusion],
        "recall": dict(head.recall),
        "precision": dict(head.precision),
        "f1": dict(head.f1),
        "predicted": dict(head.predicted),
        "true": dict(head.true),
        "ratio": {name: {"ratio": one.ratio, **_ends(one.interval)} for name, one in head.ratio.items()},
        "mistakes": [_shown(mistake) for mistake in head.mistakes],
        **(_analyses(head.analyses, head.spread) if head.analyses and head.spread else {}),
    }


def _analyses(found: Analyses, spread: Spread) -> dict[str, Any]:
    return {
        "seeds": {**_spread(spread), **dataclasses.asdict(found.seeds)},
        "both_interval": list(found.both),
        "epochs": results.epochs_to_json(found.epochs),
        "sizes": results.sizes_to_json(found.sizes),
        "sizes_equal_steps": results.sizes_to_json(found.sizes_equal_steps),
        "calibration": _calibration(found.calibration),
    }


def _spread(spread: Spread) -> dict[str, Any]:
    return {"mean": spread.mean, "deviation": spread.deviation, **_ends(spread.interval), "count": spread.count}


def _calibration(found: TemperatureResults) -> dict[str, Any]:
    """The figures as trained, then those with a temperature: null where there is none."""
    return {
        **_figures(found.before, ""),
        **_figures(found.after, "_after"),
        "temperature": found.temperature.value,
        "not_fitted": found.not_fitted,
        "fitted_on": found.temperature.rows,
        "of": found.fitted_with,
    }


def _figures(found: Calibration | None, suffix: str) -> Mapping[str, Any]:
    values = dataclasses.asdict(found) if found else {}
    return {name + suffix: values.get(name) for name in ("ece", "nll", "brier", "bins")}


def _sigmoid(cost: SigmoidCost) -> dict[str, Any]:
    return {
        "model": cost.model,
        "with": _spread(cost.with_sigmoid),
        "without": _spread(cost.without),
        "difference": cost.difference,
    }


def _pair(pair: ModelPair) -> dict[str, Any]:
    return {"recipe": pair.settings, **_comparison(pair.comparison), "note": pair.note}


def _shift(shift: LabelShift) -> dict[str, Any]:
    return {"recipe": shift.settings, "label": shift.label, **_comparison(shift.comparison)}


def _comparison(found: Comparison) -> dict[str, Any]:
    paired = found.paired
    return {
        "first": found.first,
        "second": found.second,
        "only_first": paired.only_first,
        "only_second": paired.only_second,
        "difference": paired.difference,
        **_ends(paired.interval),
        "p": paired.p_value,
        "method": paired.test,
        "p_holm": found.adjusted,
    }


def _map(found: FeatureMap) -> dict[str, Any]:
    return {
        **_projection(found.pca),
        "explained": list(found.pca.explained or ()),
        "tsne": _tsne(found.tsne) if found.tsne else None,
    }


def _tsne(found: Projection) -> dict[str, Any]:
    return {**_projection(found), "perplexity": found.perplexity, "kl_divergence": found.kl_divergence}


def _projection(found: Projection) -> dict[str, Any]:
    return {
        "method": found.method,
        "rows": len(found.points),
        "points": [[_short(x), _short(y), label] for x, y, label in found.points],
        "thumbnails": [{"x": _short(it.x), "y": _short(it.y), "row": it.row, "id": it.id} for it in found.thumbnails],
    }


def _short(place: float) -> float:
    """A place on a map to five digits: the axes have no unit, and all digits would be half of the file."""
    return float(f"{place:.5g}")
