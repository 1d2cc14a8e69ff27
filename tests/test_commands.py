"""What is to be typed to make features or a head again: options that lead to the same settings."""

import dataclasses
from typing import Any

import pytest
from cli_samples import parse
from heads_samples import make_key

from headstart.commands import trained_by
from headstart.core.heads.config import RECIPES, changed


@pytest.mark.parametrize(
    ("recipe", "changes", "said"),
    [
        ("standard", {}, ""),
        ("study", {}, "--recipe study"),
        ("standard", {"head": "ridge", "penalty": 0.5}, "--head ridge --penalty 0.5"),
        ("standard", {"head": "mlp", "epochs": 7, "seed": 3}, "--head mlp --epochs 7 --seed 3"),
        ("standard", {"group_by": "cat_[0-9]+", "train_limit": 90}, "--group-by cat_[0-9]+ --train-limit 90"),
        ("standard", {"head": "knn", "seed": 3}, "--head knn"),
    ],
)
def test_a_head_is_trained_again_by_what_differs_from_its_recipe(recipe: str, changes: dict[str, Any], said: str) -> None:
    key = make_key()
    options = trained_by(key, changed(recipe, changes))
    features = "-m resnet50 --dataset pets --image-size 224 --precision fp32 --transform squash --weights IMAGENET1K_V1"
    assert " ".join(options) == f"{features} {said}".rstrip()
    parse(f"headstart train-head {' '.join(options)} --curve")


def test_a_recipe_of_an_earlier_version_is_told_as_a_change_of_the_standard_one() -> None:
    old = dataclasses.replace(RECIPES["standard"], recipe="old", head="ridge")
    assert trained_by(make_key(), old)[12:] == ("--recipe", "old", "--head", "ridge")
