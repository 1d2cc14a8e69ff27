"""What is said of labelled pictures: a table stays a table whatever the names are."""

import csv
import io

from headstart.console.words import predictions
from headstart.core.heads.predict import Photo

PHOTOS = (
    Photo("frog.jpg", {"one": (("frog", 0.75), ("cat", 0.25)), "two": (("cat", 0.5), ("dog", 0.25))}),
    Photo('odd "name", truly\n.jpg', {"one": (("a, b", 1.0),), "two": ()}),
    Photo("bad.jpg", {}, "cut off"),
)


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
