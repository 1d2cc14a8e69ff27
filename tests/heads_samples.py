"""What the tests of `heads` share: blobs of features, small sets, heads and runs on disk; nothing here checks anything."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cache_samples
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.key import NamedKey
from headstart.core.cache.manifest import Order, Provenance
from headstart.core.cache.shard import Rows, Shard, Skipped
from headstart.core.cache.store import FeatureStore
from headstart.core.heads.checkpoint import Checkpoint
from headstart.core.heads.config import RECIPES, HeadName, TrainConfig
from headstart.core.heads.curve.record import Curve, CurvePoint, Gain
from headstart.core.heads.data import Labelled, Pair, choose, pairs
from headstart.core.heads.feature_choice import FeatureChoice
from headstart.core.heads.kinds import kind
from headstart.core.heads.kinds.base import Head
from headstart.core.heads.runs import Extraction, Run
from headstart.core.heads.statistics.accuracy import Evaluation, Score
from headstart.core.heads.timings import Timing, Way
from headstart.core.heads.training.epoch import Epoch
from headstart.core.heads.training.train import train

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ("cat", "dog", "frog")
DIM = 6
NAMES = ["cat", "deer", "dog", "frog", "ship", "truck"]
"""More of them, for classes or for heads."""
FAIR = np.full((2, 4), 0.25)
"""Probabilities of two rows that say nothing."""

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """For the modules that import it: two threads that share so little work wait for each other, 100 times as long
    on a busy machine (measured)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_key(**changes: Any) -> NamedKey:
    """The key of features of pretrained weights, less `changes`."""
    own = {"weights_sha256": "0a1b2c3d" * 8, "dataset": "pets", "classes": CLASSES}
    return cache_samples.make_key(**{**own, **changes})


def make_config(head: HeadName = "mlp", recipe: str = "standard", **changes: Any) -> TrainConfig:
    """A recipe for few rows, which choose its epoch, less `changes`."""
    small = {"epochs": 3, "lr": 1e-2, "batch_size": 16, "hidden": 8, "least_steps": 0, "epoch_by": "accuracy"}
    return dataclasses.replace(RECIPES[recipe], head=head, **{**small, **changes})


def blobs(rows: int, seed: int = 0, classes: int = len(CLASSES), dim: int = DIM) -> Labelled:
    """Gaussian clouds in the directions of the first `classes` axes, the labels in turn."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows, dtype=np.int64) % classes
    features = rng.standard_normal((rows, dim)) + 6 * np.eye(classes, dim)[labels]
    return Labelled(features.astype(np.float32), labels)


def overlapping(rows: int, classes: int, seed: int, dim: int = DIM) -> Labelled:
    """Clouds so close that neighbouring rows often differ in their labels."""
    data = blobs(rows, seed, classes, dim)
    centres = 6 * np.eye(classes, dim, dtype=np.float32)[data.labels]
    return dataclasses.replace(data, features=data.features - 0.75 * centres)


def numbered(rows: int, classes: int = len(CLASSES)) -> Labelled:
    """Features whose first number is that of the row, the labels in turn."""
    features = np.zeros((rows, DIM), dtype=np.float32)
    features[:, 0] = np.arange(rows)
    return Labelled(features, np.arange(rows, dtype=np.int64) % classes)


def silent(epoch: Epoch) -> None:
    """An `on_epoch` that does nothing."""


def trained_head(head: HeadName = "mlp", data: Labelled | None = None, **changes: Any) -> Head:
    """A head trained on blobs, or on `data`."""
    return train(data or blobs(48), len(CLASSES), make_config(head, **changes), "cpu", silent).head


def random_head(name: HeadName, classes: int, sigmoid: bool, scale: float, seed: int, dim: int = 4) -> Head:
    """An untrained head with parameters of the size `scale`."""
    generator = torch.Generator().manual_seed(seed)
    head = kind(name)(dim, classes, make_config(sigmoid=sigmoid), 1)
    state = {part: scale * torch.randn(value.shape, generator=generator) for part, value in head.named_parameters()}
    head.load_state_dict({**head.state_dict(), **state})
    return head.eval().requires_grad_(False)


def same_head(one: Head, other: Head) -> bool:
    """Equal to the bit."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


def axis_head(classes: int = len(CLASSES), dim: int = DIM) -> Head:
    """An untrained linear head whose scores are the first `classes` features themselves."""
    head = kind("linear")(dim, classes, make_config("linear"), 1)
    head.load_state_dict(
        {**head.state_dict(), "out.weight": torch.eye(classes, dim), "out.bias": torch.zeros(classes)},
    )
    return head.eval().requires_grad_(False)


def make_checkpoint(head: Head | None = None, **changes: Any) -> Checkpoint:
    """A small head with what it was trained on, less `changes`."""
    found = Checkpoint(head or axis_head(), CLASSES, make_key(), "https://example.org/weights.pth")
    return dataclasses.replace(found, **changes)


