"""Whether pictures are newer than their features, told without reading all of them; and that `train-head` says so."""

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_samples import Place
from extract_samples import encoded, picture, write_picture
from run_samples import job, run

from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.store import FeatureStore
from headstart.core.extract import datasets
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.rows import newer as module
from headstart.core.extract.rows.newer import newer

SMALL = ("-m", "resnet18", "--weights", "random:0", "--image-size", "32", "--precision", "fp32")


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Twelve pictures of two classes."""
    for number in range(12):
        write_picture(tmp_path / "pets" / ("cat", "dog")[number % 2] / f"{number:02d}.png", number)
    return tmp_path / "pets"


def opened(pets: Path) -> FileImages:
    images = datasets.open_split(f"folder:{pets}", "all", Path("unused"))
    assert isinstance(images, FileImages)
    return images


def made(pets: Path, **config: object) -> FeatureSet:
    return run(job(opened(pets), **config), FeatureStore(pets.parent / "features")).features  # type: ignore[arg-type]


def paint(path: Path) -> None:
    path.write_bytes(encoded(picture(seed=99), "PNG"))


def added(pets: Path) -> None:
    write_picture(pets / "cat" / "new.png", 50)


def removed(pets: Path) -> None:
    (pets / "cat" / "00.png").unlink()


def relabelled(pets: Path) -> None:
    (pets / "cat" / "00.png").rename(pets / "dog" / "00.png")


def several(pets: Path) -> None:
    relabelled(pets)
    added(pets)
    (pets / "cat" / "02.png").unlink()
    paint(pets / "cat" / "04.png")


CHANGES: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "nothing": (lambda pets: pets, None),
    "another kind of file": (lambda pets: (pets / "cat" / "notes.txt").write_text("no picture"), None),
    "touched": (lambda pets: [os.utime(path) for path in pets.rglob("*.png")], None),
    "added": (added, "1 added"),
    "removed": (removed, "1 removed"),
    "relabelled": (relabelled, "1 moved"),
    "painted over": (lambda pets: paint(pets / "cat" / "00.png"), "1 changed"),
    "several": (several, "1 added, 1 removed, 1 moved, 1 touched"),
    "a class renamed": (lambda pets: (pets / "cat").rename(pets / "puss"), "6 moved"),
    "an empty class": (lambda pets: (pets / "bird").mkdir(), "labels or class names have changed"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_became_of_the_files_is_counted(pets: Path, change: str) -> None:
    features, (then, words) = made(pets), CHANGES[change]
    then(pets)
    assert newer(opened(pets), features) == words


def test_no_more_files_are_read_than_the_changed_ones(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features, read = made(pets), list[str]()
    several(pets)
    monkeypatch.setattr(FileImages, "fingerprints", lambda *span: read.append(str(span)))
    assert newer(opened(pets), features) == CHANGES["several"][1]
    assert read == []


def test_many_touched_files_are_not_read(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = made(pets)
    for path in pets.rglob("*.png"):
        os.utime(path)
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    assert newer(opened(pets), features) == "12 touched"


def test_of_the_first_pictures_those_are_compared(pets: Path) -> None:
    features = made(pets, limit=6)
    assert newer(opened(pets), features) is None
    paint(pets / opened(pets).paths[9])
    assert newer(opened(pets), features) is None
    (pets / opened(pets).paths[0]).unlink()
    assert newer(opened(pets), features) == "the first 6 pictures are others by now"


def test_what_was_left_out_is_no_news(pets: Path) -> None:
    (pets / "cat" / "00.png").write_bytes(b"spoiled")
    (pets / "cat" / "02.png").unlink()
    (pets / "cat" / "02.png").symlink_to("nowhere.png")
    features = made(pets, on_error="skip")
    assert features.manifest.skipped == 2
    assert newer(opened(pets), features) is None
    removed(pets)
    assert newer(opened(pets), features) == "1 removed"


def test_where_no_file_is_remembered_a_change_has_no_number(pets: Path) -> None:
    features = made(pets)
    (features.folder / "files.bin").unlink()
    assert newer(opened(pets), features) is None
    added(pets)
    assert newer(opened(pets), features) == "the files have changed"


# ---- train-head


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def said(place: Place, *words: str) -> str | None:
    """What `train-head` says of newer pictures."""
    stderr = place.run("train-head", "--head", "ridge", *words).stderr
    found = [line for line in stderr.splitlines() if "newer than its features" in line]
    assert len(found) < 2
    return found[0] if found else None


def command_in(line: str) -> list[str]:
    """The command that it names."""
    found = re.search("`headstart (.*)`", line)
    assert found
    return shlex.split(found[1])


def test_train_head_says_what_is_newer_and_the_command_that_mends_it(place: Place, pets: Path) -> None:
    place.run("extract", "--dataset", f"folder:{pets}", *SMALL)
    assert said(place) is None
    several(pets)
    line = said(place)
    assert line is not None
    assert line.startswith(
        "note: folder-pets is newer than its features: 1 added, 1 removed, 1 moved, 1 touched; `headstart "
    )
    assert line.endswith("` brings them up to date")
    (outcome,) = json.loads(place.run(*command_in(line), "--json").stdout.splitlines()[-1])
    assert outcome["computed"] == 2
    assert said(place) is None
    pets.rename(pets.parent / "elsewhere")
    assert said(place) is None


def test_train_head_says_which_split_is_newer_and_that_there_are_others(place: Place, pets: Path) -> None:
    shutil.copytree(pets, pets.parent / "sides" / "train")
    shutil.copytree(pets, pets.parent / "sides" / "test")
    sides = pets.parent / "sides"
    place.run("extract", "--dataset", f"folder:{sides}", *SMALL)
    place.run("extract", "--dataset", f"folder:{sides}", "--no-splits", *SMALL)
    chosen = ("--dataset", f"folder:{sides}")
    assert said(place, *chosen) is None
    assert said(place, "--dataset", f"classes:{sides}") is None
    removed(sides / "test")
    assert "features: test: 1 removed; `" in str(said(place, *chosen))
    line = str(said(place, "--dataset", f"classes:{sides}"))
    assert "features: 1 removed; `" in line
    assert f"--dataset classes:{sides}" in line


def test_train_head_looks_through_the_validation_split_too(place: Place, pets: Path) -> None:
    sides = pets.parent / "sides"
    for split in ("train", "val", "test"):
        shutil.copytree(pets, sides / split)
    place.run("extract", "--dataset", f"folder:{sides}", *SMALL)
    assert said(place) is None
    relabelled(sides / "val")
    assert "features: val: 1 moved; `" in str(said(place))


def test_the_command_brings_kept_views_up_to_date_too(place: Place, pets: Path) -> None:
    place.run("extract", "--dataset", f"folder:{pets}", *SMALL, "--views", "flip")
    added(pets)
    line = said(place, "--views")
    assert line is not None
    place.run(*command_in(line))
    assert said(place, "--views") is None
    added_again = pets / "dog" / "more.png"
    write_picture(added_again, 51)
    place.run("extract", "--dataset", f"folder:{pets}", *SMALL)
    stale = place.fails("train-head", "--views")
    assert "the view flip is of other pictures, labels or rows than" in stale
    place.run(*command_in(stale))
    assert said(place, "--views") is None


def test_views_that_a_head_was_trained_on_are_no_litter(place: Place, pets: Path) -> None:
    place.run("extract", "--dataset", f"folder:{pets}", *SMALL, "--views", "flip")
    place.run("train-head", "--head", "ridge", "--views")
    added(pets)
    place.run("extract", "--dataset", f"folder:{pets}", *SMALL, "--views", "flip")
    assert "nothing to remove" in place.run("cache", "gc").stdout
    shutil.rmtree(place.root / "runs")
    assert len([line for line in place.run("cache", "gc").stdout.splitlines() if ": removed" in line]) == 2


@pytest.mark.parametrize(
    ("before", "words"), [("all", "it is divided into train, test by now"), ("train", "it has no splits by now")]
)
def test_train_head_says_that_a_folder_is_divided_in_another_way(place: Place, pets: Path, before: str, words: str) -> None:
    sides = pets.parent / "sides"
    for kind in (before, "train" if before == "all" else "all"):
        shutil.rmtree(sides, ignore_errors=True)
        for folder in (sides,) if kind == "all" else (sides / "train", sides / "test"):
            shutil.copytree(pets, folder)
        if kind == before:
            place.run("extract", "--dataset", f"folder:{sides}", *SMALL)
    line = said(place)
    assert line is not None
    assert f"folder-sides is newer than its features: {words}; `" in line
    place.run(*command_in(line))
    assert said(place) is None


def test_train_head_looks_through_lists_too(place: Place, pets: Path) -> None:
    rows = [f"{path.relative_to(pets.parent)},{path.parent.name}" for path in sorted(pets.rglob("*.png"))]
    table = pets.parent / "pets.csv"
    table.write_text("\n".join(["path,label", *rows]))
    place.run("extract", "--dataset", f"list:{table}", *SMALL)
    assert said(place) is None
    table.write_text("\n".join(["path,label", *rows[:-1], rows[-1].replace(",dog", ",cat")]))
    line = said(place)
    assert line is not None
    assert "list-pets is newer than its features: labels or class names have changed; `" in line
    place.run(*command_in(line))
    assert said(place) is None


def test_train_head_says_nothing_of_what_it_cannot_look_through(place: Place) -> None:
    place.run("extract", "--dataset", "digits", "--limit", "60", *SMALL)
    assert said(place) is None
