"""What is told of a training's epochs while it goes on."""

import dataclasses
from collections.abc import Callable, Sequence


@dataclasses.dataclass(frozen=True)
class Epoch:
    """An epoch of all heads that are trained at once: its number from 1 of `epochs`, and each head's mean training loss and
    validation accuracy (none of these where there are no validation rows)."""

    number: int
    epochs: int
    losses: Sequence[float]
    accuracies: Sequence[float]


OnEpoch = Callable[[Epoch], None]
"""Called after each epoch, from whichever thread ended it."""
