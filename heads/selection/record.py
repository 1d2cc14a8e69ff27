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
    held out once, or are the data set's `validation` split. Of the kinds of heads within one standard error of the least
    log loss the simplest is chosen, and of its configurations the best: `chosen` is its place in `tried`. Within a kind the
    rule of one standard error would prefer the strongest penalty: on 50 rows of ResNet18 features, ten classes at 1:10,
    that cost a point of accuracy.
    """

    folds: int
    rows: int
    tried: tuple[Tried, ...]
    chosen: int
    elapsed_s: float
    validation: bool = False

    @property
    def config(self) -> TrainConfig:
        """The configuration that was chosen."""
        return self.tried[self.chosen].config
