"""`train-head --curve`: what a user reads, and what can't be asked for together."""

import json
from pathlib import Path

import pytest
from cli_samples import Place
from heads_samples import blobs, make_key, write_pair, write_set

from headstart.core.cache.store import FeatureStore


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place with features of 40 and 30 rows."""
    found = Place(tmp_path_factory.mktemp("place"))
    write_pair(found.root / "features", blobs(40), blobs(30, seed=1))
    return found


def test_a_curve_says_whether_more_pictures_would_help(place: Place) -> None:
    words = ("train-head", "--head", "ridge", "--curve")
    found = place.run(*words, "--json")
    *lines, document = found.stdout.splitlines()
    (run,) = json.loads(document)
    assert [point["rows"] for point in run["curve"]["points"]] == [10, 20, 40]
    assert "  trained on  accuracy  standard error  draws" in lines
    assert any("ore pictures would" in line for line in lines)
    assert "few-shot curve: 340 images to do" in found.stderr


@pytest.mark.parametrize("other", [("--seeds", "2"), ("--sweep",)])
def test_a_curve_and_several_heads_are_refused_together(place: Place, other: tuple[str, ...]) -> None:
    said = place.run("train-head", "--head", "mlp", "--curve", *other, code=2).stderr
    assert f"--curve: it is measured of one head with given settings, and {' '.join(other)} trains several" in said


def test_a_set_without_test_rows_is_tested_on_folds(tmp_path: Path) -> None:
    place = Place(tmp_path)
    write_set(FeatureStore(tmp_path / "features"), blobs(24), "all", make_key())
    found = place.run("train-head", "--head", "ridge", "--curve")
    assert "  few-shot curve, tested on 24 images that were not trained on, in " in found.stdout
    assert found.stderr.index("cross-validation: 72 images to do") < found.stderr.index("few-shot curve: ")
