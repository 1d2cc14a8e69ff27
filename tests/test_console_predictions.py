"""What is said of labelled pictures: a table stays a table whatever the names are."""

import csv
import io

import pytest

from headstart.console import predictions
from headstart.core.heads.predict import Photo, Possible

PHOTOS = (
    Photo("frog.jpg", {"one": (("frog", 0.75), ("cat", 0.25)), "two": (("cat", 0.5), ("dog", 0.25))}),
    Photo('odd "name", truly\n.jpg', {"one": (("a, b", 1.0),), "two": ()}),
    Photo("bad.jpg", {}, "cut off"),
)
LABELS = {"one": (("cat", 0.5), ("dog", 0.4)), "two": (("cat", 0.2),)}
COVERED = (
    Photo("a.jpg", LABELS, None, {"one": Possible(("cat", "dog"), 10), "two": Possible(tuple("abcdef"), 10)}),
    Photo("bad.jpg", {}, "cut off"),
)
TITLES = {"one": "resnet50", "two": "vgg16"}


def test_predictions_have_a_line_for_each_picture_and_a_column_for_each_head() -> None:
    lines = predictions.table(PHOTOS, {"one": "resnet50", "two": "vgg16"}).split("\n")
    assert len(lines) == 1 + len(PHOTOS)
    assert lines[0].split() == ["picture", "resnet50", "vgg16"]
    column = lines[0].index("vgg16")
    assert lines[1].startswith("frog.jpg")
    assert "frog 75.0%, cat 25.0%" in lines[1][:column]
    assert lines[1][column:] == "cat 50.0%, dog 25.0%"
    assert "can't be read: cut off" in lines[3]


def test_a_pictures_name_cannot_move_the_cursor() -> None:
    found = predictions.table([Photo("\x1b[2Jevil\r\n.jpg", {"one": (("a\x1b[1m", 1.0),)})], {"one": "resnet50"})
    assert len(found.split("\n")) == 2
    assert "\x1b" not in found
    assert "\r" not in found


def test_predictions_as_csv_have_a_line_for_each_picture_head_and_rank() -> None:
    found = list(csv.DictReader(io.StringIO(predictions.as_csv(PHOTOS), newline=""), strict=True))
    assert [(line["picture"], line["head"], line["rank"], line["label"], line["probability"]) for line in found] == [
        ("frog.jpg", "one", "1", "frog", "0.750000"),
        ("frog.jpg", "one", "2", "cat", "0.250000"),
        ("frog.jpg", "two", "1", "cat", "0.500000"),
        ("frog.jpg", "two", "2", "dog", "0.250000"),
        ('odd "name", truly\n.jpg', "one", "1", "a, b", "1.000000"),
        ("bad.jpg", "", "", "", ""),
    ]
    assert [line["error"] for line in found] == [""] * 5 + ["cut off"]


def test_a_coverage_gives_each_head_a_second_column() -> None:
    lines = predictions.table(COVERED, TITLES, 0.95).split("\n")
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]
    assert cells == [
        ["picture", "resnet50", "95% set", "vgg16", "95% set"],
        ["a.jpg", "cat 50.0%, dog 40.0%", "cat or dog", "cat 20.0%", "unsure (6 classes possible)"],
        ["bad.jpg", "can't be read: cut off"],
    ]
    assert "set" not in predictions.table(COVERED, TITLES)
    assert "99.9% set" in predictions.table(COVERED, TITLES, 0.999)


def test_a_coverage_gives_csv_a_last_column() -> None:
    found = list(csv.DictReader(io.StringIO(predictions.as_csv(COVERED, 0.95), newline=""), strict=True))
    assert [(line["head"], line["rank"], line["set"]) for line in found] == [
        ("one", "1", "cat or dog"),
        ("one", "2", "cat or dog"),
        ("two", "1", "unsure (6 classes possible)"),
        ("", "", ""),
    ]
    assert found[-1]["error"] == "cut off"
    assert "set" not in predictions.as_csv(COVERED).split("\n")[0]


def test_a_coverage_gives_json_itself_and_whole_sets() -> None:
    sure, bad = predictions.as_json(COVERED, 0.95)
    assert (sure["coverage"], sure["sets"]) == (0.95, {"one": ["cat", "dog"], "two": list("abcdef")})
    assert (bad["coverage"], bad["sets"], bad["error"]) == (0.95, {}, "cut off")
    assert [set(found) for found in predictions.as_json(PHOTOS)] == [{"name", "labels", "error"}] * 3


@pytest.mark.parametrize(
    ("names", "of", "words"),
    [
        ((), 10, "unsure (no class is likely enough)"),
        (("cat",), 2, "cat"),
        (("cat", "dog"), 10, "cat or dog"),
        (("cat", "dog", "frog"), 10, "cat, dog or frog"),
        (("cat", "dog"), 2, "unsure (2 classes possible)"),
        (tuple(str(i) for i in range(1000)), 1000, "unsure (1,000 classes possible)"),
    ],
)
def test_a_set_in_words(names: tuple[str, ...], of: int, words: str) -> None:
    assert predictions.reads(Possible(names, of)) == words
