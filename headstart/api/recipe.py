"""A recipe with what a caller changes of it, checked as the command line checks its options."""

import math
import re
from collections.abc import Callable, Mapping

from headstart.api.spoken import in_python
from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.heads import config as recipes
from headstart.core.heads.config import CLASS_WEIGHTS, HEADS, RECIPES, TrainConfig, refusal
from headstart.requests import EVERY_HEAD

Check = tuple[Callable[[float], bool], type, str]

_POSITIVE: Check = (lambda value: value >= 1, int, "a whole number from 1 on")
_PART: Check = (lambda value: 0 <= value < 1, float, "a number from 0 to below 1")
_CHECKS: Mapping[str, Check] = {
    **dict.fromkeys(("epochs", "batch_size", "hidden", "train_limit", "neighbours"), _POSITIVE),
    **dict.fromkeys(("lr", "penalty"), (lambda value: 0 < value < math.inf, float, "a finite number above 0")),
    "weight_decay": (lambda value: 0 <= value < math.inf, float, "a finite number from 0 on"),
    **dict.fromkeys(("dropout", "val_fraction", "label_smoothing"), _PART),
    "test_fraction": (lambda value: 0 < value < 1, float, "a number between 0 and 1"),
    "seed": (lambda value: 0 <= value < 2**63, int, "a whole number from 0 to 2**63 - 1"),
}


def changed(recipe: str, head: str | None, given: Mapping[str, object]) -> TrainConfig:
    """The recipe for this head, None for its own, with what is given, by the names of `TrainConfig`; None leaves the
    recipe's own.

    Raises ArgumentInvalid for an unknown recipe or head, a value out of range, and one that this head has no use for.
    """
    for name, value, known in (("recipe", recipe, tuple(RECIPES)), ("head", head, (None, *HEADS))):
        if value not in known:
            raise ArgumentInvalid(f"{name} is {value!r}, expected one of {', '.join(filter(None, known))}")
    changes: dict[str, object] = {
        name: _checked(name, value) for name, value in given.items() if value is not None and name != "group_by"
    }
    if (pattern := given.get("group_by")) is not None:
        changes["group_by"] = _pattern(pattern)
    config = recipes.changed(recipe, {**changes, **({"head": head} if head else {})})
    if (reason := refusal(config, sorted(set(changes) - EVERY_HEAD))) is not None:
        raise ArgumentInvalid(in_python(reason))
    return config


def _pattern(value: object) -> str:
    try:
        if not isinstance(value, str):
            raise re.error(f"expected a text, found {type(value).__name__}")
        re.compile(value)
    except re.error as error:
        raise ArgumentInvalid(f"group_by is {value!r}, expected a regular expression ({error})") from None
    return value


def _checked(name: str, value: object) -> int | float | str:
    if name == "class_weight":
        if value not in CLASS_WEIGHTS:
            raise ArgumentInvalid(f"{name} is {value!r}, expected {', '.join(CLASS_WEIGHTS)}")
        return str(value)
    fits, kind, expected = _CHECKS[name]
    try:
        number = kind(value)  # numpy's numbers too
        if isinstance(value, str | bool) or number != value or not fits(number):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ArgumentInvalid(f"{name} is {value!r}, expected {expected}") from None
    return number  # type: ignore[no-any-return]
