"""The whole way from training rows to heads: choose what is left open, train on all rows, learn how sure to be."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from headstart.core.heads.confidence import Confidence
from headstart.core.heads.config import AUTO, LEAST_CHOSEN_BY, TrainConfig
from headstart.core.heads.data import Labelled, counted
from headstart.core.heads.kinds import kind
from headstart.core.heads.selection import search
from headstart.core.heads.selection.record import Selection
from headstart.core.heads.training.epoch import OnEpoch
from headstart.core.heads.training.train import Trained, carve, scores, train_many

CANDIDATES = ("logreg",)
"""What `auto` tries with any number of rows."""
FROM_ROWS = 100
OF_SOME = ("ridge", "knn")
"""What it also tries from so many rows on. Fewer can't tell kinds of heads apart: of 20 rows of ResNet18 features, some
classes with ten times the rows of others, ridge was chosen in nine of ten draws and cost 1.4 points of accuracy, nearest
neighbours in four and 1.3."""
OF_MANY = ("mlp",)
"""What it also tries where rows are held out once. Of fewer rows a gradient head learns no more than the others from frozen
features (ResNet50's, 1,000 rows: 80.6 % beside 82.2 % of logistic regression), and would take most of the time."""


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A head, and how it came about. `trained.head.config` is what it was trained with: of `auto`, what was chosen.

    `selection` is None where nothing was left open, `confidence` where no row could be asked.
    """

    trained: Trained
    selection: Selection | None = None
    confidence: Confidence | None = None


def fit(
    data: Labelled,
    classes: int,
    configs: Sequence[TrainConfig],
    device: str,
    on_epoch: OnEpoch,
    *,
    calibrated: bool = True,
) -> list[Fitted]:
    """A head for each configuration, in their order. Nothing but `data`, the training rows, is looked at.

    What a configuration leaves open is chosen, by its own seed where that is random (`search.search`), and the head is then
    trained on all rows but those that are `judging`: where some are, they choose, and say how sure a head may be. Where
    there are none and nothing is open, no row is set aside and a head is to be `calibrated`, it costs a
    cross-validation of its own. Raises as `train_many`.
    """
    data = counted(data)
    weighted = data.weights is not None
    rows = len(data.learning.labels)
    tried = [candidates(config, rows, weighted=weighted) for config in configs]
    return _finished(data, classes, tried, device, on_epoch, calibrated)


def sweep(data: Labelled, classes: int, configs: Sequence[TrainConfig], device: str, on_epoch: OnEpoch) -> Fitted:
    """One head: the best of the configurations. Raises as `train_many`."""
    return _finished(counted(data), classes, [list(configs)], device, on_epoch, True)[0]


def candidates(config: TrainConfig, rows: int, *, weighted: bool = False) -> list[TrainConfig]:
    """What is tried for a configuration on so many training rows; itself alone where it leaves nothing open. Where rows, or
    classes, are `weighted`, heads that take no weights are not tried."""
    names: tuple[str, ...] = (config.head,)
    if config.head == AUTO:
        some, many = rows >= FROM_ROWS, rows > search.CROSS_VALIDATED
        names = (*CANDIDATES, *(OF_SOME if some else ()), *(OF_MANY if many else ()))
        names = tuple(name for name in names if kind(name).weighted or not (weighted or config.class_weight))
    return [tried for name in names for tried in kind(name).grid(dataclasses.replace(config, head=name), rows)]


def _finished(
    data: Labelled,
    classes: int,
    open_ones: Sequence[Sequence[TrainConfig]],
    device: str,
    on_epoch: OnEpoch,
    calibrated: bool,
) -> list[Fitted]:
    found: dict[tuple[TrainConfig, ...], search.Found | None] = {}
    for tried in open_ones:
        wanted = len(tried) > 1 or (calibrated and data.judging is None and _needs_a_search(tried[0], len(data.labels)))
        if (key := _alike(tried)) not in found and wanted:
            found[key] = search.search(data, classes, tried, device, tried[0].seed)
    chosen = [_chosen(tried, found.get(_alike(tried))) for tried in open_ones]
    trained = train_many(data, classes, chosen, device, on_epoch)
    return [
        _fitted(data, one, found.get(_alike(tried)), len(tried) > 1, device)
        for tried, one in zip(open_ones, trained, strict=True)
    ]


def _alike(tried: Sequence[TrainConfig]) -> tuple[TrainConfig, ...]:
    """What tells searches apart: where nothing is chosen, heads of several seeds have one."""
    return tuple(tried) if len(tried) > 1 else (dataclasses.replace(tried[0], seed=0),)


def _needs_a_search(config: TrainConfig, rows: int) -> bool:
    """Whether rows must be predicted by heads that did not see them, since the head sets none aside by which it can learn
    how sure to be. Squashed scores can be sure of nothing, whatever their temperature."""
    return not (config.sigmoid or config.held(rows) >= LEAST_CHOSEN_BY)


def _chosen(tried: Sequence[TrainConfig], found: search.Found | None) -> TrainConfig:
    """The configuration to train: where no row can be judged the first, the simplest kind, with the setting that it has
    where none is given."""
    if len(tried) == 1:
        return tried[0]
    return dataclasses.replace(tried[0], penalty=None, neighbours=None) if found is None else found.selection.config


def _fitted(data: Labelled, trained: Trained, found: search.Found | None, several: bool, device: str) -> Fitted:
    if found is not None:
        return Fitted(trained, found.selection if several else None, found.confidence)
    config, judging = trained.head.config, data.judging
    if config.sigmoid or (judging is None and trained.val_rows < LEAST_CHOSEN_BY):
        return Fitted(trained)
    held = carve(data.labels, config, "cpu", data.groups).val.numpy() if judging is None else np.flatnonzero(judging)
    own = scores(trained.head, data.features[held], device).numpy()
    if not np.isfinite(own[np.arange(len(held)), data.labels[held]]).any():
        return Fitted(trained)
    return Fitted(trained, None, search.confidence(own, data.labels[held]))
