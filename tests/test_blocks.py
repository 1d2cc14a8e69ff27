"""Training in blocks: the heads, the rows and the records of a training in memory, within the memory that is given."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cache_samples
import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner, Result
from heads_samples import ROOT, blobs, make_key, one_thread, only_pair, overlapping, silent

import headstart
from headstart.core import cli
from headstart.core.cache.errors import ArgumentInvalid, FeaturesDamaged, FeaturesInvalid, OutOfMemory
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.shard import Rows, Shard
from headstart.core.cache.store import FeatureStore
from headstart.core.heads.config import TrainConfig, changed
from headstart.core.heads.data import Labelled, Pair
from headstart.core.heads.runs import Run, RunStore, parse
from headstart.core.heads.sessions import blocks, room, session
from headstart.core.heads.streams import budget

__all__ = ["one_thread"]
DIM, MEMORY = 24, 8 * 10**6
KEY = make_key()


@pytest.fixture(autouse=True)
def libraries_that_take_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small sets do not fit either."""
    monkeypatch.setattr(budget, "LIBRARIES", 0)


def written(
    root: Path, data: Labelled, split: str, rows: int = 300, contents: npt.NDArray[np.int64] | None = None
) -> FeatureSet:
    """A set in float16 of several shards; pictures of one number in `contents` are the same."""
    shards, count = [], len(data.labels)
    numbers = np.arange(count) + 10**6 * len(split) if contents is None else contents
    for first in range(0, count, rows):
        own = slice(first, min(first + rows, count))
        ids = np.array([f"{split}-{row}".encode() for row in range(own.start, own.stop)], dtype="S16")
        digests = cache_samples.digests_of(numbers[own].tolist())
        content = Rows(data.features[own].astype(np.float16), data.labels[own], ids, digests)
        inputs = digests.tobytes().hex()[:64]
        shards.append(Shard(KEY.feature_key.digest, inputs, own.start, own.stop, content))
    with FeatureStore(root).writing(KEY, split, cache_samples.never_wait) as writer:
        records = [writer.put(shard, index, None, 0.5) for index, shard in enumerate(shards)]
        facts = cache_samples.make_provenance(split_rows=count, notes=())
        return writer.commit(records, data.features.shape[1], "float16", facts)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """6,000 rows to train and 1,500 to test on, of three classes that are hard to tell apart."""
    root = tmp_path_factory.mktemp("features")
    written(root, overlapping(6000, 3, 0, DIM), "train")
    written(root, overlapping(1500, 3, 1, DIM), "test", rows=1000)
    return only_pair(FeatureStore(root), KEY)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def standard(head: str, **changes: Any) -> TrainConfig:
    return changed("standard", {"head": head, **changes})


def in_blocks(pair: Pair, store: RunStore, *configs: TrainConfig, memory: int = MEMORY) -> list[Run]:
    return blocks.fit(pair, configs, "cpu", "a computer", store, silent, memory, curve=False)


def in_memory(pair: Pair, store: RunStore, *configs: TrainConfig) -> list[Run]:
    return session.fit(pair, configs, "cpu", "a computer", store, silent)


def parameters(run: Run, store: RunStore) -> dict[str, torch.Tensor]:
    return session.load_head(run, store).head.state_dict()


@pytest.mark.parametrize(
    ("config", "tolerance"),
    [
        (standard("ridge", penalty=10.0), 1e-6),
        (standard("ridge", penalty=10.0, class_weight="balanced"), 1e-6),
        (standard("logreg", penalty=1.0), 1e-3),
        (standard("logreg", penalty=1.0, class_weight="balanced"), 1e-3),
        (standard("logreg", penalty=1.0, label_smoothing=0.1), 1e-3),
        (standard("prototype"), 1e-5),
        (changed("study", {"head": "ridge", "penalty": 10.0}), 1e-6),
        (changed("study", {"head": "prototype"}), 1e-5),
    ],
    ids=lambda value: f"{value.recipe}-{value.head}-{value.class_weight}" if isinstance(value, TrainConfig) else "",
)
def test_heads_without_epochs_are_those_of_memory(
    pair: Pair, store: RunStore, config: TrainConfig, tolerance: float
) -> None:
    (one,), (other,) = in_memory(pair, store, config), in_blocks(pair, store, config)
    ours = parameters(other, store)
    for name, expected in parameters(one, store).items():
        assert (ours[name] - expected).norm() <= tolerance * expected.norm().clamp_min(1e-3), name
    assert abs(one.evaluation.overall.correct - other.evaluation.overall.correct) <= 2
    assert (one.train.used, one.test.used, one.train_rows) == (other.train.used, other.test.used, other.train_rows)
    assert other.evaluation.measures["log_loss"] == pytest.approx(one.evaluation.measures["log_loss"], abs=5e-3)


