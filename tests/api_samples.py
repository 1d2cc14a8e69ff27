"""What the tests of the Python API share: a folder of pictures, small settings, and a count of forward passes."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from extract_samples import encoded
from PIL import Image

from headstart.api import rows
from headstart.core.extract.network.extractor import FeatureExtractor

SMALL: dict[str, Any] = {"weights": "random:0", "image_size": 32, "device": "cpu"}
"""A backbone that needs no download and little time; its precision is fp32 or bf16, as the machine has it."""
COLOURS = {"blue": (30, 60, 200), "green": (40, 180, 60), "red": (200, 40, 30)}


def coloured(name: str, seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A picture of one colour with noise, which even a random network tells from others."""
    noise = np.random.default_rng([seed, len(name)]).integers(-25, 25, (size[1], size[0], 3))
    return Image.fromarray((np.array(COLOURS[name]) + noise).astype(np.uint8))


def pets(root: Path, each: int = 8) -> Path:
    """A folder of PNG files: three classes, `each` pictures of each, without splits."""
    for name in COLOURS:
        (root / name).mkdir(parents=True)
        for seed in range(each):
            (root / name / f"{seed}.png").write_bytes(encoded(coloured(name, seed), "PNG"))
    return root


def arrays(each: int = 6) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """A batch uint8 (N, H, W, 3), and the labels of its pictures."""
    labels = [name for _ in range(each) for name in COLOURS]
    return np.stack([np.asarray(coloured(name, seed)) for seed, name in enumerate(labels)]), labels


@dataclasses.dataclass
class Passes:
    """How many batches went through any network."""

    count: int = 0


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    """Counts forward passes, each of which prepares a batch first; no row is cached before."""
    monkeypatch.setattr(rows, "ROWS", rows.RowCache(rows.LIMIT))
    counted, prepare = Passes(), FeatureExtractor.preprocess

    def counting(self: FeatureExtractor, images: Any) -> Any:
        counted.count += 1
        return prepare(self, images)

    monkeypatch.setattr(FeatureExtractor, "preprocess", counting)
    return counted


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no variable that says where work lies."""
    for name in ("HEADSTART_FEATURES", "HEADSTART_RUNS", "HEADSTART_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path
