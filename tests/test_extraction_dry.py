"""Dry runs say what they would download, and download nothing."""

import json
from pathlib import Path

import pytest
import torch
from cli_samples import Place

from headstart.core.extract.datasets import cifar10


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("a dry run downloads nothing")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty place, without weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(cifar10, "download", refuse)
    return Place(tmp_path)


def test_extract_says_that_it_would_download_data_and_weights(here: Place) -> None:
    said = here.run("extract", "-m", "resnet18", "--dry-run", "--json").stdout.splitlines()
    assert said[0] == f"would download cifar10 from {cifar10.URL} to {here.root}/data/cifar-10-binary.tar.gz"
    assert said[1].startswith("would download weights of resnet18 from https://download.pytorch.org/models/resnet18-")
    assert said[2] == "resnet18: images to run through it, key and what is there known once that is downloaded"
    assert [facts["would_download"] for facts in json.loads(said[-1])] == ["cifar10", "weights of resnet18"]
    assert list(here.root.iterdir()) == []


def test_extract_plans_the_models_whose_weights_are_here(here: Place) -> None:
    words = ("extract", "-m", "resnet18", "-m", "resnet50", "--weights", "resnet50=random:0", "--dataset", "digits")
    said = here.run(*words, "--limit", "9", "--dry-run").stdout
    assert "resnet50 digits train: 9 x 2048 float32, 0.1 MB in 1 shard; 0 rows there, 9 to compute; " in said
    assert "resnet18: 9 train images and 9 test images to run through it, key and what is there known once" in said


def test_study_says_that_it_would_download_weights(here: Place) -> None:
    said = here.run("study", "-m", "resnet18", "--dataset", "digits", "--dry-run", "--json").stdout.splitlines()
    assert said[0].startswith("would download weights of resnet18 from ")
    assert said[1] == "resnet18: what is there and how long it takes is known once that is here"
    facts = json.loads(said[-1])
    assert (facts["models"], facts["total_s"], len(facts["downloads"])) == ([], None, 1)


def test_a_torchvision_set_that_is_not_there_would_be_downloaded(here: Place) -> None:
    said = here.run(
        "extract", "-m", "resnet18", "--weights", "random:0", "--dataset", "torchvision:MNIST", "--dry-run"
    ).stdout
    assert said.startswith("would download torchvision's MNIST from where torchvision knows it to ")
    assert not (here.root / "data").exists()
