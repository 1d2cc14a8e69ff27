"""torchvision's classification sets: `torchvision:NAME`, spelled as in torchvision.datasets (MNIST, CIFAR100, Food101, …).

torchvision downloads what is not there and checks it. A run that finds its features there still imports torch here:
torchvision reads the list of rows.
"""

from pathlib import Path

from headstart.core.cache.errors import DataInvalid, DataNotFound, HeadstartError, OutOfMemory
from headstart.core.extract.config import Download
from headstart.core.extract.datasets.torchvision.download import is_there, one_line, opened, torchvision_datasets
from headstart.core.extract.datasets.torchvision.rows import images
from headstart.core.extract.datasets.torchvision.sets import find
from headstart.core.extract.images import Images

ARGUMENT = "NAME"


def splits(argument: str, data_dir: Path) -> tuple[str, ...]:
    """Train and test, or `all` for a set that torchvision doesn't divide. Imports no torch. Raises DataNotFound."""
    return tuple(find(argument).splits)


def lacking(argument: str, data_dir: Path) -> Download | None:
    """The set, where torchvision finds no split of it."""
    line = find(argument)
    torchvision_datasets()
    if is_there(line, argument, data_dir):
        return None
    return Download(f"torchvision's {argument}", "where torchvision knows it", data_dir)


def open_split(argument: str, split: str, data_dir: Path) -> Images:
    """One split from below `data_dir`, downloaded into it if it is not there; files are listed, not read.

    Grey images get three equal channels. Raises DataNotFound, DataInvalid, OutOfMemory.
    """
    line = find(argument)
    torchvision_datasets()
    try:
        return images(opened(line, argument, split, data_dir), line, argument, split, data_dir)
    except HeadstartError:
        raise
    except MemoryError as error:
        raise OutOfMemory(f"{data_dir}: {argument} is read in one piece, and there is no memory for it") from error
    except PermissionError as error:
        raise DataNotFound(f"{error.filename or data_dir}: no access ({error.strerror}); give yourself access") from error
    except ImportError as error:  # of SciPy, which torchvision imports where it needs it
        raise DataNotFound(f"--dataset torchvision:{argument}: {one_line(error)}; install it beside headstart") from error
    except Exception as error:  # broken files raise ten classes and more, assertions and KeyErrors among them
        raise DataInvalid(
            f"{data_dir}: torchvision can't read its {argument} ({one_line(error)}); "
            f"remove that set's files to have them downloaded anew"
        ) from error
