"""The data sets by name. Each is one module of this package with `splits` and `open_split`; adding one is adding a file."""

import importlib
import pkgutil
from pathlib import Path
from typing import Protocol, cast

from headstart.core.cache import places
from headstart.core.cache.errors import ArgumentInvalid, DataNotFound
from headstart.core.cache.manifest import Manifest
from headstart.core.cache.objects import STORES
from headstart.core.cache.text import did_you_mean, safe
from headstart.core.extract.config import Download
from headstart.core.extract.images import Images
from headstart.core.extract.images.patterns import Argument


class DatasetModule(Protocol):
    """What a module of this package offers. `argument` is what follows the colon in `--dataset NAME:ARGUMENT`.

    A user's own data set has two things more: `given(argument)`, whose `name` and `path` say what it is called and where it
    is, and `SUFFIXES`, the endings of the files that it is read from.
    """

    ARGUMENT: str | None
    """What the argument stands for in help texts, or None where the data set takes none."""

    def splits(self, argument: str, data_dir: Path) -> tuple[str, ...]:
        """The splits it has, in the order to extract them. Raises DataNotFound, DataInvalid."""
        ...

    def open_split(self, argument: str, split: str, data_dir: Path) -> Images:
        """One of those splits. Raises DataNotFound, DataInvalid."""
        ...

    def lacking(self, argument: str, data_dir: Path) -> Download | None:
        """What `open_split` would have to download; None where it is here, and where nothing is ever downloaded."""
        ...


def names() -> list[str]:
    """What `--dataset` takes, as help texts show it."""
    return [f"{name}:{argument}" if (argument := _module(name).ARGUMENT) else name for name in _modules()]


def splits(dataset: str, split: str | None, data_dir: Path) -> tuple[str, ...]:
    """The splits that `--dataset` and `--split` ask for: all that there are by default. Raises DataNotFound, and
    ArgumentInvalid for an unknown data set."""
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


def lacking(dataset: str, data_dir: Path) -> Download | None:
    """What opening the data set would download; None where nothing. Raises DataNotFound, ArgumentInvalid."""
    name, argument = _parted(dataset)
    return _module(name).lacking(argument, data_dir)


def given(dataset: str) -> Argument | None:
    """What a user's own data set is called, and where it is; None for those that have a name of their own, and for folders.
    Raises DataNotFound for one without a path."""
    name, argument = _parted(dataset)
    own = getattr(_module(name), "given", None) if name in _modules() else None
    return None if own is None else cast(Argument, own(argument))


def kind_hint(path: str) -> str:
    """(did you mean KIND:PATH?) by the ending of a file's name; nothing for other names."""
    owners = [(kind, getattr(_module(kind), "SUFFIXES", ())) for kind in _modules()]
    found = next((kind for kind, endings in owners if endings and path.lower().endswith(endings)), None)
    return f" (did you mean --dataset {found}:{safe(path)}?)" if found else ""


def kind_of(name: str) -> str | None:
    """Of the name that features know a user's own data set by, such as `folder-pets`, the word before the colon; None for
    the names of others."""
    word, dash, _ = name.partition("-")
    own = dash and word in _modules() and (word == "folder" or hasattr(_module(word), "given"))
    return word if own else None


def recorded_places(manifest: Manifest) -> list[str]:
    """Where the pictures of a feature set may be, as `--dataset` takes it: those of a folder where they were when they were
    read, which is mostly a sub-folder that is one split."""
    name, origin = manifest.dataset, manifest.provenance.data_from
    if (kind := kind_of(name)) != "folder":
        return [f"{kind}:{origin}" if kind else name]
    root = places.place(origin)
    folders = (root, root.parent) if manifest.split == "all" else (root.parent, root)
    whole = [f"classes:{root}"] if manifest.split == "all" else []
    return [*(f"folder:{folder}" for folder in folders), *whole]


def undivided(dataset: str) -> str:
    """The data set whose sub-folders are all classes, as `--no-splits` asks. Raises DataNotFound where there are none."""
    name, argument = _parted(dataset)
    if name not in ("folder", "classes"):
        raise DataNotFound(f"--no-splits: {dataset} has splits of its own; the option is for --dataset folder:PATH")
    return f"classes:{argument}"


def _parted(dataset: str) -> tuple[str, str]:
    """Module and argument. `torchvision-NAME` is understood too, and `hf-NAME`: a trained head knows its data set by that
    name only."""
    if dataset.startswith(("torchvision-", "hf-")):
        dataset = dataset.replace("-", ":", 1)
    name, _, argument = dataset.partition(":")
    return name.lower() if name.lower() in _modules() else name, argument


def _modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]


def _module(name: str) -> DatasetModule:
    if name not in _modules():
        raise ArgumentInvalid(f"--dataset {safe(name)}: unknown{_hint(name)}, expected one of {', '.join(names())}")
    return cast(DatasetModule, importlib.import_module(f"{__name__}.{name}"))


def _hint(name: str) -> str:
    if (kind := kind_of(name)) is not None:
        what = "a folder" if kind == "folder" else f"a {kind} data set"
        argument = _module(kind).ARGUMENT
        return f" ({name} is what features of {what} are called: say where it is with --dataset {kind}:{argument})"
    if hint := kind_hint(name):
        return hint
    if name in STORES:
        return f" (pictures in a store are --dataset folder:{name}://BUCKET/PREFIX)"
    if name and ("/" in name or Path(name).expanduser().is_dir()):
        return f" (did you mean --dataset folder:{safe(name)}?)"
    from headstart.core.extract.datasets.torchvision.sets import SETS  # which imports no torch

    theirs = {known.lower(): known for known in SETS}.get(name.lower())
    return f" (did you mean torchvision:{theirs}?)" if theirs else did_you_mean(name, _modules())
