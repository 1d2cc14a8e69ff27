"""Files of released layouts: today's code reads them to the last number, and refuses another version by its number.

`tests/golden/make.py` made them, once. Whoever breaks one of these tests is about to lose somebody's features or heads.
"""

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cache_samples
import h5py
import numpy as np
import pytest
import torch
from heads_samples import ROOT
from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors

from headstart.core.cache.change import Change
from headstart.core.cache.errors import FeaturesDamaged, FeaturesOfAnotherVersion, HeadstartError, RunDamaged
from headstart.core.cache.execution import Execution, read_execution
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.files import canonical_json, parse_json, sha256, sha256_file
from headstart.core.cache.key import FeatureKey
from headstart.core.cache.manifest import read_manifest
from headstart.core.cache.shard import Skipped, decode_shard, encode_shard
from headstart.core.cache.store import FeatureStore, newest
from headstart.core.heads import checkpoint, data, predictions_file, runs, timings
from headstart.core.heads.protocol import HELD_OUT, Protocol
from headstart.core.heads.runs import RunStore

GOLDEN = ROOT / "tests/golden"
V1, V2, V3, V4, V5 = (GOLDEN / name for name in ("v1", "v2", "v3", "v4", "v5"))
SET, SECOND, NEW = (folder / "features/folder-golden-train-resnet18-752b51d7" for folder in (V1, V2, V3))
FOURTH = V5 / "features/folder-golden-train-resnet18-e969be45"
RUN = V1 / "runs/resnet18-standard-mlp-20261122-120000"
SECOND_RUN, THIRD_RUN = V3 / "runs" / RUN.name, V4 / "runs" / RUN.name
KEY_DIGEST = "752b51d70fdbd2e4b3dd3e60cabd03f785f240ffad74baa60a92239f58f71380"
FEATURE_KEY_DIGEST = "e969be45b93d95a675373187dda66b497d05b0dd35f07ade4d696ec35b0aa0fd"
SECOND_SET_DIGEST = "e06832db5e0a17648dda1010c68dc91747db0d424a4057a2c14fbd9858418053"
SET_DIGEST = "afbc84fcf79573af2e878a495991a227952f10b5ba543e33ef362b9fcd38d261"
FILES = {
    SET / "manifest.json": "da24799fc9a40b8df0debe2e8363ba70c3e55ba5ab70c12dcbf76648ddc255a9",
    SET / "shard-00000.h5": "0480c29b202df9a4cb360f102532b04f1791b2a5cab66a7f17643beb2df25f74",
    SET / "shard-00001.h5": "24809ff182d142d41b5cf07079e6577cc3342ec38f5e4a6a045ab04e07580e4a",
    RUN / "bench.json": "b2c5d30b9b497c6f360c1e9a047bbdb78f071703a93bfcb2ecfdc928a495cb80",
    RUN / "head.safetensors": "b32cab2b9dfa8477a4acb971ea907430d23221901ecdce4e1d8adc7a4dc9358d",
    RUN / "run.json": "9bb69092a83efd0c369e9b578824178ef5a2ed2c58bdccb48128db5b18fb088f",
    SECOND / "manifest.json": "b0ac6e7044b00d6a406aaa5ba1bf9d41acde49bbeaeb176a0eac9d73b2b6b0ec",
    SECOND / "shard-00000.h5": "0480c29b202df9a4cb360f102532b04f1791b2a5cab66a7f17643beb2df25f74",
    SECOND / "shard-00001.h5": "24809ff182d142d41b5cf07079e6577cc3342ec38f5e4a6a045ab04e07580e4a",
    NEW / "manifest.json": "63d8ede631ec75ac331d10c37dc0849a86abe6e22bfaa339a762940c69925189",
    NEW / "shard-00000.h5": "0480c29b202df9a4cb360f102532b04f1791b2a5cab66a7f17643beb2df25f74",
    NEW / "shard-00001.h5": "24809ff182d142d41b5cf07079e6577cc3342ec38f5e4a6a045ab04e07580e4a",
    FOURTH / "manifest.json": "5fb431ed47b5ff9da597722d463cd8888827f4c99caf4ff546e82007d11975f6",
    FOURTH / "shard-00000.h5": "45035c805a70a9c872e92fe466e4cbae2897e831af13cb6268e478bb840dbacf",
    FOURTH / "shard-00001.h5": "111bfb4ccc2ba3cde71ee84c0b04d4425ec7274875040d2870003236a7032f04",
    SECOND_RUN / "bench.json": "ae462766a30f5e18514aadf0dca94b9e5b888336813fc27ef83466f8cbc53495",
    SECOND_RUN / "head.safetensors": "b32cab2b9dfa8477a4acb971ea907430d23221901ecdce4e1d8adc7a4dc9358d",
    SECOND_RUN / "run.json": "19331676bad94ff3683cbd1c1b5a2a5c0f6f1cf15ad9a5ced0d57931bf1d52ff",
    THIRD_RUN / "head.safetensors": "bcaf7357ba9439cf504433c1f412a56860abd8332071177b79b52c7ce852802e",
    THIRD_RUN / "predictions.safetensors": "6911a878bcda643796a061ad75d471f900a17478f2e1c58018f644602e5fde10",
    THIRD_RUN / "run.json": "7486649e7bcef0b7ab30db58bb882852dd92e66140828e32a2fd15294026903b",
    V3 / "execution.json": "acb57e260f8b67f0014348722a1ed023ad8dfbc9911c0745b395c35085d885f7",
    V2 / "execution.json": "acb57e260f8b67f0014348722a1ed023ad8dfbc9911c0745b395c35085d885f7",
}
FEATURES = [
    [0.0, 0.25, -0.0, 1.0],
    [1.0, 1.25, -1.0, 0.5],
    [2.0, 2.25, -2.0, 0.333251953125],
    [4.0, 4.25, -4.0, 0.199951171875],
    [5.0, 5.25, -5.0, 0.1666259765625],
]
PROBABILITIES = [
    [0.000139253, 0.995791197, 0.004069571],
    [0.058127884, 0.802430630, 0.139441535],
    [0.331604004, 0.375756562, 0.292639494],
    [0.604547918, 0.081816666, 0.313635319],
    [0.737188399, 0.029645549, 0.233166084],
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The golden files where a test may change them."""
    for path in FILES:
        target = tmp_path / path.relative_to(GOLDEN)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return tmp_path


def features(folder: Path = SET) -> FeatureSet:
    (found,) = FeatureStore(folder.parent).sets()
    return found


# ---- the files themselves


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_file_is_the_one_that_was_released(path: Path) -> None:
    assert sha256_file(path) == FILES[path]


def test_no_other_files_are_there_and_all_are_small() -> None:
    there = [path for version in (V1, V2, V3, V4, V5) for path in version.rglob("*") if path.is_file()]
    assert sorted(there) == sorted(FILES)
    assert sum(path.stat().st_size for path in there) < 150_000


def test_a_version_that_is_there_is_never_made_again() -> None:
    before = {path: path.stat().st_mtime_ns for path in FILES}
    found = subprocess.run(
        [sys.executable, ROOT / "tests/golden/make.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert found.stderr == f"{V5}: is there already and must stay as it is; a new layout gets a new version\n"
    assert {path: path.stat().st_mtime_ns for path in FILES} == before


# ---- features


@pytest.mark.parametrize("folder", [SET, SECOND, NEW, FOURTH], ids=["v1", "v2", "v3", "v4"])
def test_every_row_is_read_as_it_was_written(folder: Path) -> None:
    rows = features(folder).load()
    assert (rows.features.dtype, rows.labels.dtype) == (np.float16, np.int64)
    assert rows.features.tolist() == FEATURES
    assert np.signbit(rows.features[0, 2])
    assert rows.labels.tolist() == [0, 0, 1, 2, -1]
    assert [name.decode() for name in rows.ids] == ["ape/0.png", "ape/1.png", "bee/2.png", "cow/4.png", "kühe/5.png"]


@pytest.mark.parametrize(("limit", "rows"), [(1, 1), (3, 3), (4, 3), (5, 4), (6, 5)])
def test_a_prefix_counts_the_skipped_image(limit: int, rows: int) -> None:
    assert features().load(limit).features.tolist() == FEATURES[:rows]


@pytest.mark.parametrize(
    ("folder", "engine", "order"),
    [
        (SET, "eager", "unknown"),
        (SECOND, "compiled", "unknown"),
        (NEW, "compiled", "stratified"),
        (FOURTH, "compiled", "stratified"),
    ],
    ids=["v1", "v2", "v3", "v4"],
)
def test_the_manifest_says_what_it_said(folder: Path, engine: str, order: str) -> None:
    manifest = features(folder).manifest
    assert (manifest.split, manifest.feature_dim, manifest.dtype, manifest.rows) == ("train", 4, "float16", 5)
    digest = SECOND_SET_DIGEST if folder == FOURTH else SET_DIGEST
    assert (manifest.stop, manifest.skipped, manifest.elapsed_s, manifest.digest) == (6, 1, 1.0, digest)
    assert (manifest.dataset, manifest.classes) == ("folder-golden", ("ape", "bee", "cow"))
    assert manifest.change == (Change("3c" * 32, 6, 4, 1, 2, 1) if folder == FOURTH else None)
    assert manifest.shards[1].skipped == (Skipped(3, "bee/3.png", "can't be decoded (truncated)"),)
    assert [shard.inputs for shard in manifest.shards] == [f"{start:064d}" for start in (0, 3)]
    assert dataclasses.asdict(manifest.provenance) == {
        "split_rows": 6,
        "weights_from": "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        "data_from": "/data/golden",
        "parameters": "d4" * 32,
        "device": "a computer",
        "batch_size": 32,
        "created": "2026-11-22T12:00:00+00:00",
        "versions": {"headstart": "0.1.0", "torch": "2.15.0"},
        "notes": ("made by hand",),
        "engine": engine,  # before there were engines all was computed eagerly
        "order": order,
        "licence": "",  # none was recorded, which is how its bytes stay as they were
        "corrected": {},  # nor was anything
    }


@pytest.mark.parametrize("index", [0, 1])
def test_a_shard_written_today_holds_what_the_released_one_does(index: int) -> None:
    # not its bytes: another HDF5 may lay them out otherwise
    shard = features().read(index)
    assert cache_samples.same_shard(decode_shard(encode_shard(shard), "today's"), shard)


def test_a_manifest_written_today_has_the_bytes_of_the_released_one() -> None:
    assert features(FOURTH).manifest.to_bytes() == (FOURTH / "manifest.json").read_bytes()


@pytest.mark.parametrize("index", [0, 1])
def test_a_shard_of_version_4_says_what_each_row_is_of(index: int) -> None:
    shard = features(FOURTH).read(index)
    assert shard.rows.digests is not None
    assert shard.rows.digests.tolist() == [[row] * 32 for row in ((0, 1, 2), (4, 5))[index]]
    assert cache_samples.same_shard(decode_shard(encode_shard(shard), "today's"), shard)


@pytest.mark.parametrize("folder", [SET, SECOND, NEW], ids=["v1", "v2", "v3"])
def test_a_head_can_be_trained_on_features_of_every_version(folder: Path) -> None:
    (pair,) = data.pairs(FeatureStore(folder.parent))
    assert (pair.train.folder, pair.key.digest, pair.key.classes) == (folder, KEY_DIGEST, ("ape", "bee", "cow"))


def test_the_execution_record_is_read_and_written_as_it_was() -> None:
    found = read_execution(V2)
    assert found == Execution("compiled", 32, 6, "a computer")
    assert found.to_bytes() == (V2 / "execution.json").read_bytes()


# ---- the key


def test_the_keys_digest_is_the_recorded_one() -> None:
    named = features().manifest.named
    assert (named.digest, features().manifest.shard_key) == (KEY_DIGEST, KEY_DIGEST)
    assert SET.name.endswith(named.digest8)
    assert features(FOURTH).manifest.key == features().manifest.key == named.feature_key
    assert features(FOURTH).manifest.shard_key == named.feature_key.digest == FEATURE_KEY_DIGEST
    assert FOURTH.name.endswith(named.feature_key.digest8)


def test_the_key_is_spelled_as_it_was() -> None:
    # written out by hand: the digest is over exactly these bytes
    spelled = (
        '{"backbone":"resnet18","classes":["ape","bee","cow"],"dataset":"folder-golden","feature_version":1,'
        '"image_size":224,"interpolation":"bilinear","mean":[0.485,0.456,0.406],"pooling":"average","precision":"bf16",'
        '"std":[0.229,0.224,0.225],"weights":"IMAGENET1K_V1",'
        '"weights_sha256":"5c106cde386e87d4033832f2996f5493238eda96ccf559d1d62760c4de0613f8"}'
    )
    assert canonical_json(features().manifest.named.to_json()).decode() == spelled
    assert sha256(spelled.encode()) == KEY_DIGEST
    own = spelled.replace('"classes":["ape","bee","cow"],"dataset":"folder-golden",', "")
    assert canonical_json(features(FOURTH).manifest.key.to_json()).decode() == own
    assert sha256(own.encode()) == FEATURE_KEY_DIGEST


def test_the_set_is_found_by_its_key() -> None:
    found = FeatureStore(FOURTH.parent).open(features().manifest.named, "train")
    assert found is not None
    assert found.folder == FOURTH


def test_what_is_added_to_an_old_set_is_another_set(copy: Path) -> None:
    store = FeatureStore(copy / SET.parent.relative_to(GOLDEN))
    named = features().manifest.named
    assert store.open(named, "train") is None
    assert newest(store.sets()) == store.sets()
    with store.writing(named, "train", lambda: None) as writer:
        assert (writer.folder.name, writer.manifest()) == (FOURTH.name, None)


def test_after_a_new_feature_version_the_set_is_not_found_again() -> None:
    old = features(FOURTH).manifest.named
    new = dataclasses.replace(old, feature_version=old.feature_version + 1)
    store = FeatureStore(FOURTH.parent)
    assert store.open(new, "train") is None
    assert store.folder(new, "train") != FOURTH
    assert old.differences(new) == ["feature_version is 1, not 2"]


# ---- the head and its records


def test_the_head_gives_the_recorded_probabilities() -> None:
    found = checkpoint.load(RUN / "head.safetensors")
    with torch.inference_mode():
        scores = found.head(torch.tensor(FEATURES, dtype=torch.float16).float())
    assert np.abs(scores.softmax(dim=1).numpy() - PROBABILITIES).max() <= 1e-6


def test_the_head_carries_all_that_is_needed_to_use_it() -> None:
    found = checkpoint.load(RUN / "head.safetensors")
    assert (found.head.kind, found.head.dim, found.head.rows, found.classes) == ("mlp", 4, 5, ("ape", "bee", "cow"))
    assert (found.key.digest, found.weights_from) == (KEY_DIGEST, features().manifest.provenance.weights_from)
    assert found.head.config == runs.read(RUN / "run.json").config


def test_a_head_written_today_has_the_tensors_and_facts_of_the_released_one(tmp_path: Path) -> None:
    checkpoint.save(checkpoint.load(RUN / "head.safetensors"), tmp_path / "head.safetensors")
    now, then = header(tmp_path / "head.safetensors"), header(RUN / "head.safetensors")
    assert now["config"] == {**now["config"], **then["config"]}  # newer settings have their values of then
    for facts in (now, then):
        del facts["config"], facts["sha256"]
    assert now == then
    ours, theirs = (load_file(path / "head.safetensors") for path in (tmp_path, RUN))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_head_that_knows_how_sure_it_may_be_is_read_and_written_as_it_was(tmp_path: Path) -> None:
    found = checkpoint.load(THIRD_RUN / "head.safetensors")
    assert found.confidence is not None
    assert (found.confidence.temperature, found.confidence.rows) == (1.5, 4)
    assert found.confidence.of_label.tolist() == [0.125, 0.25, 0.5, 0.75]
    checkpoint.save(found, tmp_path / "head.safetensors")
    assert sha256_file(tmp_path / "head.safetensors") == FILES[THIRD_RUN / "head.safetensors"]


def header(path: Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        return dict(json.loads(file.metadata()["headstart"]))


def test_the_run_record_is_read_whole() -> None:
    run = runs.read(RUN / "run.json")
    assert (run.name, run.model, run.created) == (RUN.name, "resnet18", "2026-11-22T12:00:00.000000+00:00")
    assert (run.train.folder, run.train.digest, run.train.rows, run.train.elapsed_s) == (SET.name, SET_DIGEST, 5, 1.0)
    assert (run.train_rows, run.val_rows, run.losses, run.val_accuracies) == (4, 1, (1.25, 1.0), (0.0, 1.0))
    assert (run.best_epoch, run.elapsed_s, run.key.digest, run.notes) == (2, 0.125, KEY_DIGEST, ("made by hand",))
    scores = {name: (score.correct, score.total) for name, score in run.evaluation.per_class.items()}
    assert scores == {"ape": (1, 2), "bee": (1, 1), "cow": (0, 1)}
    assert run.evaluation.overall.accuracy == 0.5
    assert run.head_sha256 == FILES[RUN / "head.safetensors"]
    assert run.together == 1  # before heads were trained together each was alone
    assert run.training_version == 1  # its seed may name another head today
    assert (run.train.split, run.train.images, run.train.used) == ("", "", "")  # it did not say


def test_a_bench_record_of_version_1_counts_as_none_since_it_names_no_images(copy: Path) -> None:
    root = copy / "v1/runs"
    (run,) = RunStore(root).newest(["resnet18"])
    assert timings.read(root, run) == ()
    (root / run.name / "bench.json").write_text('{"images": 4, "split_rows": 5, "elapsed_s": 0.5}')  # the very first ones
    assert timings.read(root, run) == ()


def test_the_second_run_record_is_read_and_written_again_as_version_3() -> None:
    run = runs.read(SECOND_RUN / "run.json")
    assert (run.test.split, run.test.images, run.test.used, run.training_version) == ("train", "1a" * 32, "2b" * 32, 2)
    assert (run.selection, run.evaluated_by, run.evaluation.measures) == (None, HELD_OUT, {})  # one set, divided
    assert runs.parse(parse_json(run.to_bytes())) == run
    (timing,) = timings.read(SECOND_RUN.parent, run)
    assert (timing.images, timing.elapsed_s, timing.way.batch_size, timing.images_digest) == (4, 0.5, 16, "1a" * 32)
    assert timings.of_the_run(run, [timing]) == timing


def test_the_third_run_record_is_read_and_written_as_it_was() -> None:
    run = runs.read(THIRD_RUN / "run.json")
    assert run.to_bytes() == (THIRD_RUN / "run.json").read_bytes()
    assert run.evaluated_by == Protocol("cross-validation", 4, 2, (0.5, 0.75))
    assert run.evaluation.confusion == ((1, 1, 0), (0, 1, 0), (0, 1, 0))
    assert run.evaluation.predicted == {"ape": 1, "bee": 3, "cow": 0}
    assert (run.evaluation.measures["balanced_accuracy"], run.evaluation.measures["top_5_accuracy"]) == (0.5, None)
    assert run.selection is not None
    assert [one.config.head for one in run.selection.tried] == ["logreg", "mlp"]
    assert (run.selection.folds, run.selection.rows, run.selection.config) == (5, 4, run.config)


def test_the_predictions_are_read_and_written_as_they_were(tmp_path: Path) -> None:
    found = predictions_file.load(THIRD_RUN, FILES[THIRD_RUN / "head.safetensors"])
    assert found is not None
    assert (found.rows.tolist(), found.classes) == ([0, 1, 2, 4], ("ape", "bee", "cow"))
    assert (found.outcomes.labels.tolist(), found.outcomes.predicted.tolist()) == ([0, 0, 1, 2], [0, 1, 1, 1])
    assert found.outcomes.probabilities.tolist() == [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.125, 0.75, 0.125], [0, 1, 0]]
    again = predictions_file.save(found, FILES[THIRD_RUN / "head.safetensors"], tmp_path)
    assert sha256_file(again) == FILES[THIRD_RUN / "predictions.safetensors"]


# ---- other versions


def rewrite(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def versioned(version: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A document of another version, whose own checksum is right; None stands for a document without one."""

    def change(found: dict[str, Any]) -> dict[str, Any]:
        summed = "sha256" in found
        found = {name: value for name, value in found.items() if name not in ("version", "sha256")}
        found |= {} if version is None else {"version": version}
        return {**found, "sha256": sha256(canonical_json(found))} if summed else found

    return change


def reformat_head(path: Path, **facts: object) -> None:
    """The head with other facts, as a headstart might write it whose digest is over other things."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    kept = {name: value for name, value in {**header(path), **facts}.items() if value is not None}
    path.write_bytes(save_tensors(tensors, metadata={"headstart": json.dumps(kept)}))


OTHERS = [0, 4, "1", None]
OTHER_RUNS = [0, 4, "1", None]


@pytest.mark.parametrize("version", [0, 5, -1, 10**30])
def test_a_manifest_of_another_version_is_refused_by_its_number(copy: Path, version: int) -> None:
    folder = copy / NEW.relative_to(GOLDEN)
    rewrite(folder / "manifest.json", versioned(version))
    message = (
        rf"manifest\.json: not a manifest of ours \(format 'headstart feature set' version {version}, "
        r"expected 'headstart feature set' 4\); use the headstart that made it; the `headstart extract` that "
        r"made the set computes it anew, with --force$"
    )
    for ask in (lambda: read_manifest(folder), FeatureStore(folder.parent).sets):
        with pytest.raises(FeaturesOfAnotherVersion, match=message):
            ask()


@pytest.mark.parametrize("version", ["1", "3", True, 1.0, 3.0, [3], None])
def test_what_is_no_version_of_a_manifest_is_damage(copy: Path, version: object) -> None:
    folder = copy / NEW.relative_to(GOLDEN)
    rewrite(folder / "manifest.json", versioned(version))
    message = (
        rf"manifest\.json: not a manifest of ours \(format 'headstart feature set' version {re.escape(repr(version))}, "
        r"expected 'headstart feature set' 4\); the `headstart extract` that made the set writes it again from its shards$"
    )
    with pytest.raises(FeaturesDamaged, match=message) as caught:
        read_manifest(folder)
    assert type(caught.value) is FeaturesDamaged


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_an_execution_record_of_another_version_counts_as_none(copy: Path, version: object) -> None:
    rewrite(copy / "v2/execution.json", versioned(version))
    assert read_execution(copy / "v2") is None


@pytest.mark.parametrize("version", OTHERS)
def test_a_head_of_another_version_is_refused_by_its_number(copy: Path, version: object) -> None:
    path = copy / RUN.relative_to(GOLDEN) / "head.safetensors"
    reformat_head(path, version=version, sha256="another digest")
    message = (
        rf"head\.safetensors: not a head of ours, or altered \(format 'headstart head' version {version!r}, "
        r"expected 'headstart head' 3\); `headstart train-head` makes a new one"
    )
    with pytest.raises(RunDamaged, match=message):
        checkpoint.load(path)


def test_a_head_without_a_digest_is_refused(copy: Path) -> None:
    path = copy / RUN.relative_to(GOLDEN) / "head.safetensors"
    reformat_head(path, sha256=None)
    with pytest.raises(RunDamaged, match=r"not a head of ours, or altered \('sha256'\)"):
        checkpoint.load(path)


@pytest.mark.parametrize("version", OTHER_RUNS)
def test_a_run_record_of_another_version_is_refused_by_its_number(copy: Path, version: object) -> None:
    path = copy / RUN.relative_to(GOLDEN) / "run.json"
    rewrite(path, versioned(version))
    message = (
        rf"run\.json: not a run record of ours \(format 'headstart run' version {version!r}, "
        r"expected 'headstart run' 3\); remove its folder"
    )
    with pytest.raises(RunDamaged, match=message):
        RunStore(copy / "v1/runs").runs()


@pytest.mark.parametrize("version", [0, 3, "1"])
def test_a_bench_record_of_another_version_is_refused_by_its_number(copy: Path, version: object) -> None:
    store = RunStore(copy / "v1/runs")
    (run,) = store.runs()
    rewrite(store.root / run.name / "bench.json", versioned(version))
    message = (
        rf"bench\.json: format 'headstart bench' version {version!r}, expected 'headstart bench' 2; "
        "remove it, and `headstart bench-inference` makes it anew"
    )
    with pytest.raises(RunDamaged, match=message):
        timings.read(store.root, run)


FORMATS: dict[str, tuple[Path, Callable[[Path], object]]] = {
    "manifest": (FOURTH / "manifest.json", lambda path: read_manifest(path.parent)),
    "run": (RUN / "run.json", runs.read),
    "bench": (RUN / "bench.json", lambda path: timings.read(path.parents[1], runs.read(path.parent / "run.json"))),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_record_of_another_program_is_refused_by_its_name(copy: Path, kind: str) -> None:
    path, read = FORMATS[kind]
    path = copy / path.relative_to(GOLDEN)
    rewrite(path, lambda found: {**found, "format": "footstart"})
    with pytest.raises(HeadstartError, match=r"format 'footstart' version [1234], expected 'headstart [a-z ]+' [1234]"):
        read(path)


def test_a_shard_with_more_or_less_than_version_1_has_is_refused_with_what_was_expected(copy: Path) -> None:
    # a shard carries no version: its manifest does, and its members and attributes are exactly those of version 1
    expected = r"expected \['inputs', 'key', 'skipped', 'skipped_sha256', 'start', 'stop'\]"
    path = copy / SET.relative_to(GOLDEN) / "shard-00000.h5"
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = np.int64(2)
    with pytest.raises(FeaturesDamaged, match=rf"shard-00000\.h5: has the attributes .*'version'\], {expected}"):
        decode_shard(path.read_bytes(), str(path))
    with h5py.File(path, "r+") as file:
        del file.attrs["version"], file.attrs["skipped_sha256"]
    with pytest.raises(FeaturesDamaged, match=rf"shard-00000\.h5: has the attributes .*'stop'\], {expected}"):
        decode_shard(path.read_bytes(), str(path))


def test_a_key_of_other_fields_is_refused_by_their_names() -> None:
    found = features().manifest.key.to_json()
    with pytest.raises(ValueError, match=r"key: fields \['colour', 'pooling'\] are missing or unknown"):
        FeatureKey.from_json({"colour" if name == "pooling" else name: value for name, value in found.items()})
