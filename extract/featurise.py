"""Pictures from outside any data set: paths, folders and patterns to files, and files to features."""

import contextlib
import dataclasses
import glob
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headstart.core.cache.errors import DataNotFound
from headstart.core.cache.places import is_url
from headstart.core.cache.shard import Skipped
from headstart.core.extract.images import Batch, Readable
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.network.interface import EngineConfig, Extractor
from headstart.core.extract.pictures.walk import counted, walk
from headstart.core.extract.reading import Reader
from headstart.core.extract.shards import computed
from headstart.core.extract.tuning.trials import EngineRequest, tune


@dataclasses.dataclass(frozen=True)
class Outside:
    """Features (D,) of some readable pictures, their places in the list given, and the pictures left out among them."""

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
        if is_url(pattern):
            raise DataNotFound(f"{pattern}: expected a file, folder or pattern of this machine, or mounted; download them")
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


BLOCK = 256
"""Pictures whose features are handed on together."""


def outside(paths: Sequence[Path]) -> FileImages:
    """Files from outside any data set as images, to be featurised."""
    return FileImages("outside", "all", (), Path(), tuple(str(path) for path in paths), (-1,) * len(paths))


def featurise(
    pictures: Readable, extractor: Extractor, workers: int, batch_size: int | None, note: Callable[[str], None]
) -> Generator[Outside, None, None]:
    """Features of the pictures that can be read, the others with the reason, some at a time and in order: the features of
    a million pictures need not fit into memory. It is the extraction's own way of computing, chosen as there; `workers`
    threads read files, and `batch_size` None leaves it to us.

    A few pictures are shared out in small batches: one alone in a batch of 16 would pay for 16. On a CPU they gave the same
    bits in batches of 1, 2, 4, 8 and 16 (ResNet18, ResNet50 and VGG16, bf16 and fp32). Raises OutOfMemory.
    """
    rows, transform = pictures.rows, extractor.preprocessing
    if not rows:
        return
    if rows <= extractor.concurrent_batches * extractor.batch_size:
        each = -(-rows // extractor.concurrent_batches)
        fitting = 1 << (each - 1).bit_length()  # a power of two: few shapes, whatever their number
        extractor = extractor.running(EngineConfig(extractor.engine, min(fitting, extractor.batch_size)))
    else:
        extractor = tune(extractor, EngineRequest(rows, batch_size=batch_size), note)
    if rows == 1:  # alone it has all threads, not one worker's
        batch = pictures.read(0, 1, transform, workers)
        yield _gathered([(batch, extractor(batch.pixels) if len(batch.rows) else None)])
        _say(pictures.noticed(), note)
        return
    reader = Reader(pictures, transform, workers)
    with contextlib.closing(computed(reader, extractor, (0, rows), lambda _: None)) as found:  # any batch will do
        for block in _blocks(found):
            yield _gathered(block)
    _say([*pictures.noticed(), *([remark] if (remark := reader.pace.remark(workers)) is not None else [])], note)


def _say(remarks: Sequence[str], note: Callable[[str], None]) -> None:
    for remark in remarks:
        note(remark)


Answered = tuple[Batch, npt.NDArray[np.float32] | None]


def _blocks(found: Iterator[Answered]) -> Iterator[list[Answered]]:
    """The batches, as many together as make a block."""
    block: list[Answered] = []
    for batch, features in found:
        block.append((batch, features))
        if sum(len(batch.fingerprints) for batch, _ in block) >= BLOCK:
            yield block
            block = []
    if block:
        yield block


def _gathered(block: Sequence[Answered]) -> Outside:
    return Outside(
        features=[row for _, features in block if features is not None for row in features],
        rows=[row for batch, _ in block for row in batch.rows.tolist()],
        skipped=[image for batch, _ in block for image in batch.skipped],
    )
