"""torchvision's object for one split of a set: what is there is opened, what is not is downloaded first.

torchvision compares the MD5 of each archive with its own and unpacks it; that is relied on. What it unpacked it mostly
trusts by the folder's name alone, so a mark lies beside a download until it is whole.
"""

import contextlib
import http.client
import zipfile
from pathlib import Path
from tarfile import TarError
from types import ModuleType
from typing import Any, cast

from headstart.core.cache.errors import DataInvalid, DataNotFound
from headstart.core.extract.datasets.torchvision.sets import TorchvisionSet, read_files


def opened(line: TorchvisionSet, name: str, split: str, data_dir: Path) -> Any:
    """torchvision's object, after a download where it says that there is none."""
    root = data_dir.absolute()  # torchvision would expand a tilde
    for copy in (root / name / "processed").glob("*.pt"):  # of old versions; a new one still prefers them
        raise DataInvalid(f"{copy}: pickled and without a hash; remove {copy.parent}, so that the originals are read")
    mark = root / f".{name}.download"
    try:
        found = _ask(line, name, split, root, download=False)
    except (RuntimeError, FileNotFoundError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith("Dataset not found"):
            raise
        return _downloaded(line, name, split, root, mark)
    if mark.exists():
        raise DataInvalid(
            f"{mark}: a download of {name} broke off here, and what it left may be a part only; "
            f"remove what is there of {name}, and this mark"
        )
    return found


def is_there(line: TorchvisionSet, name: str, data_dir: Path) -> bool:
    """Whether nothing would be downloaded for any split, as far as torchvision says; what is broken is there."""
    try:
        for split in line.splits:
            _ask(line, name, split, data_dir.absolute(), download=False)
    except FileNotFoundError:
        return False
    except RuntimeError as error:
        return not str(error).startswith("Dataset not found")
    except Exception:  # see `extract.datasets.torchvision.open_split`, which names it
        return True
    return True


def _downloaded(line: TorchvisionSet, name: str, split: str, root: Path, mark: Path) -> Any:
    try:
        root.mkdir(parents=True, exist_ok=True)
        mark.touch()
        found = _ask(line, name, split, root, download=True)
        mark.unlink()
    except Exception as error:
        if not _passes_for_whole(line, name, split, root):
            with contextlib.suppress(OSError):
                mark.unlink()
        if isinstance(error, FileNotFoundError) or not isinstance(error, _DOWNLOAD_FAILED):
            raise  # what torchvision took for whole can't be read
        raise DataNotFound(
            f"{root}: torchvision finds no whole {name} there, and downloading it failed ({one_line(error)}); put it "
            f"there, point --data-dir at it, or try --dataset digits, which needs no download"
        ) from error
    return found


_DOWNLOAD_FAILED = (RuntimeError, OSError, EOFError, http.client.HTTPException, TarError, zipfile.BadZipFile)


def _passes_for_whole(line: TorchvisionSet, name: str, split: str, root: Path) -> bool:
    """Whether torchvision would open what a failed download left."""
    try:
        _ask(line, name, split, root, download=False)
    except Exception:  # see `extract.datasets.torchvision.open_split`
        return False
    return True


def _ask(line: TorchvisionSet, name: str, split: str, root: Path, download: bool) -> Any:
    """Raises whatever torchvision does."""
    loader = {"loader": str} if line.read is read_files else {}
    return getattr(torchvision_datasets(), name)(str(root), download=download, **line.splits[split], **loader)


def torchvision_datasets() -> ModuleType:
    """The module. Raises DataNotFound where it can't be imported."""
    try:
        import torchvision.datasets
    except (ImportError, RuntimeError, OSError) as error:  # a build for another torch raises each of these
        raise DataNotFound(f"torchvision can't be imported ({one_line(error)}); install the one that fits torch") from error
    return cast(ModuleType, torchvision.datasets)


def one_line(error: Exception) -> str:
    """An error's text on one line; its class where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
