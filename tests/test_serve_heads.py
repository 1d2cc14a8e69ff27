"""The heads of a service: their names, digests and descriptions, and the backbones that they share."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from cli_samples import Place
from heads_samples import make_run
from serve_samples import head
from serve_samples import shop as shop

from headstart.core.cache.errors import RunNotFound
from headstart.core.cache.files import sha256_file
from headstart.core.heads.audit.leaks import WithoutTwins
from headstart.core.heads.statistics.accuracy import Score
from headstart.inference.trained import TrainedHead
from headstart.observer import SILENT
from headstart.serve.heads import coverage_of, described, load, named
from headstart.serve.settings import Settings
from headstart.workspace import Workspace


def workspace(shop: Path) -> Workspace:
    return Workspace(shop / "features", shop / "runs", shop / "data", "cpu")


def test_heads_on_the_same_features_share_a_backbone(shop: Path) -> None:
    names = sorted(path.name for path in (shop / "runs").iterdir())
    (shared,) = load(workspace(shop), names, Settings(), (), SILENT)
    assert sorted(one.name for one in shared.heads) == names
    for one in shared.heads:
        assert one.digest == sha256_file(shop / "runs" / one.name / "head.safetensors")


def test_none_named_is_the_newest(shop: Path) -> None:
    (shared,) = load(workspace(shop), (), Settings(), (), SILENT)
    assert [one.name for one in shared.heads] == [
        max(path.name for path in (shop / "runs").iterdir() if "ridge" in path.name)
    ]


def test_a_head_without_a_record_is_called_by_its_folder_or_its_own_name(shop: Path, tmp_path: Path) -> None:
    source = next(path for path in (shop / "runs").iterdir() if "ridge" in path.name) / "head.safetensors"
    for name in ("pets/head.safetensors", "cats.safetensors", "other/pets.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / name)
    paths = [str(tmp_path / name) for name in ("pets", "cats.safetensors", "other/pets.safetensors")]
    (shared,) = load(workspace(shop), paths, Settings(), (), SILENT)
    digest = sha256_file(source)
    both = f"pets-{digest[:8]}"
    assert [one.name for one in shared.heads] == [both, "cats", both]
    assert {one.digest for one in shared.heads} == {digest}
    found = described(shared.heads[1], "fp32", 0.95)
    assert found["accuracy"] is None
    assert found["caveats"] == ["resnet18 has untrained weights (random:0): good for trying things out only"]
    assert str(tmp_path) not in repr([described(one, "fp32", None) for one in shared.heads])


def test_a_head_is_described_with_what_its_run_found() -> None:
    run = make_run(name="a-run")
    one = dataclasses.replace(head(), trained=TrainedHead(head().trained.checkpoint, run, "a-run"))
    found = described(one, "bf16", 0.95)
    assert found["precision"] == "bf16"
    score = run.evaluation.overall
    assert found["accuracy"]["value"] == score.correct / score.total
    assert found["licence"] == "none: the weights are random numbers"
    assert not found["neighbours"]


def test_a_head_tells_its_accuracy_without_twins() -> None:
    total = make_run().evaluation.overall.total
    run = make_run(without_twins=WithoutTwins(Score(total // 2, total - 3), audited=True))
    found = described(dataclasses.replace(head(), trained=TrainedHead(head().trained.checkpoint, run, "a")), "fp32", None)
    told = found["without_twins"]
    assert (told["leaked"], told["rows"], told["audited"]) == (3, total - 3, True)
    assert told["low"] < told["value"] == (total // 2) / (total - 3) < told["high"]
    assert told["sentence"].startswith(f"3 of {total} test pictures have a twin in training (identical, or nearly so by an")
    assert described(head(), "fp32", None)["without_twins"] is None
    none = make_run(without_twins=WithoutTwins(Score(0, 0)))
    left = described(dataclasses.replace(head(), trained=TrainedHead(head().trained.checkpoint, none, "a")), "fp32", None)
    assert (left["without_twins"]["value"], left["without_twins"]["low"], left["without_twins"]["rows"]) == (None, None, 0)


def test_too_few_rows_for_a_coverage_are_said() -> None:
    found = described(head(), "fp32", 0.999)["caveats"]
    assert any("needs 999 rows of calibration, the head has 99" in text for text in found)


def test_the_coverage_is_what_all_heads_can_give() -> None:
    assert coverage_of([head()], None) == 0.95
    assert coverage_of([head()], 0.5) == 0.5
    assert coverage_of([head(), head("other", calibrated=False)], None) is None
    with pytest.raises(RunNotFound, match=r"other: the .* head .* has no calibration"):
        coverage_of([head(), head("other", calibrated=False)], 0.9)


def test_two_runs_of_one_name_are_told_apart_by_their_digests() -> None:
    runs = [make_run(name="same", head_sha256=digit * 64) for digit in "ab"]
    heads = [TrainedHead(head().trained.checkpoint, run, f"place-{place}") for place, run in enumerate(runs)]
    assert [one.name for one in named(heads)] == ["same-aaaaaaaa", "same-bbbbbbbb"]
    assert [one.title for one in named(heads)] == ["same-aaaaaaaa", "same-bbbbbbbb"]


def test_what_is_no_head_is_an_error(shop: Path) -> None:
    with pytest.raises(RunNotFound, match=r"^nothing: no run in .* is called so"):
        load(workspace(shop), ["nothing"], Settings(), (), SILENT)
    assert "no trained head" in Place(shop / "empty").fails("serve", "--port", "0")
