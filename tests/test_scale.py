"""The simulation of many shards ends with a complete, verified set whatever fails, and its own checks can fail."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from cache_samples import flip
from extract_samples import ROOT


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/scale.py; the folder comes last, since it has a heads.py too."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / "benchmarks")])
    return importlib.import_module("scale")


@pytest.mark.slow
def test_every_row_is_there_once_whatever_fails(tmp_path: Path) -> None:
    given = "--shards 150 --rows 4 --dim 2 --workers 16 --fail 0.2 --duplicates 0.1 --stragglers 0.05 --kills 3 --json"
    call = [sys.executable, str(ROOT / "benchmarks/scale.py"), *given.split(), "--folder", str(tmp_path)]
    found = subprocess.run(call, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (found.returncode, found.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
    report = json.loads(found.stdout.splitlines()[-1])
    assert report["killed"] >= 2  # the last kill may come after the end
    assert sum(report["events"].get(fate, 0) for fate in ("before", "middle", "after", "silent")) > 5
    assert report["events"]["again"] > 5
    assert report["manifest_bytes"] > 150 * 300
    assert f"killed {report['killed']} times" in found.stdout


def complete(scale: ModuleType, root: Path) -> object:
    """A small set as a driver leaves it that nobody kills."""
    fleet = scale.Fleet(shards=5, rows=4, dim=2, fail=0.5, duplicates=0.5, stragglers=0.2, workers=2, seed=1)
    scale.drive(root, fleet, 0)
    return fleet


def test_a_driver_that_finds_all_there_makes_nothing(scale: ModuleType, tmp_path: Path) -> None:
    fleet = complete(scale, tmp_path)
    before = scale.events(tmp_path / "journal")
    scale.drive(tmp_path, fleet, 1)
    assert (scale.events(tmp_path / "journal") - before).keys() == {"commit", "again"}  # and late workers, who harm nothing
    assert json.loads((tmp_path / "last.json").read_text())["missing"] == 0
    assert scale.verify(tmp_path, fleet) > 0


def test_the_verification_finds_what_is_wrong(scale: ModuleType, tmp_path: Path) -> None:
    fleet = complete(scale, tmp_path)
    (folder,) = (path for path in (tmp_path / "features").iterdir() if path.is_dir())
    flip(folder / "shard-00003.h5")
    with pytest.raises(ValueError, match=r"shard-00003\.h5: SHA-256 is .*, expected"):
        scale.verify(tmp_path, fleet)
    flip(folder / "shard-00003.h5")
    other = scale.Fleet(shards=5, rows=4, dim=2, fail=0.5, duplicates=0.5, stragglers=0.2, workers=2, seed=2)
    with pytest.raises(AssertionError, match="not so: the features are the backbone's"):
        scale.verify(tmp_path, other)
    (folder / "manifest.json").unlink()
    with pytest.raises(AssertionError, match="no complete set is there"):
        scale.verify(tmp_path, fleet)


def test_a_shard_is_the_same_whoever_makes_it(scale: ModuleType) -> None:
    fleet = scale.Fleet(shards=5, rows=4, dim=3, fail=0, duplicates=0, stragglers=0, workers=2, seed=1)
    whole = scale.features(fleet, 0, fleet.images)
    assert whole.dtype == np.float16
    assert len(np.unique(whole)) > 40  # of 54: rows and columns differ
    assert np.array_equal(scale.features(fleet, 7, 12), whole[7:12])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("manifest --shards 50", ("50 shards: manifest ", "50 shards: read ", "5,000,000 rows: row numbers ")),
        ("shard --rows 64", ("64 x 2048: file ", "64 x 2048: put, ", "64 x 2048: checked by a child ")),
        (
            "pictures --rows 200",
            ("folder, 200 pictures: opened ", "list, 200 pictures: opened ", "parquet, 200 pictures: "),
        ),
    ],
)
def test_what_grows_with_a_data_set_is_measured(tmp_path: Path, given: str, said: tuple[str, ...]) -> None:
    words = given.split() + (["--folder", str(tmp_path)] if "manifest" not in given else [])
    call = [sys.executable, str(ROOT / "benchmarks/sizes.py"), *words]
    found = subprocess.run(call, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (found.returncode, found.stderr) == (0, "")
    assert all(text in found.stdout for text in said)
    assert list(tmp_path.iterdir()) == []
