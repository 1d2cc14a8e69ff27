"""mlp: two layers with a ReLU and dropout between them, the head of the published study."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds.base import DESCENT, Batch, GradientHead, Layer, affine, affine_gradients


class Mlp(GradientHead):
    """Linear(D, hidden), ReLU, Dropout, Linear(hidden, C), and the study's sigmoid where the recipe has it."""

    uses = DESCENT | {"hidden", "dropout"}
    rank = 6

    def __init__(
        self, dim: int, classes: int, config: TrainConfig, rows: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(dim, classes, config, rows)
        self.hidden = Layer(dim, config.hidden, generator)
        self.out = Layer(config.hidden, classes, generator)
        self.dropped = config.hidden

    @staticmethod
    def shapes(dim: int, classes: int, config: TrainConfig) -> list[tuple[int, int]]:
        return [(dim, config.hidden), (config.hidden, classes)]

    def scores(self, parameters: Mapping[str, Tensor], features: Tensor, keep: Tensor | None) -> Tensor:
        hidden = functional.relu(affine(parameters, "hidden", features))
        return self._squashed(affine(parameters, "out", hidden if keep is None else hidden * keep))

    def learn(self, parameters: Mapping[str, Tensor], batch: Batch, gradients: Mapping[str, Tensor]) -> Tensor:
        keep, hidden = batch.keep, affine(parameters, "hidden", batch.features).relu_()
        kept = hidden if keep is None else hidden * keep
        losses, gradient = self._cross_entropy(self._squashed(affine(parameters, "out", kept)), batch)
        affine_gradients(gradients, "out", kept, gradient)
        onward = torch.bmm(gradient, parameters["out.weight"].mT)
        onward = (onward if keep is None else onward.mul_(keep)).masked_fill_(hidden <= 0, 0)
        affine_gradients(gradients, "hidden", batch.features, onward)
        return losses
