"""What was tried on training rows, and what was chosen."""

import dataclasses

from headstart.core.heads.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class Tried:
    """One configuration's figures on rows that it did not see: mean log loss in nats, at the `temperature` that suits it
    best, with the standard error of its difference to the least of all, and accuracy (0 to 1)."""

    config: TrainConfig
    log_loss: float
    error: float
    accuracy: float
    temperature: float


@dataclasses.dataclass(frozen=True)
class Selection:
    """How a configuration was chosen: among `tried`, the best first, on `rows` rows that the heads did not see.

    With `folds` 2 or more each training row was predicted once, by heads trained on the other folds; with 1 the rows were
    held out once. `chosen` is the place in `tried` of the simplest within one standard error of the least log loss.
    """

    folds: int
    rows: int
    tried: tuple[Tried, ...]
    chosen: int
    elapsed_s: float

    @property
    def config(self) -> TrainConfig:
        """The configuration that was chosen."""
        return self.tried[self.chosen].config
