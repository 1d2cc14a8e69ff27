"""What an extraction is asked to do, its settings, and what it would have to download.

Imports nothing heavy: the command line reads its defaults here.
"""

import contextlib
import dataclasses
from pathlib import Path
from typing import Literal, get_args

from headstart.core.cache.arguments import choice, flag, text, whole
from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.shard_plan import DEFAULT_SHARD_ROWS
from headstart.core.cache.views import FLIP, crop

Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
Engine = Literal["auto", "eager", "compiled"]
OnError = Literal["fail", "skip"]
Split = Literal["train", "val", "test", "all"]
Transform = Literal["auto", "preset", "squash"]
Pool = Literal["auto", "avg", "cls", "cls+avg", "max"]
Views = Literal["flip"] | int

PRECISIONS: tuple[str, ...] = get_args(Precision)
ENGINES: tuple[str, ...] = get_args(Engine)
ON_ERROR: tuple[str, ...] = get_args(OnError)
SPLITS: tuple[str, ...] = get_args(Split)
TRANSFORMS: tuple[str, ...] = get_args(Transform)
POOLS: tuple[str, ...] = get_args(Pool)
STUDY_MODELS = ("vgg16", "vgg19", "resnet50", "resnet152")
MOST_VIEWS = 64
"""Random crops of each picture: each costs a pass over the data set and a set of its size."""
IMAGE_SIZE = 224
"""Pixels: what most backbones were trained for."""
MIN_IMAGE_SIZE = 32
"""Pixels: the backbones halve an image five times."""


@dataclasses.dataclass(frozen=True)
class ExtractConfig:
    """How features are computed. Sizes in pixels; `limit` and `shard_rows` in rows; None lets us choose.

    `image_size` None is the size that the weights were made for. `transform` is `preset`, their own resizing, crop and
    interpolation; or `squash`, the whole picture resized to a square; `auto` is by data set (`extract.weights.presets`).

    `pool` is how a network's last feature map or tokens become features: `auto` is what its authors classify on, `avg` the
    mean over the picture, `max` the maximum, `cls` the class token. `layer` names an inner layer that is pooled instead.

    `workers` threads decode image files (Pillow's decoders run outside Python's lock); data sets of small arrays need none.
    With `frozen` pictures that have changed since are an error. Raises ArgumentInvalid, which names the field, for a value
    that is of no use; command line and Python share this check.
    """

    weights: str = "IMAGENET1K_V1"
    image_size: int | None = None
    precision: Precision = "auto"
    device: str = "auto"
    batch_size: int | None = None
    engine: Engine = "auto"
    workers: int = 4
    limit: int | None = None
    shard_rows: int = DEFAULT_SHARD_ROWS
    on_error: OnError = "fail"
    force: bool = False
    frozen: bool = False
    transform: Transform = "auto"
    pool: Pool = "auto"
    layer: str | None = None

    def __post_init__(self) -> None:
        least = {"image_size": MIN_IMAGE_SIZE, "batch_size": 1, "workers": 1, "limit": 1, "shard_rows": 1}
        known = {"precision": PRECISIONS, "engine": ENGINES, "on_error": ON_ERROR, "transform": TRANSFORMS, "pool": POOLS}
        numbers = {name: whole(name, getattr(self, name), lowest) for name, lowest in least.items() if not self._open(name)}
        words = {name: choice(name, getattr(self, name), there) for name, there in known.items()}
        texts = {
            name: text(name, getattr(self, name))
            for name in ("weights", "device", *(["layer"] if self.layer is not None else []))
        }
        flags = {name: flag(name, getattr(self, name)) for name in ("force", "frozen")}
        if self.force and self.frozen:
            raise ArgumentInvalid("force computes anew what frozen forbids to change; leave one of the two out")
        for name, value in {**numbers, **words, **texts, **flags}.items():
            object.__setattr__(self, name, value)  # numpy's integers become Python's, paths become text

    def _open(self, name: str) -> bool:
        """Whether a number is left to us."""
        return name in ("image_size", "batch_size", "limit") and getattr(self, name) is None


