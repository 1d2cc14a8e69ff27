"""`headstart audit` and `headstart similar` on real files: what a user reads, what is written, and that nothing changes."""

import csv
import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_samples import Place
from heads_samples import blobs, make_key, write_set
from PIL import Image

from headstart.auditing import twins
from headstart.auditing.audit import audit
from headstart.auditing.request import AuditRequest
from headstart.console.words.auditing import audits
from headstart.core.cache.store import FeatureStore
from headstart.core.heads.audit.kept import kept
from headstart.core.heads.audit.labels import Expected
from headstart.observer import SILENT
from headstart.workspace import Workspace

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 200)}


def scene(seed: int, colour: str) -> Image.Image:
    """A picture of large and small parts in the colour of its class, different for each seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(-50, 50, (5, 5, 3)) + np.array(COLOURS[colour])
    return Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize((48, 48), Image.Resampling.BICUBIC)


def folder(root: Path) -> Path:
    """60 training and 15 test pictures of 3 classes. Planted: `green/wrong.png`, which is red, the copies `red/copy.png`
    and, with another label, `blue/other.png`; as test pictures the JPEG `red/twin.jpg` and the copy `blue/leak.png`."""
    for i, (split, count) in enumerate((("train", 20), ("test", 5))):
        for c, colour in enumerate(COLOURS):
            (root / split / colour).mkdir(parents=True)
            for number in range(count):
                scene(1000 * i + 100 * c + number, colour).save(root / split / colour / f"p{number}.png")
    train = root / "train"
    scene(5000, "red").save(train / "green" / "wrong.png")
    shutil.copy(train / "red" / "p1.png", train / "red" / "copy.png")
    shutil.copy(train / "green" / "p2.png", train / "blue" / "other.png")
    shutil.copy(train / "blue" / "p3.png", root / "test" / "blue" / "leak.png")
    scene(4, "red").save(root / "test" / "red" / "twin.jpg", quality=90)
    return root


def state(root: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place with features of the folder by two small untrained networks, and a head on each."""
    found = Place(tmp_path_factory.mktemp("place"))
    pictures = folder(found.root / "pets")
    words = ("--dataset", f"folder:{pictures}", "--weights", "random:0", "--image-size", "32")
    found.run("extract", "-m", "resnet18", "-m", "squeezenet1_1", *words)
    found.run("train-head", "--head", "ridge")
    return found


def audited(place: Place, *words: str) -> tuple[str, dict[str, Any], list[dict[str, str]]]:
    """What was printed, the document, and the lines of the CSV."""
    *lines, document = place.run("audit", "--json", *words).stdout.splitlines()
    found = json.loads(document)
    with Path(found["csv"]).open(newline="", encoding="utf-8") as file:
        return "\n".join(lines), found, list(csv.DictReader(file))


def of_kind(rows: list[dict[str, str]], kind: str) -> list[dict[str, str]]:
    return [row for row in rows if row["kind"] == kind]


@pytest.fixture(scope="module")
def found(place: Place) -> tuple[str, dict[str, Any], list[dict[str, str]]]:
    return audited(place)


Found = tuple[str, dict[str, Any], list[dict[str, str]]]


def test_a_planted_label_comes_first_with_its_own_proposed(found: Found) -> None:
    said, document, rows = found
    first = of_kind(rows, "wrong label")[0]
    assert first["id"] in ("green/wrong.png", "blue/other.png")
    wrong = [row for row in of_kind(rows, "wrong label") if row["id"] == "green/wrong.png"]
    assert [(row["given"], row["suggestion"], row["split"]) for row in wrong] == [("green", "red", "train")]
    expected = document["labels"]["expected_wrong"]
    assert expected["low"] <= expected["count"] <= expected["high"]
    assert "80 are wrong, if other rows are a guide (95 % interval" in said
    assert document["labels"]["suspects"] == len(of_kind(rows, "wrong label"))


