"""Reports, studies and timings on data that is not CIFAR-10: to the end, and nothing of one data set beside another.

Real pictures, files and commands; the backbone is untrained, since no accuracy is looked at.
"""

import csv
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import cli_samples
import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from headstart.core.extract import datasets

SMALL = ("-m", "resnet18", "--weights", "random:0", "--image-size", "32", "--precision", "fp32")
LITTLE = (
    "--seeds", "2", "--curve-seeds", "2", "--curve-epochs", "2", "--batch-norm-images", "0", "--bench-limit", "16",
)  # fmt: skip


class Place(cli_samples.Place):
    """A working place where reports are made."""

    def report(self, *words: str) -> list[dict[str, Any]]:
        """The sections of a report made here."""
        document = json.loads(self.run("report", "--json", *words).stdout.splitlines()[-1])
        assert "<h1>" in (self.root / "runs" / "report" / "report.html").read_text(encoding="utf-8")
        return list(document["sections"])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def write_pictures(root: Path, classes: int, each: int, seed: int = 0) -> Path:
    """PNG files of 32 px in a folder for each class; their blue channel is the number of the file."""
    rng = np.random.default_rng(seed)
    for label in range(classes):
        folder = root / f"class-{label:03d}"
        folder.mkdir(parents=True)
        for number in range(each):
            pixels = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8)
            pixels[..., 0] += np.uint8(label * 180 // classes)
            pixels[..., 2] = number
            Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return root


def write_splits(root: Path, classes: int, train: int, test: int, seed: int = 0) -> Path:
    """The same below `train` and `test`."""
    write_pictures(root / "train", classes, train, seed)
    write_pictures(root / "test", classes, test, seed + 1)
    return root


# --------------------------------------------------------------------------------------------------------------- studies


def test_a_study_of_a_data_set_smaller_than_the_default_limit_ends_in_a_report(place: Place) -> None:
    """24,000 rows is the published study's number, not everybody's."""
    plan = place.run("study", "--dataset", "digits", *SMALL, *LITTLE, "--dry-run").stdout
    assert "resnet18 digits train: 1,297 images to extract" in plan
    place.run("study", "--dataset", "digits", *SMALL, *LITTLE)
    (section,) = place.report()
    assert [row["train_rows"] for row in section["rows"]] == [1297, 1297]
    again = place.run("study", "--dataset", "digits", *SMALL, *LITTLE, "--dry-run").stdout
    assert "study recipe, questions already answered" in again
    assert "inference already timed" in again


FOLDERS = {
    "two classes, no splits": lambda root: write_pictures(root / "pets", 2, 20),
    "a name that holds a split's": lambda root: write_pictures(root / "contest", 3, 12),
    "150 sorted classes": lambda root: write_splits(root / "many", 150, 2, 1),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_study_of_a_folder_ends_in_a_report(kind: str, place: Place) -> None:
    root = FOLDERS[kind](place.root)
    place.run("study", "--dataset", f"folder:{root}", *SMALL, *LITTLE)
    (section,) = place.report("--dataset", f"folder:{root}")
    assert section["published"] is None
    for answers in section["models"]["resnet18"].values():
        assert len(answers["seeds"]["accuracies"]) == 2
    names = [one["id"] for found in section["models"]["resnet18"].values() for one in found["mistakes"]]
    assert names
    assert all(any(path.as_posix().endswith(name) for path in root.rglob("*.png")) for name in names)


def test_a_study_of_pictures_without_classes_is_refused_before_anything_is_computed(place: Place) -> None:
    write_pictures(place.root / "one", 1, 3)
    result = place.run("study", "--dataset", f"folder:{place.root / 'one'}", *SMALL, *LITTLE, code=1)
    assert "has one class, class-000; a study needs two or more" in result.stderr
    assert not (place.root / "features").exists()


def test_one_more_head_does_not_hide_what_a_study_answered(place: Place) -> None:
    root = write_splits(place.root / "pets", 2, 24, 12)
    words = ("study", "--dataset", f"folder:{root}", *SMALL, *LITTLE)
    place.run(*words)
    place.run("train-head", "--head", "mlp", "--recipe", "standard", "--epochs", "3")
    (section,) = place.report()
    assert set(section["models"]["resnet18"]) == {
        "study",
        "standard, mlp, as in the study",
        "standard, mlp, changed: epochs 3, least steps 0",
    }
    assert "seeds" in section["models"]["resnet18"]["standard, mlp, as in the study"]
    assert "questions already answered" in place.run(*words).stdout


# --------------------------------------------------------------------------------------------------------------- reports


def test_two_data_sets_in_one_runs_folder_have_a_section_each(place: Place) -> None:
    root = write_splits(place.root / "pets", 2, 20, 10)
    place.run("extract", "--dataset", "digits", *SMALL, "--limit", "60")
    place.run("train-head", "--recipe", "study")
    place.run("extract", "--dataset", f"folder:{root}", *SMALL)
    place.run("train-head", "--dataset", "folder-pets", "--head", "knn")
    digits, pets = place.report("--dataset", f"folder:{root}")
    assert (digits["title"], pets["title"]) == ("digits", "folder-pets")
    assert [row["recipe"] for row in digits["rows"] + pets["rows"]] == ["study", "standard, knn"]
    assert (digits["published"], pets["published"]) == (None, None)
    assert set(pets["models"]["resnet18"]["standard, knn"]["recall"]) == {"class-000", "class-001"}
    text = (place.root / "runs" / "report" / "report.html").read_text(encoding="utf-8")
    assert "Against the published" not in text


def test_pictures_of_other_folders_of_the_same_name_are_never_paired(place: Place) -> None:
    """Sorted folders of equal counts have equal labels: only the pictures' content tells them apart."""
    one, other = (write_splits(place.root / name / "pets", 2, 20, 10, seed) for seed, name in enumerate("ab"))
    place.run("extract", "--dataset", f"folder:{one}", *SMALL)
    place.run("train-head")
    elsewhere = Place(place.root / "elsewhere")
    elsewhere.run("extract", "--dataset", f"folder:{other}", *SMALL[:-4], "--image-size", "64", "--precision", "fp32")
    elsewhere.run("train-head")
    for path in (*(elsewhere.root / "features").iterdir(), *(elsewhere.root / "runs").iterdir()):
        if path.is_dir():  # runs of one second have one name
            name = f"{path.name}-elsewhere" if path.parent.name == "runs" else path.name
            shutil.copytree(path, place.root / path.parent.name / name)
    found = place.report()
    assert len(found) == 2
    assert [section["comparisons"] for section in found] == [[], []]


def test_a_broken_picture_among_the_test_rows_shifts_no_other(place: Place) -> None:
    root = write_splits(place.root / "pets", 3, 12, 20)
    broken = sorted((root / "test").rglob("*.png"))[3]
    broken.write_bytes(b"no picture")
    place.run("extract", "--dataset", f"folder:{root}", *SMALL, "--on-error", "skip")
    place.run("train-head", "--head", "mlp", "--epochs", "1")
    (section,) = place.report("--dataset", f"folder:{root}")
    shown = section["models"]["resnet18"]["standard, mlp, changed: epochs 1, least steps 0"]["mistakes"]
    assert len(shown) > 1
    images = datasets.open_split(f"folder:{root}", "test", place.root)
    for one in shown:
        assert one["id"] == images.ids(one["row"], one["row"] + 1)[0].decode()
        assert (root / "test" / one["id"]).parent.name == one["label"]


def test_a_picture_that_has_gone_is_left_out_of_the_report(place: Place) -> None:
    root = write_splits(place.root / "pets", 2, 20, 10)
    place.run("extract", "--dataset", f"folder:{root}", *SMALL)
    place.run("train-head", "--head", "mlp", "--epochs", "1")
    next((root / "test").rglob("*.png")).unlink()
    assert f"no images of folder-pets in the report: {root / 'test'} holds other images" in place.run("report").stderr


@pytest.mark.parametrize("first", ["all", "splits"])
def test_a_head_of_a_folder_that_was_divided_in_another_way_since_is_reported_as_older(place: Place, first: str) -> None:
    root = place.root / "pets"
    for kind in (first, "splits" if first == "all" else "all"):
        shutil.rmtree(root, ignore_errors=True)
        if kind == "all":
            write_pictures(root, 2, 12)
        else:
            write_splits(root, 2, 8, 4)
        place.run("extract", "--dataset", f"folder:{root}", *SMALL)
        if kind == first:
            place.run("train-head", "--head", "mlp", "--epochs", "1")
    said = "older than its features: the data set is divided in another way by now, as in folder-pets-"
    assert said in place.run("cache", "ls").stderr
    found = place.run("report")
    assert said in found.stdout
    advised = place.run("predict", str(next(root.rglob("*.png")))).stderr
    assert "`headstart train-head -m resnet18 --dataset folder-pets --features-dir " in advised
    why = "the pictures of 1 older snapshot are no longer there as they were: its part of the report has no pictures"
    assert f"{why}\n" in found.stderr
    assert "say where they are" not in found.stderr


def test_the_newest_pictures_come_first_and_older_snapshots_are_said_in_one_line(place: Place) -> None:
    root = write_splits(place.root / "pets", 2, 20, 10)
    for folder in ("train", "test", "test"):
        place.run("extract", "--dataset", f"folder:{root}", *SMALL)
        place.run("train-head", "--head", "ridge", "--penalty", "1")
        next((root / folder).rglob("*.png")).unlink()
        if folder == "train":  # one section, with a current head beside an outdated one
            place.run("extract", "--dataset", f"folder:{root}", *SMALL)
            place.run("train-head", "--head", "ridge", "--penalty", "2")
            (rows,) = [section["rows"] for section in place.report()]
            assert [row["outdated"] for row in rows] == [True, False]
            assert "Best: " in (best := place.run("report").stdout.split("Use it: ")[0])
            assert "heads on these" not in best
    place.run("extract", "--dataset", f"folder:{root}", *SMALL)
    place.run("train-head", "--head", "ridge", "--penalty", "1")
    found = place.run("report")
    lines = [line for line in found.stderr.splitlines() if "older snapshots" in line or "no images of" in line]
    assert lines == [
        "the pictures of 2 older snapshots are no longer there as they were: their parts of the report have no pictures"
    ]
    sections = place.report()
    assert [section["rows"][0]["test_rows"] for section in sections] == [18, 19, 20]
    assert [any(row["outdated"] for row in section["rows"]) for section in sections] == [False, True, True]
    text, page = ((place.root / f"runs/report/report.{kind}").read_text(encoding="utf-8") for kind in ("md", "html"))
    assert text.count("Best: ") == 1
    assert text.index("Best: ") < text.index("These heads are of an earlier snapshot of folder-pets; a section above has")
    assert page.count("These heads are of an earlier snapshot of folder-pets") == 2


def test_a_folder_of_pictures_is_found_where_it_was_and_told_by_its_content(place: Place) -> None:
    root = write_splits(place.root / "pets", 2, 20, 10)
    place.run("extract", "--dataset", f"folder:{root}", *SMALL)
    place.run("train-head", "--head", "mlp", "--epochs", "1", "--seeds", "2")
    place.report()
    assert "data:image" in (place.root / "runs" / "report" / "report.html").read_text(encoding="utf-8")
    root.rename(place.root / "moved")
    assert "say where they are with --dataset" in place.run("report").stderr
    place.report("--dataset", f"folder:{place.root / 'moved'}")
    assert "data:image" in (place.root / "runs" / "report" / "report.html").read_text(encoding="utf-8")


# --------------------------------------------------------------------------------------------------------------- timings


def test_inference_on_another_data_set_is_not_the_runs_own(place: Place) -> None:
    pets = write_splits(place.root / "pets", 2, 20, 10)
    place.run("extract", "--dataset", "digits", *SMALL, "--limit", "60")
    (trained,) = json.loads(place.run("train-head", "--json").stdout.splitlines()[-1])
    place.run("bench-inference", "--limit", "16")
    head = str(place.root / "runs" / trained["name"])
    place.run("bench-inference", "--head", head, "--dataset", f"folder:{pets}", "--limit", "12", "-b", "1")
    (section,) = place.report()
    assert section["rows"][0]["inference"]["images"] == 16
    kept = json.loads((Path(head) / "bench.json").read_text())["timings"]
    assert [timing["dataset"] for timing in kept] == ["digits", "folder-pets"]


# --------------------------------------------------------------------------------------------------------------- predict


def test_two_heads_without_records_have_a_column_each(place: Place) -> None:
    root = write_splits(place.root / "pets", 2, 20, 10)
    place.run("extract", "--dataset", f"folder:{root}", *SMALL)
    heads = []
    for number in range(2):
        (run,) = json.loads(place.run("train-head", "--seed", str(number), "--json").stdout.splitlines()[-1])
        folder = place.root / f"h{number}"
        folder.mkdir()
        shutil.copy(place.root / "runs" / run["name"] / "head.safetensors", folder)
        heads += ["--head", str(folder)]
    picture = str(next(root.rglob("*.png")))
    (photo,) = json.loads(place.run("predict", *heads, picture, "--format", "json").stdout)
    assert set(photo["labels"]) == {str(place.root / "h0"), str(place.root / "h1")}
    assert place.run("predict", *heads, picture).stdout.count("%") == 4


@pytest.mark.parametrize("name", [b"a\x7fb.png", b"\xff.png", "ü\n.png".encode()], ids=repr)
def test_names_that_are_no_plain_text_stay_valid_in_every_format(name: bytes, place: Place) -> None:
    root = write_splits(place.root / "pets", 2, 20, 10)
    place.run("extract", "--dataset", f"folder:{root}", *SMALL)
    place.run("train-head", "--head", "mlp", "--epochs", "1")
    odd = place.root / "odd"
    odd.mkdir()
    path = os.path.join(os.fsencode(odd), name)
    Path(os.fsdecode(path)).write_bytes(next(root.rglob("*.png")).read_bytes())
    for words in (("--format", "json"), ("--json",), ("--format", "csv", "--json")):
        found = json.loads(place.run("predict", str(odd), *words).stdout_bytes.splitlines()[-1])
        assert os.fsencode(found[0]["picture" if "picture" in found[0] else "name"]) == path
    content = place.run("predict", str(odd), "--format", "csv").stdout_bytes.decode("utf-8", "surrogateescape")
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    assert os.fsencode(rows[0]["picture"]) == path
    place.run("report", "--photos", str(odd))


def test_probabilities_that_are_none_are_said_to_be(place: Place) -> None:
    root = write_splits(place.root / "pets", 2, 20, 10)
    place.run("extract", "--dataset", f"folder:{root}", *SMALL)
    place.run("train-head", "--head", "ridge")
    picture = str(next(root.rglob("*.png")))
    assert "log-odds" not in place.run("predict", picture).stderr  # it carries a temperature
    place.run("train-head", "--head", "mlp", "--recipe", "study", "--epochs", "1")
    assert "no probability can exceed 73%" in place.run("predict", picture).stderr


# ------------------------------------------------------------------------------------------- sets without a test split


def last(result: Result) -> Any:
    """The document at the end of a command's output."""
    return json.loads(result.stdout.splitlines()[-1])


def test_no_training_picture_is_a_test_picture_of_a_cross_validated_head(place: Place) -> None:
    """The nearest neighbour of a picture that was trained on is the picture itself: a kept knn head is right on all."""
    root = write_pictures(place.root / "pets", 3, 12)
    place.run("extract", "--dataset", f"folder:{root}", *SMALL)
    predictions = place.root / "said.csv"
    (run,) = last(place.run("train-head", "--head", "knn", "--predictions", str(predictions), "--json"))
    assert (run["evaluated_by"]["kind"], run["train_rows"], run["test"]["rows"]) == ("cross-validation", 36, 36)
    lines = list(csv.DictReader(io.StringIO(predictions.read_text(encoding="utf-8"))))
    right = sum(line["label"] == line["predicted"] for line in lines)
    assert (len(lines), right) == (36, run["evaluation"]["overall"]["correct"])
    (section,) = place.report("--dataset", f"folder:{root}")
    facts = section["models"]["resnet18"]["standard, knn"]
    assert sum(facts["confusion"][i][i] for i in range(3)) == right
    (timed,) = last(place.run("bench-inference", "--dataset", f"folder:{root}", "--repeats", "1", "--json"))
    assert (timed["images"], timed["accuracy"]) == (36, None)
    (place.root / "runs" / run["name"] / "predictions.safetensors").unlink()
    assert "predictions.safetensors: missing" in place.run("report", code=1).stderr


def test_a_cross_validated_heads_own_data_set_is_no_test_of_it_whatever_its_splits(place: Place) -> None:
    root = write_pictures(place.root / "one" / "pets", 2, 12)
    place.run("extract", "--dataset", f"folder:{root}", *SMALL)
    place.run("train-head", "--head", "ridge")
    found = []
    for name in ("pets", "others"):
        split = write_splits(place.root / "two" / name, 2, 4, 4, seed=5)
        (timed,) = last(place.run("bench-inference", "--dataset", f"folder:{split}", "--repeats", "1", "--json"))
        found.append(timed["accuracy"])
    assert found[0] is None
    assert 0 <= found[1] <= 1


def test_a_part_is_held_out_where_that_is_asked_for_and_the_report_tests_on_it(place: Place) -> None:
    root = write_pictures(place.root / "pets", 3, 12)
    place.run("extract", "--dataset", f"folder:{root}", *SMALL)
    (run,) = last(place.run("train-head", "--head", "knn", "--test-fraction", "0.5", "--group-by", r"/\d\d(\d)", "--json"))
    assert run["evaluated_by"]["kind"] == "held out"
    assert run["train_rows"] + run["evaluation"]["overall"]["total"] == 36
    (section,) = place.report()
    (facts,) = section["models"]["resnet18"].values()
    assert sum(map(sum, facts["confusion"])) == run["evaluation"]["overall"]["total"]


def test_records_of_rows_that_are_held_out_no_more_are_in_the_first_table_only(place: Place) -> None:
    root = write_pictures(place.root / "pets", 3, 12)
    place.run("extract", "--dataset", f"folder:{root}", *SMALL)
    (run,) = last(place.run("train-head", "--head", "knn", "--test-fraction", "0.5", "--json"))
    path = place.root / "runs" / run["name"] / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["test"]["used"] = "ab" * 32  # what an earlier division would have left here
    path.write_text(json.dumps(record), encoding="utf-8")
    result = place.run("report")
    assert "can't be told from those it was trained on; it is in Table 1 only" in result.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--test-fraction", "0"), 2, "0.0 is not in the range 0<x<1"),
        (("--test-fraction", "1"), 2, "1.0 is not in the range 0<x<1"),
        (("--test-fraction", "nan"), 2, "is not a finite number"),
        (
            ("--test-fraction", "0.2"),
            1,
            "--test-fraction 0.2, but the data set has a test split of 10 rows; leave the option",
        ),
        (("--group-by", "("), 2, "'(' is no regular expression: missing ), unterminated subpattern at position 0"),
        (("--group-by", "horse"), 1, "--group-by 'horse' matches none of 30 ids; the first id is "),
        (("--group-by", "class"), 1, "--group-by 'class' puts 30 rows into 1 group (class), expected three or more"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_divisions_that_can_not_be_are_refused_in_one_line(
    options: tuple[str, ...], code: int, message: str, place: Place
) -> None:
    root = write_splits(place.root / "pets", 2, 10, 5)
    place.run("extract", "--dataset", f"folder:{root}", *SMALL)
    assert message in place.run("train-head", "--head", "ridge", *options, code=code).stderr.replace("\n", "")
