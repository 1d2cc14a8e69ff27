"""Made `tests/golden/v1/` to `v5/`, each once: files as headstart writes them, read or refused by name ever after.

    python tests/golden/make.py

`v1` is layout version 1 of the manifest, of the head, of the run record and of the bench record, and `v2` what changed:
version 2 of the manifest, which names the engine, and version 1 of the execution record of a run under way. `v3` has
version 3 of the manifest, which names the order of the rows, and version 2 of the run and bench records, which name the
images they are of. `v4` has version 3 of the run record, with measures, what was tried and on which rows it was tested, and
version 1 of the predictions that are kept beside it. `v5` has version 4 of the manifest, in which the names of data set and
classes are no part of the key, and shards with the digest of each picture's content. All was
written with h5py 3.16 (HDF5 2.0), safetensors 0.8 and torch 2.15 by the same functions that `headstart` calls. The numbers
are plain on purpose, so that `tests/test_golden.py` can spell them out. A version that is there is never made again: should
a layout change, its version goes up, `VERSION` and `CHANGED` below with it, and the old folders stay as they are.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from headstart.core.cache.change import Change
from headstart.core.cache.execution import NAME as EXECUTION
from headstart.core.cache.execution import Execution
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.files import write_durably
from headstart.core.cache.key import NamedKey
from headstart.core.cache.manifest import Provenance
from headstart.core.cache.shard import Rows, Shard, Skipped
from headstart.core.cache.store import FeatureStore
from headstart.core.heads import predictions_file, timings
from headstart.core.heads.checkpoint import Checkpoint, save
from headstart.core.heads.confidence import Confidence
from headstart.core.heads.config import TrainConfig
from headstart.core.heads.kinds import kind
from headstart.core.heads.predictions_file import Kept
from headstart.core.heads.protocol import Protocol
from headstart.core.heads.runs import Extraction, Run, RunStore
from headstart.core.heads.selection.record import Selection, Tried
from headstart.core.heads.statistics.accuracy import evaluate
from headstart.core.heads.statistics.outcomes import Outcomes
from headstart.core.heads.timings import Timing, Way

VERSION = 5
CHANGED = ("features",)
"""What this version lays out otherwise than the one before it, of features, runs and timings."""
HERE = Path(__file__).resolve().parent
CLASSES = ("ape", "bee", "cow")
RUN = "resnet18-standard-mlp-20261122-120000"
KEY = NamedKey(
    backbone="resnet18",
    pooling="average",
    weights="IMAGENET1K_V1",
    weights_sha256="5c106cde386e87d4033832f2996f5493238eda96ccf559d1d62760c4de0613f8",
    image_size=224,
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    precision="bf16",
    dataset="folder-golden",
    classes=CLASSES,
    feature_version=1,
)
PROVENANCE = Provenance(
    split_rows=6,
    weights_from="https://download.pytorch.org/models/resnet18-f37072fd.pth",
    data_from="/data/golden",
    parameters="d4" * 32,
    device="a computer",
    batch_size=32,
    created="2026-11-22T12:00:00+00:00",
    versions={"headstart": "0.1.0", "torch": "2.15.0"},
    notes=("made by hand",),
    engine="compiled",
    order="stratified",
)
OUTCOMES = Outcomes(
    labels=np.array([0, 0, 1, 2]),
    predicted=np.array([0, 1, 1, 1]),
    probabilities=np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.125, 0.75, 0.125], [0, 1, 0]], dtype=np.float32),
)
"""What the head is said to have said of the labelled rows."""


def shards() -> list[Shard]:
    """Six images, the fourth of which was skipped: row i has the features i, i + 0.25, -i and 1 / (i + 1)."""
    numbers = np.arange(6, dtype=np.float32)
    features = np.stack([numbers, numbers + 0.25, -numbers, 1 / (numbers + 1)], axis=1).astype(np.float16)
    labels = np.array([0, 0, 1, 1, 2, -1], dtype=np.int64)
    paths = ["ape/0.png", "ape/1.png", "bee/2.png", "bee/3.png", "cow/4.png", "kühe/5.png"]
    ids = np.array([path.encode() for path in paths], dtype="S")
    found = []
    for start, stop, skipped in ((0, 3, ()), (3, 6, (Skipped(3, "bee/3.png", "can't be decoded (truncated)"),))):
        kept = [row for row in range(start, stop) if row not in [image.row for image in skipped]]
        contents = np.stack([np.full(32, row, dtype=np.uint8) for row in kept])
        rows = Rows(features[kept], labels[kept], ids[kept], contents)
        found.append(Shard(KEY.feature_key.digest, f"{start:064d}", start, stop, rows, skipped))
    return found


def write_features(root: Path) -> FeatureSet:
    """The set as one folder below `root`."""
    store = FeatureStore(root)
    with store.writing(KEY, "train", lambda: None) as writer:
        records = [writer.put(shard, index, None, 0.5) for index, shard in enumerate(shards())]
        features = writer.commit(records, 4, "float16", PROVENANCE, Change("3c" * 32, 6, 4, 1, 2, 1))
    for lock in root.glob(".*.lock"):
        lock.unlink()
    return features


def write_run(root: Path, features: FeatureSet) -> None:
    """An MLP of three hidden units with round weights, its record, and what was measured of it."""
    config = TrainConfig(recipe="standard", epochs=2, hidden=3, val_fraction=0.1, cosine=True, standardise=True)
    head = kind("mlp")(4, len(CLASSES), config, 5)
    head.load_state_dict(
        {
            "mean": torch.tensor([2.5, 2.75, -2.5, 0.5]),
            "std": torch.tensor([2.0, 2.0, 2.0, 0.25]),
            "hidden.weight": torch.tensor([[0.5, 0.25, -0.5, 0.0], [-0.5, 0.0, 0.5, 1.0], [0.0, 0.5, 0.25, -0.25]]),
            "hidden.bias": torch.tensor([0.125, 0.25, -0.5]),
            "out.weight": torch.tensor([[1.0, -0.5, 0.25], [-1.0, 2.0, 0.5], [0.5, 0.5, -1.0]]),
            "out.bias": torch.tensor([0.0, 0.125, -0.125]),
        }
    )
    path = root / RUN / "head.safetensors"
    sure = Confidence(1.5, np.array([0.125, 0.25, 0.5, 0.75], dtype=np.float32), 4)
    digest = save(Checkpoint(head, CLASSES, KEY, PROVENANCE.weights_from, sure), path)
    manifest = features.manifest
    extraction = Extraction(features.folder.name, manifest.digest, 5, 1.0, manifest.split, "1a" * 32, "2b" * 32)
    logreg = TrainConfig(recipe="standard", head="logreg", penalty=0.5)
    tried = ((logreg, 0.5, 0.0, 0.75, 1.25), (config, 0.625, 0.25, 0.5, 1.0))
    run = Run(
        name=RUN,
        created="2026-11-22T12:00:00.000000+00:00",
        key=KEY,
        config=config,
        train=extraction,
        test=extraction,
        train_rows=4,
        val_rows=1,
        losses=(1.25, 1.0),
        val_accuracies=(0.0, 1.0),
        best_epoch=2,
        elapsed_s=0.125,
        evaluation=evaluate(OUTCOMES.predicted, OUTCOMES.labels, CLASSES, OUTCOMES.probabilities),
        head_sha256=digest,
        device="a computer",
        notes=PROVENANCE.notes,
        versions={"headstart": "0.1.0", "torch": "2.15.0"},
        selection=Selection(5, 4, tuple(Tried(*one) for one in tried), 1, 0.25),
        evaluated_by=Protocol("cross-validation", 4, 2, (0.5, 0.75)),
    )
    RunStore(root).write(run)
    predictions_file.save(Kept(np.array([0, 1, 2, 4]), OUTCOMES, CLASSES), digest, path.parent)
    if "timings" in CHANGED:
        timings.add(root, run, timing())


def timing() -> Timing:
    """What was measured of the head, in round numbers."""
    return Timing(
        head=RUN,
        dataset="folder-golden",
        split="train",
        images_digest="1a" * 32,
        images=4,
        split_rows=6,
        way=Way("a computer", "bf16", "compiled", 16),
        asked=("auto", None),
        repeats=1,
        elapsed_s=0.5,
        images_per_s=8.0,
        stages_s={"read": 0.0625, "backbone": 0.0625},
        latency_s={"p50": 0.125},
        latency_images=1,
        accuracy=None,
        peak_memory_bytes=1024,
        created="2026-11-26T12:00:00.000000+00:00",
    )


def main() -> None:
    """Write the version's folder, or exit with an error where it is there."""
    target = HERE / f"v{VERSION}"
    if target.exists():
        sys.exit(f"{target}: is there already and must stay as it is; a new layout gets a new version")
    with tempfile.TemporaryDirectory() as elsewhere:
        features = write_features(target / "features" if "features" in CHANGED else Path(elsewhere))
    if "execution" in CHANGED:
        execution = Execution(PROVENANCE.engine, PROVENANCE.batch_size, 6, PROVENANCE.device)
        write_durably(target / EXECUTION, execution.to_bytes())
    if "runs" in CHANGED:
        write_run(target / "runs", features)


if __name__ == "__main__":
    main()
