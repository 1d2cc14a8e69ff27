"""How the experiment is run."""

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
