"""Corrected labels in Python: what the commands do with a file of corrections, and the same notes."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_samples import SMALL as DEVICE
from api_samples import coloured, here, pets
from extract_samples import encoded

import headstart as hs
from headstart.core.cache import corrections
from headstart.core.cache.corrected_sets import store_of
from headstart.core.cache.corrections import LABEL, REMOVE, UNDO, Correction
from headstart.export import exporting

__all__ = ["here"]

SMALL: dict[str, Any] = {**DEVICE, "precision": "fp32", "engine": "eager"}
RIDGE: dict[str, Any] = {"head": "ridge", "penalty": 1.0, "device": "cpu"}


class Told(hs.Observer):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def mark(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def mislabelled(root: Path) -> list[Correction]:
    """Pictures of three classes, divided into train and test, two of each part's blue ones in the folder red; the decisions
    that mend this."""
    found = []
    for split, first in (("train", 0), ("test", 100)):
        pets(root / split)
        for number in (0, 1):
            wrong = root / split / "red" / f"blue{number}.png"
            wrong.write_bytes(encoded(coloured("blue", first + 50 + number), "PNG"))
            found.append(Correction(mark(wrong), LABEL, "blue", "red"))
        for kept in (root / split).rglob("[0-9].png"):  # other pictures than those of the other split
            kept.write_bytes(encoded(coloured(kept.parent.name, first + int(kept.stem)), "PNG"))
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, the decisions that mend them, and their features with a mirrored view."""
    root = tmp_path_factory.mktemp("made")
    corrections.append(root / "corrections.csv", mislabelled(root / "pets"))
    hs.extract(root / "pets", model="resnet18", views="flip", features_dir=root / "features", **SMALL)
    return root


@pytest.fixture
def path(here: Path, made: Path) -> Path:
    """The same in the working directory: the file of decisions."""
    shutil.copytree(made, here, dirs_exist_ok=True)
    return here / "corrections.csv"


def test_a_head_is_trained_and_tested_on_corrected_labels(path: Path) -> None:
    features, told = hs.extract("folder:pets", model="resnet18", **SMALL), Told()
    before, after = hs.train(features, **RIDGE).run, hs.train(features, corrections=path, observer=told, **RIDGE).run
    assert before is not None
    assert after is not None
    note = "labels corrected: 4 changed, 0 removed, by corrections.csv"
    assert note in after.notes
    assert f"resnet18 folder-pets: {note}" in told.said
    assert not any("corrected" in one for one in before.notes)
    assert before.evaluation.overall.correct <= 24 < after.evaluation.overall.correct == 26
    again = hs.train(features, corrections="corrections.csv", **RIDGE).run
    assert again is not None
    assert again.train.digest == after.train.digest
    assert len(store_of(features.folders[0].parent).sets()) == 2


def test_the_command_makes_the_same_head(path: Path) -> None:
    from click.testing import CliRunner

    from headstart.core import cli
    from headstart.core.heads.runs import RunStore

    features = hs.extract("folder:pets", model="resnet18", **SMALL)
    here = hs.train(features, corrections=path, **RIDGE).run
    words = ["train-head", "--head", "ridge", "--penalty", "1", "--corrections", str(path), "--device", "cpu"]
    result = CliRunner().invoke(cli.cli, words)
    assert result.exit_code == 0, result.output
    (there,) = RunStore(Path("runs")).runs()
    assert here is not None
    assert (here.train, here.test, here.evaluation) == (there.train, there.test, there.evaluation)
    assert here.notes == there.notes


def test_extracted_features_have_the_corrected_labels(path: Path) -> None:
    told = Told()
    plain = hs.extract("folder:pets", model="resnet18", **SMALL)
    features = hs.extract("folder:pets", model="resnet18", corrections=path, observer=told, **SMALL)
    assert "resnet18 folder-pets: labels corrected: 4 changed, 0 removed, by corrections.csv" in told.said
    assert int((features.y != plain.y).sum()) == 4
    assert (features.ids == plain.ids).all()
    assert np.array_equal(features.X, plain.X)
    run = hs.train(features, **RIDGE).run
    assert run is not None
    assert run.evaluation.overall.accuracy == 1.0
    assert "labels corrected: 4 changed, 0 removed, by corrections.csv" in run.notes
    with pytest.raises(hs.HeadstartError, match=r"these have corrected labels already; leave corrections out, or give"):
        hs.train(features, corrections=path, **RIDGE)


def test_removed_pictures_are_in_no_array(path: Path) -> None:
    gone = sorted(Path("pets").rglob("green/[0-3].png"))
    corrections.append(path, [Correction(mark(file), REMOVE) for file in gone])
    features = hs.extract("folder:pets", model="resnet18", corrections=path, **SMALL)
    assert (len(features.train), len(features.test)) == (22, 22)
    assert not any(f"green/{number}.png" in features.ids.tolist() for number in range(4))


