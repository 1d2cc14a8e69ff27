"""The data sets by name. Each is one module of this package with `splits` and `open_split`; adding one is adding a file."""

import importlib
import pkgutil
from pathlib import Path
from typing import Protocol, cast

from cache.errors import DataNotFound
from extract.images import Images


class DatasetModule(Protocol):
    """What a module of this package offers. `argument` is what follows the colon in `--dataset NAME:ARGUMENT`."""

    ARGUMENT: str | None
    """What the argument stands for in help texts, or None where the data set takes none."""

    def splits(self, argument: str, data_dir: Path) -> tuple[str, ...]:
        """The splits it has, in the order to extract them. Raises DataNotFound, DataInvalid."""
        ...

    def open_split(self, argument: str, split: str, data_dir: Path) -> Images:
        """One of those splits. Raises DataNotFound, DataInvalid."""
        ...


def names() -> list[str]:
    """What `--dataset` takes, as help texts show it."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return [f"{name}:{argument}" if (argument := _module(name).ARGUMENT) else name for name in modules]


def splits(dataset: str, split: str | None, data_dir: Path) -> tuple[str, ...]:
    """The splits that `--dataset` and `--split` ask for: all that there are by default. Raises DataNotFound."""
    name, argument = _parted(dataset)
    there = _module(name).splits(argument, data_dir)
    if split is None or (split == "all" and "all" not in there):
        return there
    if split not in there:
        raise DataNotFound(f"--split {split}: {dataset} has only {', '.join(there)}")
    return (split,)


def open_split(dataset: str, split: str, data_dir: Path) -> Images:
    """One split of the data set that `--dataset` names. Raises DataNotFound, DataInvalid."""
    name, argument = _parted(dataset)
    return _module(name).open_split(argument, split, data_dir)


def _parted(dataset: str) -> tuple[str, str]:
    """Module and argument. `torchvision-NAME` is understood too: a trained head knows its data set by that name only."""
    if dataset.startswith("torchvision-"):
        dataset = dataset.replace("-", ":", 1)
    name, _, argument = dataset.partition(":")
    return name, argument


def _module(name: str) -> DatasetModule:
    if name not in {module.name for module in pkgutil.iter_modules(__path__)}:
        raise DataNotFound(f"--dataset {name}: unknown, expected one of {', '.join(names())}")
    return cast(DatasetModule, importlib.import_module(f"{__name__}.{name}"))
