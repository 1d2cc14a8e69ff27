"""What the tests of exports share: heads on small untrained backbones, and names that try to break files and pages."""

import dataclasses
from typing import Any

import numpy as np
import torch
from cache_samples import make_key
from heads_samples import make_run, random_head

from headstart.core.cache.key import NamedKey
from headstart.core.extract import weights
from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.network.extractor import FeatureExtractor
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.restore import restore
from headstart.core.heads.checkpoint import Checkpoint
from headstart.core.heads.confidence import Confidence
from headstart.core.heads.kinds.base import Head
from headstart.core.heads.runs import Run
from headstart.core.heads.statistics.accuracy import evaluate
from headstart.export.files.facts import Facts, Picture
from headstart.inference.trained import TrainedHead

SIDE = 32
ODD_NAMES = (
    "---",
    'a "quoted" name',
    "it's: yes, no",
    "two\nlines\r\n---\nlicense: mit",
    "cat 🐈 and 👨\u200d👩",
    "<script>alert(1)</script>",
    "a|b\\|c",
    "`code` ``",
    "![x](https://example.org/x.png)",
    "no utf-8 \udcff\udc80",
    "\x1b[31mred\x07\u202e",
    "# *bold* _low_ ~gone~ [link]: www.example.org",
    "null",
    " ",
    "&lt;b&gt;",
    "\u2028\ufeff\x85",
)


def untrained_key(model: str = "resnet18", size: int = SIDE, **changes: Any) -> NamedKey:
    """The key of features by random weights, less `changes`."""
    backbone = get_backbone(model)
    found = weights.locate(backbone, "random:0")
    own = {"backbone": model, "pooling": backbone.pooling, "weights": found.label, "weights_sha256": found.sha256}
    return make_key(**{**own, "image_size": size, "dataset": "folder-pets", "classes": ("cat", "dog", "frog"), **changes})


def extractor_of(key: NamedKey, batch_size: int = 2) -> FeatureExtractor:
    """The backbone of a key in fp32 on the CPU."""
    exact = dataclasses.replace(key.feature_key, precision="fp32")
    return restore(exact, "random:0", None, "cpu", batch_size)


def untrained_head(key: NamedKey, kind: str = "logreg", **changes: Any) -> TrainedHead:
    """A head of random numbers on features of a key, with a calibration; `changes` are of its checkpoint."""
    head = random_head(kind, len(key.classes), False, 0.05, 1, get_backbone(key.backbone).feature_dim)
    sure = Confidence(1.75, np.linspace(0.1, 1, 40, dtype=np.float32), 40)
    licence = "none: the weights are random numbers"
    made = Checkpoint(head, key.classes, key, "random:0 drawn by torchvision", sure, licence)
    return TrainedHead(dataclasses.replace(made, **changes), None, "a head")


def recorded(head: TrainedHead, rows_of_class: int = 6, **changes: Any) -> TrainedHead:
    """The same with a run record: of each class so many rows, of the last one a single row, some labelled wrongly."""
    return dataclasses.replace(head, run=record(head.checkpoint.key, rows_of_class, **changes))


def record(key: NamedKey, rows_of_class: int = 6, **changes: Any) -> Run:
    """A run record on those rows."""
    count, rng = len(key.classes), np.random.default_rng(0)
    labels = np.repeat(np.arange(count), [*[rows_of_class] * (count - 1), 1])
    shares = rng.dirichlet(np.ones(count), len(labels)).astype(np.float32)
    shares[np.arange(len(labels)), labels] += np.where(rng.random(len(labels)) < 0.7, 1, 0)
    shares /= shares.sum(axis=1, keepdims=True)
    found = evaluate(shares.argmax(axis=1), labels, key.classes, shares)
    return make_run(
        **{"key": key, "evaluation": found, "notes": ("untrained backbone: its weights are random numbers",)} | changes
    )


def noise(count: int, side: int = SIDE) -> np.ndarray:
    """Pictures of noise, uint8 (count, side, side, 3)."""
    return np.random.default_rng(3).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def stored_rows(head: Head) -> Head:
    """A kNN or prototype head with rows that point in random directions."""
    generator = torch.Generator().manual_seed(2)
    for name, value in head.state_dict().items():
        if name in ("known", "means"):
            value.copy_(torch.nn.functional.normalize(torch.randn(value.shape, generator=generator)))
        if name == "labels":
            value.copy_(torch.arange(len(value)) % head.classes)
    return head


def make_facts(classes: tuple[str, ...] = ("cat", "dog", "frog"), **changes: object) -> Facts:
    """Those of a small file."""
    share = 1 / len(classes)
    transform = Preprocessing(32)
    own = {
        "classes": classes,
        "absent": (),
        "input": "pixels",
        "precision": "fp32",
        "transform": {**dataclasses.asdict(transform), "words": transform.words},
        "key": untrained_key(classes=classes).to_json(),
        "head_sha256": "ab" * 32,
        "temperature": 1.5,
        "licence": "mit",
        "made_by": "headstart 0.1.0",
        "made_from": "generated pictures",
        "tolerance": 1e-4,
        "pictures": (Picture("tall.png", b"\x89PNG", (share,) * len(classes), (share,) * len(classes)),),
        "measured": {},
    }
    return Facts(**{**own, **changes})  # type: ignore[arg-type]
