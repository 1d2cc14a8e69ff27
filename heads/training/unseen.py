"""Scores of rows by heads that did not see them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headstart.core.heads.config import TrainConfig
from headstart.core.heads.data import Labelled, counted
from headstart.core.heads.kinds import kind
from headstart.core.heads.kinds.base import ClosedFormHead
from headstart.core.heads.training.given import Given, new_head, on_device, standardised
from headstart.core.heads.training.train import scores, train_many

Scores = npt.NDArray[np.float32]


def unseen_scores(
    data: Labelled, features: npt.NDArray[np.float32], classes: int, configs: Sequence[TrainConfig], device: str
) -> list[Scores]:
    """Each configuration's scores (n, C) of features (n, D), by a head trained on `data`. Minus infinity for classes of
    which `data` has no row. Configurations of one kind share their work. Raises as `train_many`."""
    found: dict[int, Scores] = {}
    by_kind: dict[str, list[int]] = {}
    for i, config in enumerate(configs):
        by_kind.setdefault(config.head, []).append(i)
    for name, places in by_kind.items():
        own = [configs[i] for i in places]
        if issubclass(kind(name), ClosedFormHead):
            scored = _closed_scores(data, features, classes, own, device)
        else:
            heads = train_many(data, classes, own, device, lambda *_: None)
            scored = [scores(trained.head, features, device) for trained in heads]
        found.update({i: part.numpy() for i, part in zip(places, scored, strict=True)})
    return [found[i] for i in range(len(configs))]


def _closed_scores(
    data: Labelled, features: npt.NDArray[np.float32], classes: int, configs: Sequence[TrainConfig], device: str
) -> list[Tensor]:
    """The same for one kind of head without epochs."""
    data = counted(data)
    plain = Given(on_device(device, data), None)
    given = standardised(plain) if configs[0].standardise else plain
    made = [new_head(given, classes, config, len(data.labels)) for config in configs]
    heads = [head for head in made if isinstance(head, ClosedFormHead)]
    found = type(heads[0])
    found.fit_all(heads, given.rows)
    with torch.inference_mode():
        held = (torch.from_numpy(np.ascontiguousarray(features)).to(device) - heads[0].mean).div_(heads[0].std)
        return [heads[0].allowed(part).cpu() for part in found.score_all(heads, held)]
