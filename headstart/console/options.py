"""The options that several commands share, and the command that has those which all share. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import click

from headstart.core.cache.arguments import nbytes
from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.places import is_url, on_this_machine, place
from headstart.core.extract.config import (
    ENGINES,
    MIN_IMAGE_SIZE,
    ON_ERROR,
    POOLS,
    PRECISIONS,
    TRANSFORMS,
    ExtractConfig,
    ExtractionRequest,
)
from headstart.core.heads.feature_choice import FeatureChoice
from headstart.requests import ChoosingRequest
from headstart.workspace import Workspace

Option = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Settings(Workspace):
    """The options that every command has."""

    json: bool
    verbose: bool


def command(
    group: click.Group, name: str, example: str, hidden: Collection[str] = ()
) -> Callable[[Callable[..., None]], click.Command]:
    """A command with the common options, whose help ends with an example, and whose first argument is `Settings`. Those
    `hidden`, which do nothing here, are taken but not shown."""

    def decorate(function: Callable[..., None]) -> click.Command:
        def run(**given: Any) -> None:
            names = [field.name for field in dataclasses.fields(Settings)]
            function(Settings(**{name: given.pop(name) for name in names}), **given)

        run.__doc__ = function.__doc__
        run.__click_params__ = [*_common_params(hidden), *getattr(function, "__click_params__", [])]  # type: ignore[attr-defined]
        return group.command(name, epilog=f"Example: {example}")(run)

    return decorate


def _common_params(hidden: Collection[str]) -> list[click.Parameter]:
    """The common options as click keeps them on a function: last first, so that help shows them below a command's own."""

    def bare() -> None: ...

    for option in reversed(COMMON):
        option(bare)
    found = list[click.Parameter](bare.__click_params__)  # type: ignore[attr-defined]  # click's own attribute
    for one in found:
        if isinstance(one, click.Option) and one.name in hidden:
            one.hidden = True
    return found


class Place(click.Path):
    """A folder or file of this machine, or where that may be `remote` a folder in an object store, by its URL."""

    def __init__(self, option: str, *, remote: bool = False, **kind: Any) -> None:
        super().__init__(path_type=Path, **kind)
        self.option, self.remote = option, remote

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Raises click.BadParameter for a file; ArgumentInvalid for a URL that can't be used."""
        if isinstance(value, str) and is_url(value):
            return place(value) if self.remote else on_this_machine(value, self.option)
        return super().convert(value, param, ctx)


def _folder(flag: str, variable: str, default: str, what: str, *, remote: bool = False) -> Option:
    kind = Place(flag, remote=remote, file_okay=False)
    return click.option(flag, type=kind, default=default, envvar=variable, show_default=True, show_envvar=True, help=what)


COMMON = (
    _folder(
        "--features-dir",
        "HEADSTART_FEATURES",
        "features",
        "Where feature sets are kept: a folder, or s3://BUCKET/PREFIX.",
        remote=True,
    ),
    _folder("--runs-dir", "HEADSTART_RUNS", "runs", "Where trained heads and reports are kept."),
    _folder("--data-dir", "HEADSTART_DATA", "data", "Where data sets are, or are downloaded to."),
    click.option("--device", default=ExtractConfig.device, show_default=True, help="auto, cpu, cuda[:N], xpu[:N] or mps."),
    click.option("--json", is_flag=True, help="One JSON document as the last line of stdout."),
    click.option("-v", "--verbose", is_flag=True, help="Say more."),
)

NO_HEADS = ("runs_dir", "data_dir", "device")
"""The common options that do nothing where only feature sets are looked at."""
NO_SETS = ("features_dir", *NO_HEADS)
"""Those that do nothing where not even a feature set is read."""

POSITIVE = click.IntRange(min=1)
SEED = click.IntRange(0, 2**63 - 1)
"""A generator takes one bit more, which leaves room for those that follow."""


class Finite(click.FloatRange):
    """A number in a range; not a number and infinity, which no comparison keeps out, are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Raises click.BadParameter."""
        found: float = super().convert(value, param, ctx)
        return found if math.isfinite(found) else self.fail(f"{value} is not a finite number.", param, ctx)


