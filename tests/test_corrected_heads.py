"""Heads on corrected labels: what people decided counts, by the pictures' contents, and nothing kept is changed."""

import json
from pathlib import Path

import numpy as np
import pytest
import review_samples
from cli_samples import Place

from headstart import training
from headstart.auditing.audit import chosen
from headstart.core.cache import corrections
from headstart.core.cache.corrected_sets import store_of
from headstart.core.cache.corrections import LABEL, REMOVE, UNSURE, Correction
from headstart.core.cache.digests import to_hex
from headstart.core.cache.errors import ArgumentInvalid, DataNotFound, FeaturesInvalid
from headstart.core.heads.config import changed
from headstart.core.heads.feature_choice import ANY
from headstart.observer import SILENT
from headstart.pictures.opened import Pictures, opened
from headstart.requests import TrainingRequest
from headstart.workspace import Workspace

LOGREG = changed("standard", {"head": "logreg", "penalty": 10.0})


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """120 pictures of three classes, 20 red ones labelled green, and 90 clean test pictures."""
    root = tmp_path_factory.mktemp("wrong")
    return review_samples.extracted(root, review_samples.draw(root / "pictures", 120, test=90, wrong=20))


def pictures(workspace: Workspace) -> dict[str, str]:
    """The SHA-256 of each picture of the folder's features, by its id."""
    rows = chosen(workspace, (), None, ANY, SILENT)
    return dict(zip((bytes(name).decode() for name in rows.ids), to_hex(np.ascontiguousarray(rows.digests)), strict=True))


def mended(workspace: Workspace) -> list[Correction]:
    """The decisions that make every training label right."""
    return [
        Correction(mark, LABEL, name.rpartition("-")[2].removesuffix(".png"))
        for name, mark in pictures(workspace).items()
        if "train" in name and name.rpartition("-")[2].removesuffix(".png") not in name.partition("/")[0]
    ]


def train(workspace: Workspace, path: Path | None = None, **more: object) -> training.Run:
    (run,) = training.train(workspace, TrainingRequest(config=LOGREG, corrections=path, **more), SILENT)  # type: ignore[arg-type]
    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_head_learns_from_mended_labels_and_the_features_stay_as_they_are(wrong: Workspace, tmp_path: Path) -> None:
    path, decisions = tmp_path / "corrections.csv", mended(wrong)
    assert len(decisions) == 20
    corrections.append(path, decisions)
    kept = contents(wrong.features_dir)
    before, after, again = train(wrong), train(wrong, path), train(wrong)
    assert after.evaluation.overall.accuracy > before.evaluation.overall.accuracy
    assert again.evaluation.overall == before.evaluation.overall  # without the option all is as it was
    assert "labels corrected: 20 changed, 0 removed, by corrections.csv" in after.notes
    assert not any("corrected" in note for note in before.notes)
    assert {name: content for name, content in contents(wrong.features_dir).items() if name in kept} == kept
    made = contents(wrong.features_dir)
    train(wrong, path)
    assert contents(wrong.features_dir) == made  # what is there is not made twice


