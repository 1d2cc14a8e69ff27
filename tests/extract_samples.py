"""What the tests of `extract` share: small real files, odd pictures, and hand-written stand-ins. Knows no torch."""

import dataclasses
import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.core.cache.errors import FeaturesInvalid, OutOfMemory
from headstart.core.extract.config import ExtractConfig, ExtractionRequest
from headstart.core.extract.images.arrays import ArrayImages
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.job import Job, ShardsDone
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.interface import EngineConfig, Pending, TuningState
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.plan import plan

ROOT = Path(__file__).resolve().parents[1]
CIFAR_ROWS = 10_000
CIFAR_RECORD = 1 + 3 * 32 * 32

Pixels = npt.NDArray[np.uint8]


def printed_by_python(code: str) -> str:
    """What a fresh interpreter in the repository's root prints for `code`."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def noise(rows: int, size: int, seed: int = 0) -> Pixels:
    """Random pictures, uint8 (rows, size, size, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (rows, size, size, 3), dtype=np.uint8)


def cifar_records(seed: int) -> Pixels:
    """The records of one file of CIFAR-10's binary version, (10,000, 3,073): random pixels, the classes in turn."""
    records = np.random.default_rng(seed).integers(0, 256, (CIFAR_ROWS, CIFAR_RECORD), dtype=np.uint8)
    records[:, 0] = np.arange(CIFAR_ROWS) % 10
    return records


def cifar_images(records: Pixels) -> Pixels:
    """The pictures (n, 32, 32, 3) in some records, put together pixel by pixel as the format's page describes it."""
    images = np.empty((len(records), 32, 32, 3), dtype=np.uint8)
    for channel in range(3):
        for y in range(32):
            first = 1 + 1024 * channel + 32 * y
            images[:, y, :, channel] = records[:, first : first + 32]
    return images


def write_records(path: Path, records: Pixels) -> Path:
    """Records as a file, in folders made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    records.tofile(path)
    return path


def picture(width: int = 24, height: int = 16, seed: int = 0) -> Image.Image:
    """An RGB picture of smooth colours, different for each seed, without any symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * 7 + 13 * seed) % 256, (y * 11 + 29 * seed) % 256, (x * 3 + y * 5 + 53 * seed) % 256]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """A picture as the bytes of a file of Pillow's format `form`."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def write_picture(path: Path, seed: int = 0) -> Path:
    """A small PNG, in folders made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(picture(seed=seed), "PNG"))
    return path


def tree(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def array_images(pixels: Pixels, classes: tuple[str, ...] = ("a", "b", "c")) -> ArrayImages:
    """A data set `tiny` in memory, whose row i has the label i modulo the number of classes."""
    labels = np.arange(len(pixels), dtype=np.int64) % len(classes)
    return ArrayImages("tiny", "train", classes, len(pixels), "memory", lambda a, b: (pixels[a:b], labels[a:b]))


def file_images(root: Path, count: int) -> FileImages:
    """`count` different PNG files `00.png` … below `root`, whose row i has the label i modulo 3."""
    paths = tuple(f"{i:02d}.png" for i in range(count))
    for seed, path in enumerate(paths):
        write_picture(root / path, seed)
    return FileImages("files", "all", ("a", "b", "c"), root, paths, tuple(i % 3 for i in range(count)))


def offline(*_: object, **__: object) -> NoReturn:
    """Stands in for `torch.hub.download_url_to_file` where there is no network."""
    raise OSError("no network in this test")


def no_body() -> NoReturn:
    """The body of a stand-in's backbone, which nobody builds."""
    raise AssertionError("a stand-in has no network")


@dataclasses.dataclass
class There:
    """Features that need not be waited for."""

    features: npt.NDArray[np.float32]

    def result(self) -> npt.NDArray[np.float32]:
        return self.features

    def cancel(self) -> None:
        """Nothing to give up."""


CPU, AT_16 = Device("cpu", "bf16", "this CPU"), Preprocessing(16)


@dataclasses.dataclass
class QuarterMeans:
    """A stand-in for a backbone: features (n, 4), the mean of each quarter of a picture times `scale`.

    `seen` counts the pictures that were given to it. More than `room` at once are too many for its memory. `thawed` says
    that it changed while it ran.
    """

    batch_size: int = 3
    parameters: str = "parameters of the stand-in"
    scale: float = 1.0
    seen: int = 0
    room: int | None = None
    thawed: bool = False
    engine: str = "eager"
    concurrent_batches: int = 1
    tuning: TuningState = dataclasses.field(default_factory=TuningState, compare=False)
    device: Device = CPU
    preprocessing: Preprocessing = AT_16

    @property
    def host_variants(self) -> "Sequence[QuarterMeans]":
        return (self,)

    def running(self, config: EngineConfig) -> "QuarterMeans":
        same = config == EngineConfig(self.engine, self.batch_size)
        return self if same else dataclasses.replace(self, **dataclasses.asdict(config))

    def submit(self, images: Pixels) -> Pending:
        return There(self(images))

    def check_frozen(self) -> None:
        if self.thawed:
            raise FeaturesInvalid("the stand-in changed")

    def __call__(self, images: Pixels) -> npt.NDArray[np.float32]:
        if self.room is not None and self.batch_size > self.room:
            raise OutOfMemory(f"no room for {self.batch_size} images")
        self.seen += len(images)
        half = images.shape[1] // 2
        blocks = images.reshape(len(images), 2, half, 2, half, 3)
        means = blocks.mean(axis=(2, 4, 5), dtype=np.float64).reshape(len(images), 4)
        with np.errstate(over="ignore"):  # a large scale is how tests make features that are not finite
            return (means * self.scale).astype(np.float32)


def digits_jobs(
    *models: str, requests: tuple[str, ...] = ("random:0",), split: str | None = None, **config: object
) -> list[Job]:
    """Jobs over the digits at 32 px on the CPU."""
    settings = dataclasses.replace(ExtractConfig(image_size=32, device="cpu"), **config)  # type: ignore[arg-type]
    return plan(ExtractionRequest(models, "digits", split, requests, config=settings), Path("nowhere"))


class Interrupted(BaseException):
    """What a RecordingObserver raises; like KeyboardInterrupt no Exception, so that nobody swallows it."""


@dataclasses.dataclass
class RecordingObserver:
    """Keeps what it is told. Raises Interrupted as soon as more than `stop_after` rows are reported."""

    stop_after: int | None = None
    notes: list[str] = dataclasses.field(default_factory=list)
    begun: list[tuple[str, int, int]] = dataclasses.field(default_factory=list)
    advanced: list[int] = dataclasses.field(default_factory=list)
    ended: int = 0
    told: list[ShardsDone] = dataclasses.field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def begin(self, title: str, rows: int, done: int) -> None:
        self.begun.append((title, rows, done))

    def advance(self, rows: int) -> None:
        self.advanced.append(rows)
        if self.stop_after is not None and sum(self.advanced) > self.stop_after:
            raise Interrupted

    def end(self) -> None:
        self.ended += 1

    def shards(self, done: ShardsDone) -> None:
        self.told.append(done)
