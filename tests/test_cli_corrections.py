"""Corrections on the command line: labels as people corrected them, to train and to test by; no picture changes."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_samples import Place
from heads_samples import write_pair
from PIL import Image

from headstart.core.cache import corrections
from headstart.core.cache.corrected_sets import by_digest, store_of
from headstart.core.cache.corrections import KEEP, LABEL, REMOVE, UNDO, UNSURE, Correction
from headstart.core.cache.store import FeatureStore
from headstart.core.extract import datasets
from headstart.core.heads.runs import Run, RunStore
from headstart.core.heads.sessions import room
from headstart.export.card import model_card
from headstart.inference.trained import of_run
from headstart.pictures.opened import opened
from headstart.workspace import Workspace

SMALL = ("-m", "resnet18", "--weights", "random:0", "--image-size", "32", "--precision", "fp32")
COLOURS = {"blue": (20, 20, 220), "red": (220, 20, 20)}


def draw(path: Path, colour: str, number: int) -> str:
    """A picture that is like no other; returns its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng([number, *colour.encode()])
    pixels = np.array(COLOURS[colour]) + random.integers(-20, 20, (32, 32, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def drawn(folder: Path, train: int = 20, test: int = 20) -> dict[str, tuple[str, str]]:
    """Pictures of two colours, a tenth of each under the other's name; returns colour and class by content."""
    found = {}
    for split, count in (("train", train), ("test", test)):
        for own, other in (("blue", "red"), ("red", "blue")):
            for number in range(count):
                given = other if number >= count - count // 10 else own
                at = number + (0 if split == "train" else 1000)
                found[draw(folder / split / given / f"{own}{number}.png", own, at)] = (own, given)
    return found


def mended(pictures: dict[str, tuple[str, str]]) -> list[Correction]:
    return [Correction(mark, LABEL, own, given) for mark, (own, given) in pictures.items() if own != given]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, dict[str, tuple[str, str]]]:
    place = Place(tmp_path_factory.mktemp("made"))
    pictures = drawn(place.root / "pictures")
    place.run("extract", *SMALL, "--dataset", f"folder:{place.root / 'pictures'}")
    return place, pictures


@pytest.fixture
def place(made: tuple[Place, dict[str, tuple[str, str]]], tmp_path: Path) -> Place:
    """Features of the drawn pictures, which no other test changes."""
    shutil.copytree(made[0].root / "features", tmp_path / "features")
    return Place(tmp_path)


@pytest.fixture
def pictures(made: tuple[Place, dict[str, tuple[str, str]]]) -> dict[str, tuple[str, str]]:
    return made[1]


def train(place: Place, *words: str) -> Run:
    """The run of a head that is trained on corrected labels."""
    place.run("train-head", "--head", "logreg", "--corrections", str(place.root / "corrections.csv"), *words)
    return RunStore(place.root / "runs").runs()[-1]


def decide(place: Place, *decisions: Correction) -> Path:
    path = place.root / "corrections.csv"
    corrections.append(path, decisions)
    return path


def kept_features(place: Place) -> dict[str, bytes]:
    return {path.name + path.parent.name: path.read_bytes() for path in (place.root / "features").glob("[!.]*/*")}


def test_a_head_is_trained_and_tested_on_corrected_labels(place: Place, pictures: dict[str, tuple[str, str]]) -> None:
    before = kept_features(place)
    place.run("train-head", "--head", "logreg")
    decide(place, *mended(pictures))
    run = train(place, "--predictions", str(place.root / "said.csv"))
    first, _ = RunStore(place.root / "runs").runs()
    note = "labels corrected: 8 changed, 0 removed, by corrections.csv"
    assert (first.evaluation.overall.accuracy, run.evaluation.overall.accuracy) == (0.9, 1.0)
    assert (first.evaluation.overall.total, run.evaluation.overall.total) == (40, 40)
    assert note in run.notes
    assert note not in first.notes
    assert kept_features(place) == before
    assert len((place.root / "said.csv").read_text().splitlines()) == 41

    said = place.run("report", "--json").stdout
    assert note in said
    report = json.loads((place.root / "runs" / "report" / "report.json").read_text())
    assert note in json.dumps(report)
    assert note in (place.root / "runs" / "report" / "report.md").read_text()
    assert "older than" not in json.dumps(report)

    again = place.run("train-head", "--head", "logreg", "--json").stdout
    assert note not in again
    assert RunStore(place.root / "runs").runs()[-1].evaluation.overall.accuracy == 0.9


def test_removed_pictures_are_left_out_and_a_new_label_makes_a_class(
    place: Place, pictures: dict[str, tuple[str, str]]
) -> None:
    marks = [mark for mark, (own, given) in pictures.items() if own == given]
    stray = Correction("0" * 64, REMOVE)
    decide(place, *(Correction(mark, LABEL, "sky") for mark in marks[:4]), Correction(marks[4], REMOVE), stray)
    decide(place, Correction(marks[5], UNSURE), Correction(marks[6], KEEP))
    result = place.run("train-head", "--head", "logreg", "--corrections", str(place.root / "corrections.csv"))
    (run,) = RunStore(place.root / "runs").runs()
    assert run.key.classes == ("blue", "red", "sky")
    assert run.train_rows == 39
    assert "labels corrected: 4 changed, 1 removed, 1 unsure kept as they were, by corrections.csv" in run.notes
    assert "1 of 8 decisions in corrections.csv is on a picture that is not in this data set" in result.stderr
    assert not any("unreadable" in note for note in run.notes)


def test_removed_test_pictures_are_not_tested_on(place: Place, pictures: dict[str, tuple[str, str]]) -> None:
    wrong = [one.picture for one in mended(pictures)]
    decide(place, *(Correction(mark, REMOVE) for mark in wrong))
    run = train(place)
    assert run.train_rows == 36
    assert (run.evaluation.overall.total, run.evaluation.overall.accuracy) == (36, 1.0)


def test_decisions_on_other_pictures_alone_are_an_error(place: Place) -> None:
    decide(place, Correction("0" * 64, LABEL, "blue"))
    line = place.fails("train-head", "--corrections", str(place.root / "corrections.csv"))
    assert "the one decision is not on a picture of folder-pictures, by content" in line
    assert "headstart cache ls" in line
    assert not (place.root / "features" / ".corrected").exists()


def test_of_decisions_that_were_all_undone_it_is_said(place: Place, pictures: dict[str, tuple[str, str]]) -> None:
    (mark, *_) = pictures
    decide(place, Correction(mark, REMOVE), Correction(mark, UNDO))
    result = place.run("train-head", "--head", "logreg", "--corrections", str(place.root / "corrections.csv"))
    assert "no decision stands; the labels are as they were given" in result.stderr


def test_a_torn_line_is_said(place: Place, pictures: dict[str, tuple[str, str]]) -> None:
    path = decide(place, *mended(pictures))
    with path.open("ab") as file:
        file.write(b"0123,lab")
    result = place.run("train-head", "--head", "logreg", "--corrections", str(path))
    assert "its last line was broken off" in result.stderr


def test_a_class_that_loses_all_pictures_is_named(place: Place, pictures: dict[str, tuple[str, str]]) -> None:
    blues = [mark for mark, (_, given) in pictures.items() if given == "blue"]
    decide(place, *(Correction(mark, LABEL, "sky") for mark in blues))
    result = place.run("train-head", "--head", "logreg", "--corrections", str(place.root / "corrections.csv"))
    assert "no picture is left of the class blue" in result.stderr
    assert "40 changed" in result.stderr


def test_one_class_left_is_an_error(place: Place, pictures: dict[str, tuple[str, str]]) -> None:
    blues = [mark for mark, (_, given) in pictures.items() if given == "blue"]
    decide(place, *(Correction(mark, LABEL, "red") for mark in blues))
    line = place.fails("train-head", "--corrections", str(place.root / "corrections.csv"))
    assert "all 40 training rows are of the class red; a head needs two classes or more" in line


def test_a_test_split_without_pictures_is_an_error(place: Place, pictures: dict[str, tuple[str, str]]) -> None:
    source = next(one for one in FeatureStore(place.root / "features").sets() if one.manifest.split == "test")
    digests = source.load().digests
    assert digests is not None
    decide(place, *(Correction(bytes(mark).hex(), REMOVE) for mark in digests))
    line = place.fails("train-head", "--corrections", str(place.root / "corrections.csv"))
    assert "all 40 test pictures are removed by corrections.csv; a line with the action undo takes a decision back" in line


def test_in_blocks_it_is_the_same(
    place: Place, pictures: dict[str, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "fits", lambda *_: False)  # 80 rows always do
    decide(place, *mended(pictures))
    run = train(place, "--memory", "100MB")
    assert run.in_blocks is not None
    assert run.evaluation.overall.accuracy == 1.0
    assert "labels corrected: 8 changed, 0 removed, by corrections.csv" in run.notes


def test_views_are_corrected_too(made: tuple[Place, Any], tmp_path: Path) -> None:
    place = Place(tmp_path)
    folder = made[0].root / "pictures"
    place.run("extract", *SMALL, "--dataset", f"folder:{folder}", "--views", "flip")
    decide(place, *mended(made[1]))
    run = train(place, "--views")
    assert run.evaluation.overall.accuracy == 1.0
    assert len(run.kept_views) == 2


def test_a_folder_without_labels_becomes_a_classifier(tmp_path: Path) -> None:
    place = Place(tmp_path)
    marks = {draw(tmp_path / "loose" / f"{own}{n}.png", own, n): own for own in COLOURS for n in range(12)}
    place.run("extract", *SMALL, "--dataset", f"folder:{tmp_path / 'loose'}")
    chosen = [*list(marks)[:8], *list(marks)[12:20]]
    decide(place, *(Correction(mark, LABEL, marks[mark]) for mark in chosen))
    run = train(place)
    assert run.key.classes == ("blue", "red")
    assert run.train_rows == 16
    assert "labels corrected: 0 changed, 16 added, 0 removed, 8 without a label left out, by corrections.csv" in run.notes
    source = by_digest(tmp_path / "features")[run.train.digest]
    assert opened(source, tmp_path / "data").rows == 24


def test_copies_in_two_classes_are_decided_on_together(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for own in COLOURS:
        for number in range(8):
            draw(tmp_path / "both" / own / f"{number}.png", own, number)
    mark = draw(tmp_path / "both" / "red" / "copy.png", "blue", 0)
    place.run("extract", *SMALL, "--dataset", f"folder:{tmp_path / 'both'}")
    decide(place, Correction(mark, LABEL, "blue"))
    run = train(place)
    assert "labels corrected: 1 changed, 0 removed, by corrections.csv" in run.notes
    assert run.train_rows == 17


def test_of_two_data_sets_the_one_that_is_named_is_corrected(place: Place, pictures: dict[str, tuple[str, str]]) -> None:
    drawn(place.root / "others", train=10, test=10)
    draw(place.root / "others" / "train" / "red" / "another.png", "red", 5000)
    place.run("extract", *SMALL, "--dataset", f"folder:{place.root / 'others'}")
    decide(place, *mended(pictures))
    words = ("--corrections", str(place.root / "corrections.csv"))
    assert "several feature sets" in place.fails("train-head", *words)
    assert train(place, "--dataset", "folder-pictures").evaluation.overall.accuracy == 1.0


def test_corrected_copies_that_no_head_needs_go_with_gc(place: Place, pictures: dict[str, tuple[str, str]]) -> None:
    decide(place, *mended(pictures))
    train(place)
    first = {one.folder for one in store_of(place.root / "features").sets()}
    (mark, *_) = (mark for mark, (own, given) in pictures.items() if own == given)
    decide(place, Correction(mark, REMOVE))
    train(place)
    place.run("cache", "verify")
    place.run("cache", "gc")
    assert len(store_of(place.root / "features").sets()) == 3  # the test rows of both are the same
    (run, _) = RunStore(place.root / "runs").runs()
    shutil.rmtree(place.root / "runs" / run.name)
    assert ".corrected" not in place.run("cache", "ls").stdout
    place.run("cache", "gc")
    left = {one.folder for one in store_of(place.root / "features").sets()}
    assert len(left) == 2
    assert not left & first


def test_the_same_corrections_are_written_once(place: Place, pictures: dict[str, tuple[str, str]]) -> None:
    decide(place, *mended(pictures))
    train(place)
    store = store_of(place.root / "features")
    before = {path: path.stat().st_mtime_ns for path in store.root.glob("*/*")}
    shard = next(iter(sorted(store.root.glob("*/shard-*.h5"))))
    train(place)
    assert {path: path.stat().st_mtime_ns for path in store.root.glob("*/*")} == before
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + b"?")
    train(place)
    assert shard.read_bytes() == content


def test_the_pictures_of_a_corrected_set_are_opened(place: Place, pictures: dict[str, tuple[str, str]]) -> None:
    decide(place, *(Correction(one.picture, LABEL, "sky") for one in mended(pictures)))
    run = train(place)
    sets = by_digest(place.root / "features")
    assert datasets.recorded_places(sets[run.test.digest].manifest)
    assert opened(sets[run.test.digest], place.root / "data").rows == 40


def test_the_model_card_says_it(place: Place, pictures: dict[str, tuple[str, str]]) -> None:
    decide(place, *mended(pictures))
    run = train(place)
    workspace = Workspace(place.root / "features", place.root / "runs", place.root / "data", "cpu")
    card = model_card(of_run(workspace, run))
    assert "- Note: labels corrected: 8 changed, 0 removed, by corrections.csv" in card


def test_extract_makes_the_copies_that_a_training_takes(made: tuple[Place, Any], place: Place) -> None:
    before = kept_features(place)
    path = decide(place, *mended(made[1]))
    words = (*SMALL, "--dataset", f"folder:{made[0].root / 'pictures'}", "--corrections", str(path))
    result = place.run("extract", *words)
    assert "resnet18 folder-pictures: labels corrected: 8 changed, 0 removed, by corrections.csv" in result.stderr
    assert {name: kept_features(place)[name] for name in before if name.startswith("shard")} == {
        name: content for name, content in before.items() if name.startswith("shard")
    }
    copies = {one.folder for one in store_of(place.root / "features").sets()}
    assert len(copies) == 2
    assert len({one.manifest.classes for one in store_of(place.root / "features").sets()}) == 1
    train(place)
    assert {one.folder for one in store_of(place.root / "features").sets()} == copies
    json.loads(place.run("extract", *words, "--json").stdout.splitlines()[-1])


def test_extract_refuses_corrections_where_it_makes_no_sets(made: tuple[Place, Any], place: Place) -> None:
    path = decide(place, *mended(made[1]))
    words = (*SMALL, "--dataset", f"folder:{made[0].root / 'pictures'}", "--corrections", str(path))
    assert "--dry-run: is about features alone" in place.fails("extract", *words, "--dry-run")
    array = ("--executor", "array", "--task", "1/2")
    assert "--executor array: is about features alone" in place.fails("extract", *words, *array)


def test_a_missing_file_of_corrections_stops_before_anything_is_computed(made: tuple[Place, Any], tmp_path: Path) -> None:
    place = Place(tmp_path)
    words = (*SMALL, "--dataset", f"folder:{made[0].root / 'pictures'}", "--corrections", str(tmp_path / "none.csv"))
    assert "no such file of corrections" in place.fails("extract", *words)
    assert not (tmp_path / "features").exists()


def test_features_that_do_not_say_their_pictures_are_refused(tmp_path: Path) -> None:
    place = Place(tmp_path)
    write_pair(tmp_path / "features")
    decide(place, Correction("0" * 64, REMOVE))
    line = place.fails("train-head", "--corrections", str(place.root / "corrections.csv"))
    assert "is of a version that did not keep which pictures it is of" in line


def test_an_export_is_measured_on_corrected_labels(made: tuple[Place, Any], place: Place) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    path = decide(place, *mended(made[1]))
    run = train(place)
    source = next(one for one in FeatureStore(place.root / "features").sets() if one.manifest.split == "test")
    digests = source.load().digests
    assert digests is not None
    decide(place, Correction(bytes(digests[0]).hex(), REMOVE))
    file, data = place.root / "out" / "model.onnx", f"folder:{made[0].root / 'pictures'}"
    words = ("export", run.name, str(file), "--dataset", data)
    found = json.loads(place.run(*words, "--corrections", str(path), "--json").stdout.splitlines()[-1])
    rows = found["checked"]["on_rows"]
    assert (rows["rows"], rows["right"]["correct"], rows["agreement"]["pictures"]) == (39, 39, 39)
    assert rows["corrected"].startswith("labels corrected: ")
    assert rows["corrected"].endswith(" 1 removed, by corrections.csv")
    assert f"- Note: the file was measured on {rows['corrected']}" in (file.parent / "model-card.md").read_text()
    assert b"labels corrected: " in file.read_bytes()
    assert "with --limit 0 no accuracy" in place.fails(*words, "--limit", "0", "--corrections", str(path))
    other = place.root / "other.csv"
    corrections.append(other, [Correction("0" * 64, REMOVE)])
    line = place.fails("export", run.name, str(file.with_name("b.onnx")), "--dataset", data, "--corrections", str(other))
    assert "none of the 1 decisions is on one of the 40 images" in line
    line = place.fails("export", run.name, str(file.with_name("c.onnx")), "--corrections", "nothere.csv")
    assert "nothere.csv: no such file of corrections" in line
    assert sorted(one.name for one in file.parent.iterdir()) == ["model-card.md", "model.onnx"]