def test_copies_leaks_and_conflicting_labels_are_found(found: Found) -> None:
    said, document, rows = found
    assert {row["id"] for row in of_kind(rows, "leak")} == {"blue/leak.png", "red/twin.jpg"}
    assert {row["other"] for row in of_kind(rows, "leak")} == {"blue/p3.png", "red/p4.png"}
    assert document["duplicates"]["groups_of_one_content"] == 3
    assert {row["id"] for row in of_kind(rows, "conflicting labels")} == {"green/p2.png", "blue/other.png"}
    near = of_kind(rows, "near-duplicate")
    assert {frozenset({row["id"], row["other"]}) for row in near} == {frozenset({"red/p4.png", "red/twin.jpg"})}
    assert float(near[0]["score"]) == pytest.approx(1, abs=0.02)
    assert "leaks: 2 of 17 test pictures have a twin in training" in said
    assert "near-duplicates: 1 pair, by their pixels" in said


def test_the_accuracy_is_told_without_the_leaks(found: Found) -> None:
    said, document, _ = found
    accuracies = document["leaks"]["accuracies"]
    assert len(accuracies) == 2
    for one in accuracies:
        assert one["all"]["total"] == 17
        assert one["without_leaks"]["total"] == 15
        assert f"{one['run']}: 2 of 17 test pictures have a twin in training; without them " in said


def test_what_was_found_is_kept_for_trainings_and_reports(place: Place) -> None:
    _, document, _ = audited(place)
    there = kept(place.root / "runs", "folder-pets")
    assert there is not None
    assert (there.leaked, there.test_rows, there.copy_groups, there.near_pairs, there.conflicting) == (2, 17, 3, 1, 1)
    assert there.labels is not None
    assert there.labels.suspects == document["labels"]["suspects"]
    assert sorted(map(len, there.groups)) == [2, 2, 2, 2]
    told = "2 of 17 test pictures have a twin in training (identical, or nearly so by an audit); without them "
    assert place.run("train-head", "-m", "resnet18", "--head", "ridge").stdout.count(told) == 1


def test_one_backbone_can_be_asked_alone(place: Place) -> None:
    said, document, _ = audited(place, "-m", "resnet18", "--csv", str(place.root / "own" / "a.csv"))
    assert document["models"] == ["resnet18"]
    assert document["csv"] == str(place.root / "own" / "a.csv")
    assert "77 pictures" not in said


def test_nothing_is_changed_and_a_list_is_written_only_when_asked(place: Place) -> None:
    before = {**state(place.root / "pets"), **state(place.root / "features")}
    lists = place.root / "lists" / "better.csv"
    said = place.run("audit", "--list", str(lists)).stderr
    assert {**state(place.root / "pets"), **state(place.root / "features")} == before
    with lists.open(newline="", encoding="utf-8") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert len(rows) == 80
    assert rows["../pets/train/green/wrong.png"] == {
        "path": "../pets/train/green/wrong.png",
        "label": "red",
        "split": "train",
    }
    changed = sum(Path(path).parent.name != row["label"] for path, row in rows.items())
    assert f"better.csv: 80 pictures, {changed} of them with another label" in said
    again = place.run(
        "extract", "-m", "resnet18", "--dataset", f"list:{lists}", "--weights", "random:0", "--image-size", "32"
    )
    assert "63 pictures: 63 kept, 0 computed" in again.stdout
    assert "is there already" in place.fails("audit", "-m", "resnet18", "--dataset", "folder-pets", "--list", str(lists))


def test_a_list_must_be_a_csv_that_can_be_written(place: Place, tmp_path: Path) -> None:
    assert "expected a file that ends in .csv" in place.fails("audit", "--list", str(tmp_path / "a.txt"))
    assert "--csv FILE.csv" in place.fails("audit", "--csv", str(tmp_path))


def test_no_file_is_replaced_but_an_earlier_one_of_its_own(place: Place, tmp_path: Path) -> None:
    words = ("audit", "-m", "resnet18", "--dataset", "folder-pets", "--pixels", "none")
    others = {"corrections.csv": b"picture,action,label\n", "dog.png": b"\x89PNG", "map.parquet": b"PAR1 of others"}
    for name, content in others.items():
        path = tmp_path / name
        path.write_bytes(content)
        option = "--parquet" if name.endswith(".parquet") else "--csv"
        line = f"{option} {path}: is there already and was not written by {option}; give another name"
        assert line in place.fails(*words, option, str(path))
        assert path.read_bytes() == content
    both = str(tmp_path / "both.csv")
    assert f"--csv and --list are both {both}" in place.fails(*words, "--csv", both, "--list", both)
    own, empty = tmp_path / "own.csv", tmp_path / "empty.csv"
    empty.touch()
    for path in (own, own, empty):
        place.run(*words, "--csv", str(path))
        assert path.read_text().startswith("id,split,kind,")


