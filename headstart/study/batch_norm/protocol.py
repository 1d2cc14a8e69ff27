"""How the experiment is run, and what it measures."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Imitation:
    """How much of the study's protocol is run: the first `train_images` and `test_images` rows, in shuffled batches, one
    run for each seed. The batch is part of the protocol: its statistics are what the layers normalise by."""

    train_images: int = 1000
    test_images: int = 600
    epochs: int = 5
    batch_size: int = 64
    seeds: tuple[int, ...] = (0,)


@dataclasses.dataclass(frozen=True)
class Drift:
    """How far running means and variances moved: |new - old| / |old| of each layer (Euclidean), averaged over layers."""

    mean: float
    var: float


@dataclasses.dataclass(frozen=True)
class BatchNormCost:
    """Test accuracies in [0, 1] for each seed, with the backbone in `eval()` and left in `train()`, and the statistics'
    drift in the latter. `device` is a name for people, `elapsed_s` the time of everything in seconds."""

    model: str
    weights: str
    train_images: int
    test_images: int
    image_size: int
    epochs: int
    seeds: tuple[int, ...]
    accuracy_eval: tuple[float, ...]
    accuracy_train: tuple[float, ...]
    drift: tuple[Drift, ...]
    precision: str
    device: str
    elapsed_s: float
