"""The benchmark of near-duplicates runs at a small size: it plants, extracts, finds, and says what was found."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from test_likeness import scene

from headstart.core.extract.likeness.pixels import grey

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import duplicates as bench


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Forty pictures as CIFAR-10's binary files have them, of which the first is of no training row asked for."""
    pictures = [np.asarray(scene(seed, 32, 32)).transpose(2, 0, 1).reshape(-1) for seed in range(41)]
    np.concatenate([np.append(np.uint8(0), one) for one in pictures]).tofile(tmp_path / "data_batch_1.bin")
    return tmp_path


def test_rows_are_taken_from_where_they_are_asked_for(records: Path) -> None:
    found = bench.cifar(records, 1, 40)
    assert len(found) == 40
    np.testing.assert_array_equal(np.asarray(found[0]), np.asarray(scene(1, 32, 32)))


@pytest.mark.parametrize("varied", [False, True])
@pytest.mark.parametrize("kind", bench.KINDS)
def test_a_changed_picture_is_another_file_of_the_same_scene(kind: str, varied: bool) -> None:
    own = scene(0, 32, 32)
    found = bench.changed(own, kind, varied, np.random.default_rng(0))
    assert found.tobytes() != own.tobytes()
    assert bench.changed(own, kind, varied, np.random.default_rng(0)).tobytes() == found.tobytes()
    assert (found.size == own.size) == (kind in ("jpeg", "mirrored", "brighter"))
    assert grey(found).shape == (32, 32)


def test_what_was_planted_is_found_and_told(records: Path, tmp_path: Path) -> None:
    words = ["-m", "squeezenet1_1", "--weights", "random:0", "--image-size", "32", "--data", str(records), "--first", "1"]
    files = ["--work", str(tmp_path / "work"), "--json", str(tmp_path / "a.json"), "--sheet", str(tmp_path / "a.png")]
    found = CliRunner().invoke(bench.main, [*words, *files, "--rows", "40", "--each", "3"])
    assert found.exit_code == 0, found.output
    said = json.loads((tmp_path / "a.json").read_text())
    assert said["recall"] == dict.fromkeys(bench.KINDS, 1.0)
    assert said["by_pixels"]["jpeg"] == 1.0
    assert said["planted"] == 15
    assert len(list((tmp_path / "work" / "pictures").iterdir())) == 55
    assert f"15 planted pairs and {len(said['others'])} others" in found.output
    assert "jpeg: recall 1.00" in found.output
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.width == 8 * 140
