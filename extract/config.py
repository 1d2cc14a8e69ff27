"""What an extraction is asked to do, and its settings. Imports nothing heavy: the command line reads its defaults here."""

import dataclasses
from typing import Literal, get_args

from headstart.core.cache.shard_plan import DEFAULT_SHARD_ROWS

Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
Engine = Literal["auto", "eager", "compiled"]
OnError = Literal["fail", "skip"]
Split = Literal["train", "test", "all"]

PRECISIONS: tuple[str, ...] = get_args(Precision)
ENGINES: tuple[str, ...] = get_args(Engine)
ON_ERROR: tuple[str, ...] = get_args(OnError)
SPLITS: tuple[str, ...] = get_args(Split)
STUDY_MODELS = ("vgg16", "vgg19", "resnet50", "resnet152")


@dataclasses.dataclass(frozen=True)
class ExtractConfig:
    """How features are computed. Sizes in pixels; `limit` and `shard_rows` in rows; None lets us choose.

    `workers` threads decode image files (Pillow's decoders run outside Python's lock); data sets of small arrays need none.
    """

    weights: str = "IMAGENET1K_V1"
    image_size: int = 224
    precision: Precision = "auto"
    device: str = "auto"
    batch_size: int | None = None
    engine: Engine = "auto"
    workers: int = 4
    limit: int | None = None
    shard_rows: int = DEFAULT_SHARD_ROWS
    on_error: OnError = "fail"
    force: bool = False


@dataclasses.dataclass(frozen=True)
class ExtractionRequest:
    """Features of a data set by several backbones.

    `split` None means all that the data set has. `weights` are `VALUE` or `MODEL=VALUE`; a model that none concern gets
    those of `config`. With `no_splits` each sub-folder of `folder:PATH` is a class.
    """

    models: tuple[str, ...] = ("resnet50",)
    dataset: str = "cifar10"
    split: str | None = None
    weights: tuple[str, ...] = ()
    no_splits: bool = False
    config: ExtractConfig = ExtractConfig()