def test_views_are_corrected_too(path: Path) -> None:
    plain = hs.extract("folder:pets", model="resnet18", views="flip", **SMALL)
    other = path.with_name("other.csv")
    corrections.append(other, [Correction(mark(Path("pets/train/green/0.png")), REMOVE)])
    run = hs.train(plain, corrections=path, views=True, **RIDGE).run
    assert run is not None
    assert run.evaluation.overall.accuracy == 1.0
    features = hs.extract("folder:pets", model="resnet18", views="flip", corrections=path, **SMALL)
    hs.train(plain, corrections=other, views=True, **RIDGE)  # copies of the views that are made later are not taken
    again = hs.train(features, views=True, **RIDGE).run
    assert again is not None
    assert again.evaluation == run.evaluation
    assert again.kept_views == run.kept_views


@pytest.mark.parametrize("fraction", [None, 0.25])
def test_no_row_beyond_those_asked_for_takes_a_removed_ones_place(here: Path, fraction: float | None) -> None:
    pets(here / "pets", 12)
    hs.extract("folder:pets", model="resnet18", **SMALL)
    features = hs.extract("folder:pets", model="resnet18", limit=18, **SMALL)
    gone = [mark(here / "pets" / name) for name in features.ids[:3].tolist()]
    corrections.append(here / "corrections.csv", [Correction(one, REMOVE) for one in gone])
    run = hs.train(features, corrections="corrections.csv", test_fraction=fraction, **RIDGE).run
    assert run is not None
    assert run.train_rows <= 15
    if fraction is None:
        assert run.train_rows == 15


def test_a_file_without_a_standing_decision_changes_nothing(path: Path) -> None:
    decided = corrections.read(path).stands
    corrections.append(path, [Correction(one, UNDO) for one in decided])
    told, features = Told(), hs.extract("folder:pets", model="resnet18", **SMALL)
    again = hs.extract("folder:pets", model="resnet18", corrections=path, **SMALL)
    assert again.folders == features.folders
    hs.train(features, corrections=path, observer=told, **RIDGE)
    assert any("no decision stands; the labels are as they were given" in one for one in told.said)


def test_a_cross_validated_head_is_not_scored_on_its_own_pictures_under_other_labels(here: Path) -> None:
    pets(here / "pets")
    corrections.append(here / "corrections.csv", [Correction(mark(here / "pets/red/0.png"), LABEL, "blue")])
    plain = hs.extract("folder:pets", model="resnet18", **SMALL)
    head = hs.train(plain, corrections="corrections.csv", **RIDGE)
    fixed = hs.extract("folder:pets", model="resnet18", corrections="corrections.csv", **SMALL)
    for features in (plain, fixed):
        with pytest.raises(hs.HeadstartError, match="the head was trained on these"):
            head.score(features)
    with pytest.raises(hs.HeadstartError, match="the head was trained on these"):
        hs.train(plain, **RIDGE).score(fixed)
    draw = here / "others"
    pets(draw, 5)
    assert head.score(hs.extract(draw, model="resnet18", **SMALL)) > 0.8


@pytest.mark.parametrize("use", ["train", "extract"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, r"^corrections is 3, expected a text$"),
        ("", r"^corrections is '', expected a text$"),
        ("none.csv", r"^none\.csv: no such file of corrections; `headstart review` makes one$"),
        ("s3://bucket/x.csv", r"^corrections s3://bucket/x\.csv: expected a folder or file of this machine"),
        ("bad.csv", r"^bad\.csv, line 1: found 'nonsense', expected the columns picture"),
        ("stray.csv", r"^stray\.csv: the one decision is not on a picture of folder-pets, by content"),
    ],
)
def test_what_can_not_be_meant_is_said(path: Path, use: str, given: object, said: str) -> None:
    Path("bad.csv").write_text("nonsense\n")
    corrections.append(Path("stray.csv"), [Correction("0" * 64, REMOVE)])
    calls: dict[str, Callable[[Any], Any]] = {
        "train": lambda file: hs.train(hs.extract("folder:pets", model="resnet18", **SMALL), corrections=file, **RIDGE),
        "extract": lambda file: hs.extract("folder:pets", model="resnet18", corrections=file, **SMALL),
    }
    with pytest.raises(hs.HeadstartError, match=said) as caught:
        calls[use](given)
    assert "--" not in str(caught.value)


def test_an_export_is_measured_on_corrected_labels(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = hs.train(hs.extract("folder:pets", model="resnet18", **SMALL), corrections=path, **RIDGE)
    with pytest.raises(hs.HeadstartError, match=r"^corrections: with limit 0 no accuracy is measured; leave"):
        head.export("head.onnx", limit=0, corrections=path)
    monkeypatch.setattr(exporting, "export", lambda _w, _h, request, _o: request)  # which takes half a minute
    asked: Any = head.export("head.onnx", corrections="corrections.csv")
    assert asked.corrections == Path("corrections.csv")
