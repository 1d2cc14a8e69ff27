"""Settings as a caller gives them, by name."""

import dataclasses

import numpy as np
import pytest

from headstart.api.recipe import changed
from headstart.core.heads.config import RECIPES


def test_none_leaves_the_recipes_own() -> None:
    assert changed("study", "mlp", {"epochs": None, "lr": None}) == RECIPES["study"]
    expected = dataclasses.replace(RECIPES["standard"], head="linear", epochs=7, lr=0.5, least_steps=0)
    assert changed("standard", "linear", {"epochs": np.int64(7), "lr": np.float32(0.5)}) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 0, "a whole number from 1 on"),
        ("epochs", 2.5, "a whole number from 1 on"),
        ("epochs", "3", "a whole number from 1 on"),
        ("hidden", True, "a whole number from 1 on"),
        ("lr", float("inf"), "a finite number above 0"),
        ("weight_decay", float("nan"), "a finite number from 0 on"),
        ("val_fraction", 1, "a number from 0 to below 1"),
        ("seed", -1, r"a whole number from 0 to 2\*\*63 - 1"),
        ("train_limit", [3], "a whole number from 1 on"),
    ],
)
def test_a_value_out_of_range_is_named(name: str, value: object, expected: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is .*, expected {expected}"):
        changed("standard", "mlp", {name: value})


def test_an_unknown_recipe_is_named() -> None:
    with pytest.raises(ValueError, match="recipe is 'mine', expected one of study, standard"):
        changed("mine", "mlp", {})
