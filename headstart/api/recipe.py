"""A recipe with what a caller changes of it, checked as the command line checks its options."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping

from headstart.core.heads.config import HEADS, RECIPES, TrainConfig, refusal

Check = tuple[Callable[[float], bool], type, str]

_POSITIVE: Check = (lambda value: value >= 1, int, "a whole number from 1 on")
_CHECKS: Mapping[str, Check] = {
    **dict.fromkeys(("epochs", "batch_size", "hidden", "train_limit"), _POSITIVE),
    "lr": (lambda value: 0 < value < math.inf, float, "a finite number above 0"),
    "weight_decay": (lambda value: 0 <= value < math.inf, float, "a finite number from 0 on"),
    **dict.fromkeys(("dropout", "val_fraction"), (lambda value: 0 <= value < 1, float, "a number from 0 to below 1")),
    "seed": (lambda value: 0 <= value < 2**63, int, "a whole number from 0 to 2**63 - 1"),
}


def changed(recipe: str, head: str, given: Mapping[str, object]) -> TrainConfig:
    """The recipe for this head with what is given, by the names of `TrainConfig`; None leaves the recipe's own.

    Raises ValueError for an unknown recipe or head, for a value out of range, and for one that this head has no use for.
    """
    for name, value, known in (("recipe", recipe, tuple(RECIPES)), ("head", head, HEADS)):
        if value not in known:
            raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")
    changes = {name: _checked(name, value) for name, value in given.items() if value is not None}
    config = dataclasses.replace(RECIPES[recipe], head=head, **changes)  # type: ignore[arg-type]
    if (reason := refusal(config, sorted(set(changes) - {"train_limit"}))) is not None:
        raise ValueError(re.sub(r"--([a-z-]+)", lambda option: option[1].replace("-", "_"), reason))
    return config


def _checked(name: str, value: object) -> int | float:
    fits, kind, expected = _CHECKS[name]
    try:
        number = kind(value)  # numpy's numbers too
        if isinstance(value, str | bool) or number != value or not fits(number):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {value!r}, expected {expected}") from None
    return number  # type: ignore[no-any-return]