def test_a_name_that_no_list_can_say_is_an_error(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for number in range(12):
        name = b"a\xff.png" if number == 3 else f"{number}.png".encode()
        path = Path(os.fsdecode(os.fsencode(tmp_path / "odd" / list(COLOURS)[number % 2]) + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(number, list(COLOURS)[number % 2]).save(path)
    words = ("--dataset", f"folder:{tmp_path}/odd", "--weights", "random:0", "--image-size", "32")
    place.run("extract", "-m", "resnet18", *words)
    line = place.fails("audit", "--pixels", "none", "--list", str(tmp_path / "all.csv"))
    assert "is no UTF-8, as a list must be; rename the file, and audit again" in line
    assert not (tmp_path / "all.csv").exists()


@pytest.mark.parametrize("known", [True, False])
def test_how_far_heads_can_be_trusted_is_said(place: Place, known: bool) -> None:
    here = Workspace(place.root / "features", place.root / "runs", place.root / "data", "cpu")
    found = audit(here, AuditRequest(("resnet18",), "folder-pets", pixels="none"), SILENT)
    assert found.labels is not None
    own = found.labels.audit
    # of three classes alike halfway from the commonest one to all is two thirds: heads that agree with 60 % know too little
    margin = np.where(np.arange(len(own.margin)) < (0.8 if known else 0.6) * len(own.margin), 0.1, -0.1)
    own = dataclasses.replace(own, margin=margin)
    said = audits.found(dataclasses.replace(found, labels=dataclasses.replace(found.labels, audit=own)))
    share = (own.margin >= 0).mean()
    assert f"heads that did not see them agree with {share:.1%} of the labels" in said
    assert ("they know too little of these classes" in said) == (not known)


def test_where_pictures_are_gone_it_says_that_they_were_not_looked_at(place: Place, tmp_path: Path) -> None:
    other = Place(tmp_path)
    shutil.copytree(place.root / "features", tmp_path / "features")
    away = place.root / "away"
    (place.root / "pets").rename(away)
    try:
        said, document, rows = audited(other, "-m", "resnet18", "--dataset", "folder-pets")
    finally:
        away.rename(place.root / "pets")
    assert "not verified by pixels: " in said
    assert "none could be opened: " in said
    assert document["pictures"]["looked_at"] == 0
    assert document["duplicates"]["near_pairs_by_pixels"] == 0
    assert {"blue/leak.png"} <= {row["id"] for row in of_kind(rows, "leak")}


def test_features_of_several_data_sets_must_be_told_apart(tmp_path: Path) -> None:
    place = Place(tmp_path)
    write_set(FeatureStore(tmp_path / "features"), blobs(24), "all", make_key(backbone="resnet18", dataset="one"))
    write_set(FeatureStore(tmp_path / "features"), blobs(24), "all", make_key(backbone="resnet50", dataset="two"))
    assert "say which is meant: --dataset one, --dataset two" in place.fails("audit")
    assert "did not keep which pictures it is of" in place.fails("audit", "--dataset", "one")
    assert "say which is meant: -m resnet18 --dataset one" in place.fails("similar", __file__)


def test_without_features_it_says_how_to_make_them(tmp_path: Path) -> None:
    assert "make them with `headstart extract`" in Place(tmp_path).fails("audit")


def test_pictures_are_looked_at_themselves_as_many_as_asked(place: Place) -> None:
    said, document, _ = audited(place, "-m", "resnet18", "--dataset", "folder-pets", "--pixels", "10")
    assert "pictures: of 10 of 80 looked at, " in said
    assert document["pictures"]["looked_at"] == 10
    assert "pictures: not looked at" in audited(place, "-m", "resnet18", "--dataset", "folder-pets", "--pixels", "none")[0]
    assert "expected all, none or a number of pictures" in place.fails("audit", "--dataset", "folder-pets", "--pixels", "0")


def test_pictures_that_were_not_opened_are_told_with_what_opens_them(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("-m", "resnet18", "--dataset", "folder-pets", "--pixels")
    monkeypatch.setattr(twins, "LOOKED_AT", 3)
    said, document, _ = audited(place, *words, "none")
    count = document["duplicates"]["not_opened"]
    assert 0 < count < 77
    assert (
        f"  {count} pictures were not opened, so that near-duplicates of them were looked for by features alone: " in said
    )
    said, document, rows = audited(place, *words, "all")
    assert document["duplicates"]["not_opened"] == 0
    assert "were not opened" not in said
    near = of_kind(rows, "near-duplicate")  # which pixels propose
    assert {frozenset({row["id"], row["other"]}) for row in near} == {frozenset({"red/p4.png", "red/twin.jpg"})}


@pytest.mark.parametrize("classes", [("a",), ("a", "b")])
def test_odd_sets_are_audited_as_far_as_they_can_be(tmp_path: Path, classes: tuple[str, ...]) -> None:
    place = Place(tmp_path)
    for number, name in enumerate(["a", *[classes[-1]] * 7]):  # of two classes one has a single picture
        path = tmp_path / "few" / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(number, "red").save(path)
    words = ("--dataset", f"folder:{tmp_path / 'few'}", "-m", "resnet18", "--weights", "random:0", "--image-size", "32")
    place.run("extract", *words)
    said, document, _ = audited(place)
    if len(classes) == 1:
        assert "labels: not looked at, all labels are of one class" in said
        assert document["labels"] is None
    else:
        assert "nothing is said of 1, whose class has no other picture" in said or "labels: not looked at" in said
    assert "small classes: a (" in said


def test_labels_that_cannot_be_cross_validated_are_not_looked_at_and_why_is_said(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for number, name in enumerate(("a", "b")):
        path = tmp_path / "two" / name / f"{number}.png"
        path.parent.mkdir(parents=True)
        scene(number, "red").save(path)
    words = ("--dataset", f"folder:{tmp_path / 'two'}", "-m", "resnet18", "--weights", "random:0", "--image-size", "32")
    place.run("extract", *words)
    said, document, _ = audited(place)
    why = "2 rows of 2 classes are too few to be cross-validated: no class has two images"
    assert f"labels: not looked at, {why}\n" in said
    assert document["no_labels"] == why


def test_fewer_suspects_than_expected_are_told_with_the_reason(place: Place) -> None:
    here = Workspace(place.root / "features", place.root / "runs", place.root / "data", "cpu")
    found = audit(here, AuditRequest(("resnet18",), "folder-pets"), SILENT)
    assert found.labels is not None
    own = found.labels.audit
    fewer = dataclasses.replace(own, suspects=own.suspects[:0], expected=Expected(3.0, 1.0, 5.0))
    said = audits.found(dataclasses.replace(found, labels=dataclasses.replace(found.labels, audit=fewer)))
    assert "(95 % interval 1 to 5); 0 suspects: each is likelier of another class and counted once\n" in said
    as_many = dataclasses.replace(fewer, expected=Expected(0.4, 0.0, 1.0))
    said = audits.found(dataclasses.replace(found, labels=dataclasses.replace(found.labels, audit=as_many)))
    assert "; 0 suspects\n" in said


def test_similar_pictures_are_found_the_picture_itself_first(place: Place, tmp_path: Path) -> None:
    scene(3, "red").save(tmp_path / "mine.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    words = ("similar", str(tmp_path / "mine.png"), "-m", "resnet18", "--dataset", "folder-pets", "--topk", "4")
    *lines, document = place.run(*words, "--json").stdout.splitlines()
    (asked,) = json.loads(document)["asked"]
    assert asked["like"][0]["id"] == "red/p3.png"
    assert asked["like"][0]["cosine"] == pytest.approx(1, abs=1e-3)
    assert len(asked["like"]) == 4
    cosines = [one["cosine"] for one in asked["like"]]
    assert cosines == sorted(cosines, reverse=True)
    assert "of 80 pictures, by cosine" in lines[0]
    said = place.run("similar", str(tmp_path / "broken.png"), *words[1:], code=1).stdout
    assert "broken.png: " in said
    assert "red/p3.png" in said