def test_two_classes_are_solved_as_in_memory(tmp_path: Path, store: RunStore) -> None:
    data = overlapping(900, 2, 0, 5)
    written(tmp_path, data, "train", rows=100)
    written(tmp_path, overlapping(300, 2, 1, 5), "test")
    pair = only_pair(FeatureStore(tmp_path), KEY)
    config = standard("logreg", penalty=0.1)
    (one,), (other,) = in_memory(pair, store, config), in_blocks(pair, store, config)
    expected, found = parameters(one, store)["out.weight"], parameters(other, store)["out.weight"]
    assert (expected - found).norm() <= 1e-3 * expected.norm()


def test_what_is_chosen_is_as_good_as_in_memory(pair: Pair, store: RunStore) -> None:
    (one,), (other,) = (
        in_memory(pair, store, standard("auto", epochs=4)),
        in_blocks(pair, store, standard("auto", epochs=4)),
    )
    assert one.selection is not None
    assert other.selection is not None
    assert {it.config.head for it in other.selection.tried} == {"logreg", "ridge", "mlp"}
    assert (other.selection.folds, other.selection.rows) == (1, 1200)
    assert other.evaluation.overall.accuracy == pytest.approx(one.evaluation.overall.accuracy, abs=0.01)
    assert other.evaluation.measures["log_loss"] == pytest.approx(one.evaluation.measures["log_loss"], abs=0.01)


@pytest.mark.parametrize("head", ["mlp", "linear"])
def test_gradient_descent_is_as_good_over_seeds(pair: Pair, store: RunStore, head: str) -> None:
    configs = [standard(head, epochs=6, lr=1e-2, seed=seed) for seed in range(3)]
    ours, theirs = in_blocks(pair, store, *configs, memory=4 * 10**6), in_memory(pair, store, *configs)
    shares = [[run.evaluation.overall.accuracy for run in runs] for runs in (ours, theirs)]
    assert np.mean(shares[0]) == pytest.approx(np.mean(shares[1]), abs=0.012)
    assert len({run.head_sha256 for run in ours}) == 3
    assert [(run.train_rows, run.val_rows, len(run.losses)) for run in ours] == [
        (run.train_rows, run.val_rows, len(run.losses)) for run in theirs
    ]
    (again,) = in_blocks(pair, store, configs[0], memory=4 * 10**6)
    assert again.head_sha256 == ours[0].head_sha256


def test_the_record_says_how_it_was_trained(pair: Pair, store: RunStore) -> None:
    config = standard("ridge", penalty=1.0)
    (run,) = in_blocks(pair, store, config)
    assert run.in_blocks is not None
    assert run.in_blocks.memory == MEMORY
    assert "trained in blocks read from the disk, in 8 MB of memory" in run.notes
    assert parse(json.loads(run.to_bytes())).in_blocks == run.in_blocks
    assert session.same(pair, config, store) is None
    (other,) = in_memory(pair, store, config)
    assert b"in_blocks" not in other.to_bytes()
    assert session.same(pair, config, store) == other


def test_what_fits_is_trained_in_memory(pair: Pair, store: RunStore) -> None:
    config = standard("ridge", penalty=1.0)
    needed = room.needed(pair, config)
    (run,) = session.fit(pair, [config], "cpu", "a computer", store, silent, memory=needed)
    assert run.in_blocks is None
    (run,) = session.fit(pair, [config], "cpu", "a computer", store, silent, memory=needed - 1)
    assert run.in_blocks is not None


def test_features_beyond_what_is_free_name_the_option(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "available", lambda: 5000)
    with pytest.raises(OutOfMemory, match=r"its features take 0\.0 GB or more in memory, 0\.0 GB are free; --memory 1GB"):
        room.fits(pair, standard("auto"), None)
    monkeypatch.setattr(room, "available", lambda: None)
    assert room.fits(pair, standard("auto"), None)


