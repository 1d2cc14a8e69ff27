"""The head of a card: what the Hugging Face Hub reads of a model, as YAML
(https://github.com/huggingface/hub-docs/blob/main/modelcard.md)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from headstart.core.cache.errors import WeightsMismatch
from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.weights.licences import licence as known_licence
from headstart.core.heads.statistics.measures import measure
from headstart.export.card.text import yaml

if TYPE_CHECKING:
    from headstart.core.heads.checkpoint import Checkpoint
    from headstart.core.heads.runs import Run

TASK = "image-classification"
_HUB = "https://huggingface.co/"
_SHOWN = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "macro_f1": "f1",
    "top_5_accuracy": "top_5_accuracy",
    "log_loss": "log_loss",
    "ece": "expected_calibration_error",
}
"""The measures by name, and what the Hub calls them."""
_LICENCES = re.compile(
    r"apache-2\.0|mit|bsd-[23]-clause|bsd-3-clause-clear|isc|mpl-2\.0|unlicense|cc0-1\.0|cc-by(-nc)?(-nd|-sa)?-[234]\.0|"
    r"(a|l)?gpl-[23]\.0|openrail|openrail\+\+|creativeml-openrail-m|apple-ascl|apple-amlr|gemma|"
    r"fair-noncommercial-research-license"
)
"""Identifiers that the Hub knows, those that weights of image networks have had
(https://huggingface.co/docs/hub/repositories-licenses)."""


def front_matter(checkpoint: Checkpoint, run: Run | None) -> str:
    """The YAML between its two lines, which end and begin with a line break."""
    key = checkpoint.key
    facts: dict[str, Any] = {
        **licence(of_weights(checkpoint)),
        "library_name": "headstart",
        "pipeline_tag": TASK,
        "tags": [TASK, "headstart", "transfer-learning", "frozen-backbone", key.backbone],
    }
    if (repository := base_model(checkpoint)) is not None:
        facts["base_model"] = repository
    if run is not None and (found := _measures(run)):
        facts["metrics"] = list(dict.fromkeys(one["type"] for one in found))
        facts["model-index"] = [{"name": run.name, "results": [_result(run, found)]}]
    return f"---\n{yaml(facts)}\n---\n"


def of_weights(checkpoint: Checkpoint) -> str:
    """The licence of the backbone's weights: as the head recorded it, else as it is known of that backbone; empty where it
    is not."""
    key = checkpoint.key
    try:
        return checkpoint.licence or known_licence(get_backbone(key.backbone), key.weights)
    except WeightsMismatch:  # timm is not here, or this version has no such model
        return ""


def licence(found: str) -> dict[str, str]:
    """The Hub's identifier of the weights' licence: `unknown` where nobody said any, `other` with its name for one that the
    Hub has none for."""
    name = found.partition(" (")[0].lower()  # torchvision's has remarks in brackets, which the card's text has
    if not name or name.startswith(("unknown", "none")):
        return {"license": "unknown"}
    return {"license": name} if _LICENCES.fullmatch(name) else {"license": "other", "license_name": name}


def base_model(checkpoint: Checkpoint) -> str | None:
    """The Hub's repository that the weights came from; None where they came from elsewhere."""
    origin = checkpoint.weights_from
    found = re.match(r"([\w.-]+/[\w.-]+)/resolve/", origin.removeprefix(_HUB)) if origin.startswith(_HUB) else None
    return found[1] if found else None


def _result(run: Run, found: list[dict[str, Any]]) -> dict[str, Any]:
    split = "cross-validation" if run.evaluated_by.cross_validated else run.test.split or run.evaluated_by.kind
    dataset = {"name": run.key.dataset, "type": run.key.dataset, "split": split}
    return {"task": {"type": TASK, "name": "Image Classification"}, "dataset": dataset, "metrics": found}


def _measures(run: Run) -> list[dict[str, Any]]:
    """The accuracy with its interval, and the measures that were recorded and are defined."""
    score, recorded = run.evaluation.overall, run.evaluation.measures
    if not score.total:
        return []
    low, high = score.interval
    accuracy = f"accuracy (95 % interval {low:.4f} to {high:.4f}, {score.total} images)"
    found = [{"type": "accuracy", "value": score.accuracy, "name": accuracy}]
    return found + [
        {"type": hub, "value": float(value), "name": measure(name).title}
        for name, hub in _SHOWN.items()
        if (value := recorded.get(name)) is not None
    ]