def test_the_command_says_what_was_corrected(wrong: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    rest = [Correction("a" * 64, REMOVE), Correction(pictures(wrong)["blue/train000-blue.png"], UNSURE)]
    corrections.append(path, [*mended(wrong), *rest])
    place = Place(wrong.features_dir.parent)
    done = place.run("train-head", "--head", "logreg", "--corrections", str(path), "--json")
    assert "labels corrected: 20 changed, 0 removed, 1 unsure kept as they were, by corrections.csv" in done.stderr
    assert "1 of 22 decisions in corrections.csv is on a picture that is not in this data set" in done.stderr
    (run,) = json.loads(done.stdout.splitlines()[-1])
    assert any("labels corrected" in note for note in run["notes"])
    folder = wrong.features_dir.parent / "pictures"
    timed = place.run("bench-inference", "--dataset", f"folder:{folder}", "--limit", "8", "--repeats", "1", "--warmup", "0")
    assert "accuracy here is by the labels as they were given; the head was tested on corrected ones" in timed.stderr
    report = place.run("report").stdout
    assert "labels corrected: 20 changed" in report


def test_a_folder_without_labels_becomes_a_classifier(tmp_path: Path) -> None:
    own = review_samples.extracted(tmp_path, review_samples.unlabelled(tmp_path / "pictures", 60))
    path = tmp_path / "corrections.csv"
    named = {name: name.rpartition("-")[2].removesuffix(".png") for name in pictures(own)}
    corrections.append(path, [Correction(pictures(own)[name], LABEL, label) for name, label in sorted(named.items())[:45]])
    run = train(own, path)
    assert run.key.classes == ("blue", "green", "red")
    assert run.evaluation.overall.total == 45  # the others have no labels yet


def test_pictures_that_are_taken_out_and_new_classes(wrong: Workspace, tmp_path: Path) -> None:
    path, own = tmp_path / "corrections.csv", pictures(wrong)
    gone = sorted(name for name in own if "test" in name)[:10]
    other = sorted(name for name in own if "train" in name)[:9]
    decisions = [
        *(Correction(own[name], REMOVE) for name in gone),
        *(Correction(own[name], LABEL, "ape") for name in other),
    ]
    corrections.append(path, decisions)
    run = train(wrong, path)
    assert run.key.classes == ("blue", "green", "red", "ape")
    assert run.evaluation.overall.total == 80
    sets = [one for one in store_of(wrong.features_dir).sets() if one.manifest.classes == run.key.classes]
    assert {one.manifest.split: one.manifest.rows for one in sets} == {"train": 120, "test": 80}
    (test,) = (one for one in sets if one.manifest.split == "test")
    left_out = [image for shard in test.manifest.shards for image in shard.skipped]
    assert sorted(image.id for image in left_out) == gone
    assert {image.reason for image in left_out} == {"removed by a correction"}
    images, rows = Pictures(opened(test, wrong.data_dir)), test.load()
    for number, name in zip(test.manifest.row_numbers().tolist(), rows.ids.tolist(), strict=True):
        assert images.row(number, name) == number  # they are still found, by the numbers they had


def test_an_audit_and_a_choice_without_corrections_pass_over_corrected_sets(wrong: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    corrections.append(path, mended(wrong))
    train(wrong, path)
    assert store_of(wrong.features_dir).sets()
    rows = chosen(wrong, (), None, ANY, SILENT)
    assert {one.folder.parent for one in rows.sets} == {wrong.features_dir}
    assert len(rows) == 210


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_without_pictures_is_said(wrong: Workspace, tmp_path: Path, split: str) -> None:
    path = tmp_path / "corrections.csv"
    corrections.append(path, [Correction(mark, REMOVE) for name, mark in pictures(wrong).items() if split in name])
    with pytest.raises(FeaturesInvalid, match=rf"all \d+ {split} pictures are removed by corrections.csv; a line with"):
        train(wrong, path)


def test_files_that_can_not_be_meant_are_said_in_a_line(wrong: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    with pytest.raises(DataNotFound, match=r"corrections\.csv: no such file of corrections"):
        train(wrong, path)
    corrections.append(path, [Correction("b" * 64, REMOVE)])
    with pytest.raises(ArgumentInvalid, match=r"the one decision is not on a picture of folder-pictures, by content; name"):
        train(wrong, path)


def test_a_class_that_loses_all_pictures_and_a_line_that_was_broken_off(wrong: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    own = pictures(wrong)
    corrections.append(path, [Correction(mark, REMOVE) for name, mark in own.items() if name.startswith("blue/")])
    with path.open("ab") as file:
        file.write(b"0123")
    done = Place(wrong.features_dir.parent).run("train-head", "--head", "logreg", "--corrections", str(path))
    assert "no picture is left of the class blue" in done.stderr
    assert "its last line was broken off" in done.stderr


def test_one_class_left_is_said_as_ever(wrong: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    corrections.append(path, [Correction(mark, LABEL, "red") for mark in pictures(wrong).values()])
    with pytest.raises(FeaturesInvalid, match=r"class"):
        train(wrong, path)
