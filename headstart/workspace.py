"""Where a user's work lies."""

import dataclasses
import os
from pathlib import Path

from headstart.core.cache.arguments import text
from headstart.core.cache.places import on_this_machine, place


@dataclasses.dataclass(frozen=True)
class Workspace:
    """The folders of features, runs and data sets, and the device to compute on."""

    features_dir: Path
    runs_dir: Path
    data_dir: Path
    device: str


def options_of(workspace: Workspace) -> tuple[str, ...]:
    """What a command needs to work in the same folders and on the same device, where those are not its defaults."""
    given = {
        "--features-dir": (str(workspace.features_dir), "features"),
        "--runs-dir": (str(workspace.runs_dir), "runs"),
        "--data-dir": (str(workspace.data_dir), "data"),
        "--device": (workspace.device, "auto"),
    }
    return tuple(word for name, (value, usual) in given.items() if value != usual for word in (name, value))


def named(dataset: object) -> str:
    """The data set as a command takes it: a Path is a folder of pictures. Raises ArgumentInvalid."""
    return f"folder:{os.fspath(dataset)}" if isinstance(dataset, os.PathLike) else text("dataset", dataset)


def file(name: str, given: object) -> Path | None:
    """The file of this machine that an argument names, None for None. Raises ArgumentInvalid."""
    return None if given is None else on_this_machine(text(name, given), name).expanduser()


def folder(given: str | os.PathLike[str] | None, name: str) -> Path:
    """The folder given, else that of the environment variable, else `name` in the working directory. Raises
    ArgumentInvalid."""
    if given is not None:
        text(f"{name}_dir", given)
    found = str(given or os.environ.get(f"HEADSTART_{name.upper()}") or name)
    return place(found).expanduser() if name == "features" else on_this_machine(found, f"{name}_dir").expanduser()