def test_a_sweep_in_blocks(pair: Pair, store: RunStore) -> None:
    config = standard("linear", epochs=1)
    run = blocks.sweep(pair, config, "cpu", "a computer", store, silent, MEMORY // 2)
    assert run.in_blocks is not None
    assert run.selection is not None
    assert len(run.selection.tried) == 12


def alone(root: Path, data: Labelled, contents: npt.NDArray[np.int64] | None = None) -> Pair:
    """A set without splits."""
    written(root, data, "all", rows=64, contents=contents)
    return only_pair(FeatureStore(root), KEY)


def test_a_part_that_is_held_out_is_that_of_memory(tmp_path: Path, store: RunStore) -> None:
    found = alone(tmp_path, overlapping(700, 3, 0, DIM))
    config = standard("ridge", penalty=1.0, test_fraction=0.2)
    (one,), (other,) = in_memory(found, store, config), in_blocks(found, store, config)
    assert (one.train.used, one.test.used) == (other.train.used, other.test.used)
    assert one.evaluation.overall == other.evaluation.overall
    assert one.evaluated_by == other.evaluated_by


def test_copies_are_told_by_content_and_stay_together(tmp_path: Path, store: RunStore) -> None:
    data = overlapping(700, 3, 0, DIM)
    contents = np.arange(700)
    contents[[10, 400]] = 3
    found = alone(tmp_path, data, contents)
    (run,) = in_blocks(found, store, standard("logreg", test_fraction=0.2))
    assert any("3 images are the same picture" in note for note in run.notes)


def test_a_validation_split_chooses(tmp_path: Path, store: RunStore) -> None:
    for split, rows in (("train", 800), ("val", 300), ("test", 300)):
        written(tmp_path, overlapping(rows, 3, rows, DIM), split, rows=128)
    found = only_pair(FeatureStore(tmp_path), KEY)
    for config in (standard("ridge"), standard("mlp", epochs=2)):
        (one,), (other,) = in_memory(found, store, config), in_blocks(found, store, config)
        assert (one.train.used, other.train_rows, other.val) == (other.train.used, 800, one.val)
        assert any("chosen on 300 validation images" in note for note in other.notes)
        assert other.evaluation.overall.accuracy == pytest.approx(one.evaluation.overall.accuracy, abs=0.05)


def test_validation_pictures_that_are_too_few_are_trained_on(tmp_path: Path, store: RunStore) -> None:
    for split, rows in (("train", 300), ("val", 40), ("test", 100)):
        written(tmp_path, overlapping(rows, 3, rows, DIM), split, rows=128)
    found, config = only_pair(FeatureStore(tmp_path), KEY), standard("ridge", penalty=1.0)
    (one,), (other,) = in_memory(found, store, config), in_blocks(found, store, config)
    assert other.train_rows == 340
    ours, theirs = parameters(other, store), parameters(one, store)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in theirs)


@pytest.mark.parametrize("head", ["auto", "logreg", "ridge", "mlp", "linear", "prototype"])
def test_twenty_pictures_of_two_classes_one_of_them_alone(tmp_path: Path, store: RunStore, head: str) -> None:
    data = blobs(20, classes=3)
    labels = np.zeros(20, dtype=np.int64)
    labels[7] = 2
    written(tmp_path, dataclasses.replace(data, labels=labels), "train", rows=9)
    written(tmp_path, data, "test", rows=20)
    (run,) = in_blocks(only_pair(FeatureStore(tmp_path), KEY), store, standard(head))
    assert run.train_rows == 20
    assert run.evaluation.predicted["dog"] == 0  # of which there is no row


def test_a_limit_draws_the_rows_of_memory(pair: Pair, store: RunStore) -> None:
    config = standard("ridge", penalty=1.0, train_limit=777)
    (one,), (other,) = in_memory(pair, store, config), in_blocks(pair, store, config)
    assert (one.train.used, one.train_rows) == (other.train.used, other.train_rows)
    ours, theirs = parameters(other, store), parameters(one, store)
    assert torch.allclose(ours["out.weight"], theirs["out.weight"], atol=1e-6)


REFUSED = [
    (
        {"head": "knn"},
        {},
        r"does not fit into --memory of 8\.0 MB as a whole: the head knn needs all rows in memory; use --head",
    ),
    ({"head": "svm"}, {}, "the head svm needs all rows in memory; use --head logreg, ridge, prototype, mlp or linear"),
    ({"group_by": "(a)"}, {}, "groups of ids are only told in memory; leave --group-by or --memory out"),
    ({"views": ("flip",)}, {}, "views are only trained on in memory; leave --views or --memory out"),
    ({}, {"curve": True}, "a few-shot curve is only measured in memory; leave --curve or --memory out"),
]


@pytest.mark.parametrize(("changes", "asked", "words"), REFUSED, ids=[words[:20] for _, _, words in REFUSED])
def test_what_needs_all_rows_is_refused(
    pair: Pair, store: RunStore, changes: dict[str, Any], asked: dict[str, bool], words: str
) -> None:
    config = dataclasses.replace(standard("auto"), **changes)
    with pytest.raises(FeaturesInvalid, match=words):
        blocks.fit(pair, [config], "cpu", "a computer", store, silent, MEMORY, **{"curve": False, **asked})
    assert not store.root.exists()


def test_a_set_without_a_test_split_says_the_way_out(tmp_path: Path, store: RunStore) -> None:
    found = alone(tmp_path, blobs(200))
    with pytest.raises(FeaturesInvalid, match=r"without a test split each fold .* use --test-fraction 0\.2"):
        in_blocks(found, store, standard("auto"))


