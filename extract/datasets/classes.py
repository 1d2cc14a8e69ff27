"""Your own pictures, each sub-folder a class whatever it is called: `classes:PATH`, which is `extract --no-splits`."""

from pathlib import Path

from headstart.core.extract.datasets import folder
from headstart.core.extract.images import Images
from headstart.core.extract.pictures.layout import undivided

ARGUMENT = "PATH"


def splits(argument: str, data_dir: Path) -> tuple[str, ...]:
    """One, `all`. Raises DataNotFound."""
    return tuple(undivided(folder.top_folder(argument)).splits)


def lacking(argument: str, data_dir: Path) -> None:
    """Nothing is downloaded."""


def open_split(argument: str, split: str, data_dir: Path) -> Images:
    """All pictures. Raises DataNotFound, DataInvalid."""
    return folder.images(undivided(folder.top_folder(argument)), split)
