"""Pictures from outside any data set: paths, folders and patterns to files, and files to features."""

import dataclasses
import glob
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cache.errors import DataNotFound
from cache.shard import Skipped
from extract.images import FileImages
from extract.job import Extractor
from extract.pictures.walk import counted, walk
from extract.tune import Way


@dataclasses.dataclass(frozen=True)
class Outside:
    """Features (D,) of the readable pictures, their places in the list given, and the pictures left out."""

    features: list[npt.NDArray[np.float32]]
    rows: list[int]
    skipped: list[Skipped]


def expand(patterns: Sequence[str], say: Callable[[str], None] = lambda _: None) -> list[Path]:
    """The files that paths, folders (their pictures, sub-folders included) and glob patterns name, in the order given.

    Folders are walked as for data sets, and `say` is told what is left out of them. A file named by itself is taken
    whatever its suffix. Raises DataNotFound for what names nothing.
    """
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            inside = walk(path)
            matches = [path / name for name in inside.pictures]
            if inside.left_out:
                say(
                    f"{path}: {len(matches):,} {'picture' if len(matches) == 1 else 'pictures'}; {counted(inside.left_out)}"
                )
        elif path.exists():
            matches = [path]
        else:
            matches = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
            matches = [file for file in matches if file.is_file()]
        if not matches:
            raise DataNotFound(
                f"{pattern}: no picture there; expected a file, a folder of pictures, or a pattern such as 'a/*.jpg'"
            )
        found += matches
    return list(dict.fromkeys(found))


def featurise(paths: Sequence[Path], extractor: Extractor, image_size: int, workers: int) -> Outside:
    """Features of the pictures that can be read, in batches of the extractor's size; the others with the reason.

    A few pictures make smaller batches: one alone in a batch of 16 would pay for 16. On a CPU they gave the same bits in
    batches of 1, 2, 4, 8 and 16 (ResNet18, ResNet50 and VGG16, bf16 and fp32).
    """
    fitting = 1 << (max(1, len(paths)) - 1).bit_length()  # a power of two: few shapes, whatever their number
    extractor = extractor.running(Way(extractor.engine, min(fitting, extractor.batch_size)))
    files = FileImages("outside", "all", (), Path(), tuple(str(path) for path in paths), (-1,) * len(paths))
    size = extractor.batch_size
    found = Outside([], [], [])
    for start in range(0, len(paths), size):
        batch = files.read(start, min(start + size, len(paths)), image_size, workers)
        found.features.extend(extractor(batch.pixels) if len(batch.rows) else ())
        found.rows.extend(batch.rows.tolist())
        found.skipped.extend(batch.skipped)
    return found