def as_bytes(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """The callback of an option for a number of bytes. Raises click.BadParameter."""
    try:
        return None if value is None else nbytes("memory", value)
    except ArgumentInvalid:
        raise click.BadParameter(f"{value!r} is no size, expected bytes, such as 200MB.", ctx, param) from None


class Pattern(click.types.StringParamType):
    """A regular expression, kept as text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Raises click.BadParameter."""
        try:
            re.compile(value)
        except re.error as error:
            self.fail(f"{value!r} is no regular expression: {error}.", param, ctx)
        return str(value)


def shown(*flags: str, **more: Any) -> Option:
    """An option whose help shows its default."""
    return click.option(*flags, show_default=True, **more)


def _weights(default: str) -> Option:
    what = "IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT, random[:SEED], or a .safetensors or .pth FILE[#NAME]; repeatable."
    return click.option("--weights", multiple=True, metavar="[MODEL=]WEIGHTS", help=f"{what} [default: {default}]")


models_option = click.option("-m", "--model", "models", multiple=True, metavar="MODEL", help="Backbone; repeatable.")
compared_models_option = click.option(
    "-m",
    "--model",
    "--models",
    "models",
    multiple=True,
    metavar="MODEL[,MODEL...]",
    help=f"Backbones to compare; repeatable. [default: {','.join(ChoosingRequest.models)}]",
)
dataset_option = shown(
    "--dataset",
    default=ExtractionRequest.dataset,
    help="cifar10, digits, folder:PATH, classes:PATH, list:FILE, parquet:GLOB, tar:GLOB, npz:FILE, hf:OWNER/NAME or "
    "torchvision:NAME.",
)
no_splits_option = click.option(
    "--no-splits", is_flag=True, help="Of folder:PATH each sub-folder is a class, those called train or test too."
)
limit_option = click.option(
    "--limit", type=POSITIVE, help="The first N rows of each split; rows of files are ordered so that these are a sample."
)
weights_option = _weights(ExtractConfig.weights)
recorded_weights_option = _weights("where the head found them")
batch_option = click.option("-b", "--batch-size", type=POSITIVE, help="Images at once. [default: by device]")
workers_option = shown(
    "-j", "--workers", type=POSITIVE, default=ExtractConfig.workers, help="Threads that decode image files."
)
image_size_option = click.option(
    "--image-size", type=click.IntRange(min=MIN_IMAGE_SIZE), help="Pixels, squared. [default: the weights' own, mostly 224]"
)
transform_option = shown(
    "--transform",
    type=click.Choice(TRANSFORMS),
    default=ExtractConfig.transform,
    help="preset: the weights' own resizing and centre crop. squash: the whole picture resized to a square. auto: preset "
    "for files, squash for cifar10, digits and other small arrays, and for study.",
)
on_error_option = shown(
    "--on-error", type=click.Choice(ON_ERROR), default=ExtractConfig.on_error, help="Unreadable images."
)
engine_option = shown(
    "--engine",
    type=click.Choice(ENGINES),
    default=ExtractConfig.engine,
    help="auto: compiled by torch.compile where a long run gains by it.",
)
precision_option = shown(
    "--precision", type=click.Choice(PRECISIONS), default=ExtractConfig.precision, help="auto: bf16 if fast here."
)
sample_option = shown(
    "--sample", type=POSITIVE, default=ChoosingRequest.sample, help="Training images that each backbone is given."
)
group_by_option = click.option(
    "--group-by",
    type=Pattern(),
    help="Images in whose ids (paths in the data set's folder) this finds the same text, its first group or all, are "
    "never on both sides of a division: photographs of one animal, say.",
)
head_option = click.option(
    "--head",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A run's folder or its head.safetensors; repeatable. [default: the newest run]",
)
coverage_option = click.option(
    "--coverage",
    type=Finite(0, 1, min_open=True, max_open=True),
    help="Also the classes that each picture may be of: 0.95 for sets that have the right one in 95 of 100 pictures.",
)
views_option = click.option(
    "--views", is_flag=True, help="Average over each picture and the views that the head was trained with."
)
photos_option = click.option(
    "--photos", type=click.Path(exists=True, path_type=Path), help="A folder of outside pictures to label with every head."
)


def network_options(function: Any) -> Any:
    """The options that say which network computes features, and how: `ExtractConfig` has a field for each."""
    options = (
        weights_option,
        image_size_option,
        transform_option,
        precision_option,
        engine_option,
        batch_option,
        workers_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


def pooling_options(function: Any) -> Any:
    """The options that say what of a network becomes features."""
    ways = "auto: what its authors classify on. avg and max: of all places of the picture. cls: the class token."
    pool = shown("--pool", type=click.Choice(POOLS), default=ExtractConfig.pool, help=ways)
    layer = click.option("--layer", metavar="NAME", help="Pool an inner layer instead of the last; `models show` has them.")
    return pool(layer(function))


def config_of(given: dict[str, Any]) -> ExtractConfig:
    """How features are computed, taken out of the options given; `weights` stay there, which may be of several models."""
    names = [field.name for field in dataclasses.fields(ExtractConfig) if field.name != "weights"]
    return ExtractConfig(**{name: given.pop(name) for name in names if name in given})


def inference_options(function: Any) -> Any:
    """The options that say how pictures go through the backbone of a trained head."""
    return recorded_weights_option(batch_option(workers_option(function)))


def names_of(given: Collection[str]) -> tuple[str, ...]:
    """The models named, one by one or with commas between them. Raises click.UsageError for a name of nothing."""
    found = tuple(name.strip() for names in given for name in names.split(","))
    if not all(found):
        raise click.UsageError(f"--models {','.join(given)}: a name is empty, expected MODEL[,MODEL...]")
    return found


def change_options(function: Any) -> Any:
    """The options that say what becomes of features that are there."""
    force = click.option("--force", is_flag=True, help="Compute anew what is there; what was there is kept beside it.")
    frozen = click.option("--frozen", is_flag=True, help="Pictures, labels or class names that changed are an error.")
    return force(frozen(function))


def feature_options(function: Any) -> Any:
    """The options that say which features are meant, where they were computed in several ways."""
    precision = click.option("--precision", type=click.Choice(PRECISIONS[1:]), help="Only features of this precision.")
    size = click.option("--image-size", type=POSITIVE, help="Only features of images of this size, in pixels.")
    transform = click.option("--transform", type=click.Choice(TRANSFORMS[1:]), help="Only features of this transform.")
    pool = click.option("--pool", type=click.Choice(POOLS), help="Only features pooled so; auto: by a head of their own.")
    layer = click.option("--layer", metavar="NAME", help="Only features of this layer; last: of the last feature map.")
    weights = click.option("--weights", help="Only features of these weights: as `extract` takes them.")
    key = click.option("--key", "digest", hidden=True, default="", help="Only features whose key begins with these digits.")
    return precision(size(transform(pool(layer(weights(key(function)))))))


def choice_of(given: dict[str, Any]) -> FeatureChoice:
    """What they say, taken out of the options given."""
    return FeatureChoice(*map(given.pop, ("precision", "image_size", "weights", "digest", "transform", "pool", "layer")))
