"""Commands that share a backbone load it once and run it once over each picture, and progress survives a step back."""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from extract_samples import write_picture
from torch import nn

from headstart.console import progress
from headstart.core import cli
from headstart.core.extract import weights
from headstart.core.extract.network import loaded
from headstart.core.extract.network.extractor import FeatureExtractor

SMALL = ("--dataset", "digits", "--weights", "random:0", "--image-size", "32", "--precision", "fp32")


def run(root: Path, *words: str) -> Result:
    folders = ("--features-dir", str(root / "features"), "--runs-dir", str(root / "runs"), "--device", "cpu")
    result = CliRunner().invoke(cli.cli, [*words, *folders])
    assert result.exit_code == 0, (result.stdout, result.stderr, result.exception)
    return result


class Counts:
    """How many bodies were loaded, and how many pictures were given to a network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loaded, self.pictures = 0, 0
        load, prepare = weights.load, FeatureExtractor.to_device

        def counted_load(*args: object) -> nn.Module:
            self.loaded += 1
            return load(*args)  # type: ignore[arg-type]

        def counted_pictures(extractor: FeatureExtractor, images: npt.NDArray[np.uint8]) -> object:
            self.pictures += len(images)
            return prepare(extractor, images)

        monkeypatch.setattr(loaded, "NETWORKS", loaded.Networks())
        monkeypatch.setattr(weights, "load", counted_load)
        monkeypatch.setattr(FeatureExtractor, "to_device", counted_pictures)


def test_a_command_loads_a_backbone_once_for_all_splits_and_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counts(monkeypatch)
    run(tmp_path, "extract", "-m", "resnet18", *SMALL, "--limit", "40")
    assert (counts.loaded, counts.pictures) == (1, 80)
    for recipe in ("study", "standard"):
        run(tmp_path, "train-head", "--head", "mlp", "-m", "resnet18", "--recipe", recipe, "--epochs", "1")
    for seed in range(5):
        write_picture(tmp_path / "photos" / f"{seed}.png", seed)
    heads = [word for folder in sorted((tmp_path / "runs").glob("resnet18-*")) for word in ("--head", str(folder))]
    assert len(heads) == 4
    counts.pictures = 0
    found = run(tmp_path, "predict", str(tmp_path / "photos"), *heads, "--format", "json")
    assert found.stdout.count('"name"') == 5
    assert (counts.loaded, counts.pictures) == (1, 5)  # the very network of the extraction, once over each picture


def test_progress_goes_on_where_memory_ran_out_and_rows_are_done_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.0)
    bar = progress.Progress(cli.note, lambda: sys.stderr)
    bar.begin("resnet18 tiny train", 100, 0)
    bar.advance(16)
    bar.advance(-16)
    bar.end()
    assert "0/100 images, 0.0 images/s, unknown left" in capsys.readouterr().err