@pytest.mark.parametrize("head", ["ridge", "logreg", "mlp"])
def test_too_little_memory_says_how_much_would_do(pair: Pair, store: RunStore, head: str) -> None:
    with pytest.raises(OutOfMemory, match=r"--memory of [0-9.]+ [kM]B is too little for .* use --memory \d+MB") as error:
        in_blocks(pair, store, standard(head), memory=400_000)
    least = int(str(error.value).rpartition("--memory ")[2].removesuffix("MB"))
    (run,) = in_blocks(pair, store, standard(head, **({"epochs": 1} if head == "mlp" else {})), memory=least * 10**6)
    assert run.in_blocks is not None


def test_a_damaged_shard_is_one_line(tmp_path: Path, store: RunStore) -> None:
    source = written(tmp_path, blobs(300), "train", rows=100)
    written(tmp_path, blobs(60, seed=1), "test")
    cache_samples.flip(source.folder / "shard-00001.h5")
    with pytest.raises(FeaturesDamaged, match=r"shard-00001\.h5: SHA-256 is"):
        in_blocks(only_pair(FeatureStore(tmp_path), KEY), store, standard("ridge"))
    assert not store.root.exists()


def test_a_feature_that_is_not_finite_is_named(tmp_path: Path, store: RunStore) -> None:
    data = blobs(300)
    data.features[123, 2] = np.nan
    written(tmp_path, data, "train", rows=100)
    written(tmp_path, blobs(60, seed=1), "test")
    with pytest.raises(FeaturesInvalid, match=r"the features of image number 123 of the split are not finite"):
        in_blocks(only_pair(FeatureStore(tmp_path), KEY), store, standard("ridge"))


def command(pair: Pair, tmp_path: Path, *words: str) -> Result:
    """`train-head` on the pair."""
    folders = ("--features-dir", str(pair.train.folder.parent), "--runs-dir", str(tmp_path / "runs"))
    return CliRunner().invoke(cli.cli, ["train-head", *folders, "--device", "cpu", *words])


def test_the_command_says_how_it_trained(pair: Pair, tmp_path: Path) -> None:
    done = command(pair, tmp_path, "--memory", "2.5MB", "--head", "ridge", "--penalty", "1", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])[0]["in_blocks"]["memory"] == 2_500_000
    assert "note: trained in blocks read from the disk, in 2 MB of memory" in done.output


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ("--memory", "much"),
            2,
            "'much' is no size, expected bytes, such as 200MB.",
        ),
        (("--memory", "2.5MB", "--head", "knn"), 1, "the head knn needs all rows in memory"),
        (("--memory", "2.5MB", "--curve"), 1, "a few-shot curve is only measured in memory"),
        (("--memory", "2.5MB", "--predictions", "x.csv"), 1, "--predictions reads all test rows at once"),
        (("--memory", "1KB", "--head", "ridge"), 1, "is too little for"),
    ],
)
def test_the_command_refuses_in_one_line(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command(pair, tmp_path, *words)
    assert (done.exit_code, said in done.output) == (code, True), done.output
    assert "Traceback" not in done.output


def test_python_takes_a_size(pair: Pair) -> None:
    features = headstart.open(pair.train.folder)
    head = headstart.train(features, head="ridge", penalty=1.0, memory="2.5MB")
    assert head.run.in_blocks is not None
    with pytest.raises(ArgumentInvalid, match="memory is 'lots', expected a whole number of bytes"):
        headstart.train(features, memory="lots")


CHILD = """
import sys
from pathlib import Path
import scipy.optimize, sklearn.metrics  # the program itself: how much of a library is resident differs from run to run
from headstart.core.cache.store import FeatureStore
from headstart.core.heads.config import changed
from headstart.core.heads.runs import RunStore
from headstart.core.heads.sessions import session
from heads_samples import make_key, only_pair, silent

def resident(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))

root, head, memory = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
pair = only_pair(FeatureStore(root), make_key())
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
config = changed("standard", {"head": head, "epochs": 1})
(run,) = session.fit(pair, [config], "cpu", "", RunStore(root / "runs"), silent, memory=memory)
assert run.in_blocks is not None
print(resident("VmHWM") - before)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """51 MB of shards, which take 500 MB while heads are chosen on them."""
    root = tmp_path_factory.mktemp("large")
    written(root, overlapping(50_000, 3, 0, 512), "train", rows=10_000)
    written(root, overlapping(1_000, 3, 1, 512), "test")
    return root


# the peak of a process can only be set back through this file, and without that it would be the imports' own
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone says what was resident at most")
@pytest.mark.parametrize("head", ["auto"])
def test_the_memory_that_is_given_is_not_exceeded(large: Path, head: str) -> None:
    most = 90 * 10**6
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    call = [sys.executable, "-c", CHILD, str(large), head, str(most)]
    done = subprocess.run(call, capture_output=True, text=True, check=False, env=path)
    assert done.returncode == 0, done.stderr
    assert 10**6 < int(done.stdout) <= most