@dataclasses.dataclass(frozen=True)
class ExecutorConfig:
    """Who computes (`extract.executors`), and what that needs: `num` processes or actors, None for one for each GPU or as
    many as make sense; `task` (i, n), the i-th of n tasks of a job array, counted from 1; the `address` of a Ray cluster.
    Raises ArgumentInvalid."""

    name: str = "local"
    num: int | None = None
    task: tuple[int, int] | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        text("executor", self.name)
        if self.num is not None:
            object.__setattr__(self, "num", whole("num", self.num, 1))
        if self.task is not None:
            object.__setattr__(self, "task", _task(self.task))
        if self.address is not None:
            text("address", self.address)


LOCAL = ExecutorConfig()


def _task(value: object) -> tuple[int, int]:
    """A task's number and how many there are, from `i/n` too. Raises ArgumentInvalid."""
    given = tuple(value.split("/")) if isinstance(value, str) else value
    expected = f"task is {value!r}, expected I/N: the I-th of N tasks, counted from 1, such as 3/16"
    try:
        number, count = (int(one) for one in given)  # type: ignore[attr-defined]  # what can't be iterated is refused
    except (TypeError, ValueError):
        raise ArgumentInvalid(expected) from None
    if not 1 <= number <= count:
        raise ArgumentInvalid(expected)
    return number, count


@dataclasses.dataclass(frozen=True)
class ExtractionRequest:
    """Features of a data set by several backbones.

    `split` None means all that the data set has. `weights` are `VALUE` or `MODEL=VALUE`; a model that none concern gets
    those of `config`. With `no_splits` each sub-folder of `folder:PATH` is a class. `views` are features kept beside those
    of the pictures as they are: of each picture mirrored (`flip`), or of that many random crops of it, drawn from
    `view_seed` (None is 0). `executor` says who computes them. `corrections` is a file of decisions on labels
    (`docs/corrections.md`), by which corrected copies are kept too. Raises ArgumentInvalid.
    """

    models: tuple[str, ...] = ("resnet50",)
    dataset: str = "cifar10"
    split: str | None = None
    weights: tuple[str, ...] = ()
    no_splits: bool = False
    config: ExtractConfig = ExtractConfig()
    views: Views | None = None
    view_seed: int | None = None
    executor: ExecutorConfig = LOCAL
    corrections: Path | None = None

    def __post_init__(self) -> None:
        for name in self.models:
            text("model", name)
        text("dataset", self.dataset)
        flag("no_splits", self.no_splits)
        if self.split is not None:
            choice("split", self.split, SPLITS)
        object.__setattr__(self, "views", _views(self.views))
        if self.view_seed is not None:
            object.__setattr__(self, "view_seed", whole("view_seed", self.view_seed, 0))
            if self.views in (None, FLIP):
                raise ArgumentInvalid(
                    "a seed draws random crops, and none are asked for; say how many with --views, or leave the seed out"
                )

    @property
    def view_names(self) -> tuple[str, ...]:
        """The views asked for, as keys have them."""
        if isinstance(self.views, int):
            return tuple(crop(self.view_seed or 0, number) for number in range(1, self.views + 1))
        return (FLIP,) if self.views else ()


def _views(value: object) -> Views | None:
    """The views asked for. Raises ArgumentInvalid."""
    if value is None:
        return None
    if isinstance(value, str) and value == FLIP:
        return "flip"
    with contextlib.suppress(ArgumentInvalid):
        if (number := whole("views", value, 1)) <= MOST_VIEWS:
            return number
    raise ArgumentInvalid(f"views is {value!r}, expected {FLIP} or a whole number from 1 to {MOST_VIEWS}")


@dataclasses.dataclass(frozen=True)
class Download:
    """A file, or a data set, that is not here: what it is, whence it would come, and where it would lie."""

    what: str
    url: str
    path: Path
