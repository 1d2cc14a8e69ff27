"""prototype: the class whose mean is most similar."""

import torch
from torch import Tensor
from torch.nn import functional

from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds.base import ClosedFormHead, Rows


class Prototype(ClosedFormHead):
    """The nearest class mean (T. Mensink et al., Distance-based image classification, TPAMI 35, 2013) by cosine similarity,
    over a temperature (S. Gidaris and N. Komodakis, Dynamic few-shot visual learning, https://arxiv.org/abs/1804.09458).

    Not by Euclidean distance, as in prototypical networks: the mean of few rows is longer than that of many, so that rare
    classes are hardly ever the nearest. On 100 rows of DenseNet169 features, half of the classes with ten times the rows of
    the others, cosines were right for 58 % of a balanced test part and distances for 43 %; of even ones, for 70 and 71 %.
    """

    rank = 0
    caveat = "a prototype head's probabilities are similarities to class means, sharpened by the same number for all data"
    temperature = 0.07
    """The best was 0.07 to 0.08 on 20 to 3,000 rows of those features."""
    means: Tensor

    def __init__(
        self, dim: int, classes: int, config: TrainConfig, rows: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(dim, classes, config, rows)
        self.register_buffer("means", torch.zeros(classes, dim))

    def score(self, features: Tensor) -> Tensor:
        return functional.normalize(features) @ self.means.T / self.temperature

    def fit(self, rows: Rows) -> None:
        """Take the direction (C, D) of each class's mean, 0 where it has none or no row."""
        weights = rows.features.new_ones(len(rows.labels)) if rows.weights is None else rows.weights.float()
        sums = torch.zeros_like(self.means).index_add_(0, rows.labels, rows.features * weights[:, None])
        self.means.copy_(functional.normalize(sums))
