"""The whole way from training rows to heads: choose what is left open, train on all rows, learn how sure to be."""

import dataclasses
from collections.abc import Sequence

from headstart.core.heads.confidence import Confidence
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.selection.record import Selection
from headstart.core.heads.training.optimise import OnEpoch
from headstart.core.heads.training.train import Trained, train_many


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A head, and how it came about. `trained.head.config` is what it was trained with: of `auto`, what was chosen.

    `selection` is None where nothing was left open, `confidence` where no row could be asked.
    """

    trained: Trained
    selection: Selection | None = None
    confidence: Confidence | None = None


def fit(data: Labelled, classes: int, configs: Sequence[TrainConfig], device: str, on_epoch: OnEpoch) -> list[Fitted]:
    """A head for each configuration, in their order. Nothing but `data`, the training rows, is looked at.

    Raises as `train_many`.
    """
    return [Fitted(trained) for trained in train_many(data, classes, configs, device, on_epoch)]