def write_set(
    store: FeatureStore,
    data: Labelled,
    split: str,
    key: NamedKey | None = None,
    *,
    split_rows: int | None = None,
    skipped: Sequence[int] = (),
    elapsed_s: float = 2.5,
    order: Order = "unknown",
    created: str = "2023-09-01T12:00:00+00:00",
    snapshot: bool = False,
) -> FeatureSet:
    """A complete set of one shard in `store`: the rows of `data` with its notes, those in `skipped` left out.

    Each id is `row-` and the row's number. `split_rows` is how many images the split has, all of them by default. A
    `snapshot` replaces the one before it; another set is written over it.
    """
    key, stop = key or make_key(), len(data.labels) + len(skipped)
    present = [row for row in range(stop) if row not in skipped]
    ids = np.array([f"row-{row}".encode() for row in present], dtype="S12")
    absent = tuple(Skipped(row, f"row-{row}", "cut off") for row in skipped)
    shard = Shard(key.feature_key.digest, "1f" * 32, 0, stop, Rows(data.features, data.labels, ids), absent)
    provenance = Provenance(
        split_rows=split_rows or stop,
        weights_from="https://example.org/weights.pth",
        data_from="/somewhere/else",
        parameters="d4" * 32,
        device="cpu",
        batch_size=32,
        created=created,
        versions={"headstart": "0.1.0"},
        notes=data.notes,
        order=order,
    )
    with store.writing(key, split, _never_wait) as last:
        writer = last.next() if snapshot else last
        record = writer.put(shard, 0, None, elapsed_s)
        return writer.commit([record], data.features.shape[1], str(data.features.dtype), provenance)


def _never_wait() -> None:
    raise AssertionError("the lock is held by another")


def write_pair(
    root: Path, train: Labelled | None = None, test: Labelled | None = None, key: NamedKey | None = None
) -> Pair:
    """A training and a test set of one key below `root`, blobs by default."""
    store, key = FeatureStore(root), key or make_key()
    write_set(store, train or blobs(60), "train", key)
    write_set(store, test or blobs(30, seed=1), "test", key)
    return only_pair(store, key)


def only_pair(store: FeatureStore, key: NamedKey | None = None) -> Pair:
    """The pair of `key` in the store."""
    key = key or make_key()
    (pair,) = choose(pairs(store, [key.dataset], FeatureChoice(digest=key.feature_key.digest)), [key.backbone], store.root)
    return pair


def make_evaluation(*correct: int, of: int = 100) -> Evaluation:
    """So many of `of` right, for each class in turn."""
    scores = {name: Score(count, of) for name, count in zip(CLASSES, correct, strict=True)}
    return Evaluation(Score(sum(correct), of * len(correct)), scores)


def make_curve(**changes: Any) -> Curve:
    """A few-shot curve of two points that still rises, less `changes`."""
    points = CurvePoint(50, (0.5, 0.625, 0.75), 0.03125), CurvePoint(100, (0.75,), 0.015625)
    return dataclasses.replace(Curve(points, 1_300, Gain(0.125, 0.0125, 0.025), 1.5), **changes)


def make_run(**changes: Any) -> Run:
    """The record of a head of the study recipe, less `changes`; `model` stands for the key's backbone."""
    if "model" in changes:
        changes["key"] = make_key(backbone=changes.pop("model"))
    run = Run(
        name="resnet50-study-mlp-20230901-120000",
        created="2023-09-01T12:00:00.000000+00:00",
        key=make_key(),
        config=RECIPES["study"],
        train=Extraction("pets-train-resnet50-0a1b2c3d", "aa" * 32, 200, 50.0, "train", "0a" * 32, "3c" * 32),
        test=Extraction("pets-test-resnet50-0a1b2c3d", "bb" * 32, 300, 75.0, "test", "1a" * 32, "2b" * 32),
        train_rows=90,
        val_rows=10,
        losses=(2.0, 1.75, 1.5),
        val_accuracies=(0.5, 0.75, 0.625),
        best_epoch=2,
        elapsed_s=0.42,
        evaluation=make_evaluation(90, 80, 70),
        head_sha256="cc" * 32,
        device="a computer",
        notes=(),
        versions={"headstart": "0.1.0"},
    )
    return dataclasses.replace(run, **changes)


def make_timing(**changes: Any) -> Timing:
    """Inference on all of 300 test images, less `changes`."""
    timing = Timing(
        head="resnet50-study-mlp-20230901-120000",
        dataset="pets",
        split="test",
        images_digest="1a" * 32,
        images=300,
        split_rows=300,
        way=Way("a computer", "fp32", "eager", 16),
        asked=("auto", None),
        repeats=1,
        elapsed_s=2.5,
        images_per_s=120.0,
        stages_s={"read": 0.001, "backbone": 0.007},
        latency_s={"p50": 0.01},
        latency_images=50,
        accuracy=None,
        peak_memory_bytes=1024,
        created="2023-09-02T12:00:00.000000+00:00",
    )
    return dataclasses.replace(timing, **changes)


def exact(b: int, c: int) -> Fraction:
    """Both tails of the binomial at a half, in whole numbers: each is the mirror of the other."""
    n = b + c
    tail = Fraction(sum(math.comb(n, k) for k in range(min(b, c) + 1)), 2**n)
    return min(2 * tail, Fraction(1))


@st.composite
def scored(draw: st.DrawFn, most: float = 8) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N, C) and labels (N,)."""
    rows, classes = draw(st.integers(1, 40)), draw(st.integers(2, 6))
    scores = draw(arrays(np.float64, (rows, classes), elements=st.floats(-most, most, width=32)))
    return scores, draw(arrays(np.int64, rows, elements=st.integers(0, classes - 1)))
