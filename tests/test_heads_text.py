"""What people read of heads: the lines hold the numbers, and a table stays a table whatever the names are."""

import csv
import dataclasses
import io

import pytest
from heads_samples import make_evaluation, make_run, make_timing
from headstart.core.heads import text
from headstart.core.heads.config import RECIPES, HeadName
from headstart.core.heads.predict import Photo
from headstart.core.heads.statistics.accuracy import Evaluation, Score
from headstart.core.heads.timings import Way

TIMING = make_timing(
    images=1234,
    split_rows=1234,
    way=Way("a computer", "fp32", "eager", 64),
    repeats=3,
    elapsed_s=12.25,
    images_per_s=99.96,
    stages_s={"read": 0.001, "transfer": 0.0005, "preprocess": 0.0005, "backbone": 0.007, "head": 0.001},
    latency_s={"p50": 0.0101, "p90": 0.0202, "p99": 0.0303},
    latency_images=50,
    accuracy=0.8125,
    peak_memory_bytes=123_456_789,
)
PHOTOS = (
    Photo("frog.jpg", {"one": (("frog", 0.75), ("cat", 0.25)), "two": (("cat", 0.5), ("dog", 0.25))}),
    Photo('odd "name", truly\n.jpg', {"one": (("a, b", 1.0),), "two": ()}),
    Photo("bad.jpg", {}, "cut off"),
)


# --------------------------------------------------------------------------------------------------------- training


def test_an_epochs_line_holds_its_number_loss_and_accuracy() -> None:
    found = text.epoch(3, 30, [1.46149], [0.8125])
    assert "epoch   3/30" in found
    assert "loss 1.4615" in found
    assert "81.25%" in found


def test_an_epochs_line_without_validation_says_nothing_of_it() -> None:
    assert text.epoch(3, 5, [1.5], []) == "  epoch   3/5  mean loss 1.5000"


def test_an_epochs_line_of_several_heads_holds_their_means_and_how_many_they_are() -> None:
    found = text.epoch(3, 5, [1.0, 2.0, 3.0], [0.5, 0.75, 1.0])
    assert found == "  epoch   3/5  mean loss of 3 heads 2.0000  validation accuracy 75.00%"
    assert text.epoch(3, 5, [1.0, 2.0], ()) == "  epoch   3/5  mean loss of 2 heads 1.5000"


def test_a_trained_heads_lines_hold_time_accuracy_interval_and_classes() -> None:
    lines = text.trained(make_run(train_rows=21_600, notes=("a stand-in test set", "half"))).split("\n")
    assert lines[0] == "  trained in 0.42 s on 21,600 rows, epoch 2 kept"
    assert lines[1] == "  test accuracy 80.00% (95 % interval 75.11% to 84.13%, 300 images)"
    assert lines[2] == "  by class: cat 90.0%, dog 80.0%, frog 70.0%"
    assert lines[3:] == ["  note: a stand-in test set", "  note: half"]


def test_a_time_shared_by_several_heads_is_said_to_be() -> None:
    (line, *_) = text.trained(make_run(together=5)).split("\n")
    assert line == "  trained in 0.42 s (5 heads at once) on 90 rows, epoch 2 kept"


def test_a_head_without_validation_says_nothing_of_the_epoch_kept() -> None:
    assert "kept" not in text.trained(make_run(best_epoch=None))


def test_a_class_without_test_rows_has_no_accuracy() -> None:
    scores = Evaluation(Score(9, 10), {"cat": Score(9, 10), "dog": Score(0, 0)})
    assert "by class: cat 90.0%, dog -" in text.trained(make_run(evaluation=scores))


def test_of_many_classes_the_worst_are_told() -> None:
    scores = {f"class {i}": Score((7 * i) % 1000, 1000) for i in range(1000)} | {"empty": Score(0, 0)}
    line = text.trained(make_run(evaluation=Evaluation(Score(1, 2), scores))).split("\n")[2]
    assert line.startswith("  worst of 1,001 classes: class 0 0.0%, class 143 0.1%, class 286 0.2%")
    assert (line.count("%"), line.endswith("; all are in run.json")) == (text.MOST_CLASSES, True)


def test_several_seeds_are_summed_up_by_mean_and_deviation() -> None:
    runs = [make_run(evaluation=make_evaluation(*counts)) for counts in ((80, 80, 80), (82, 82, 82), (84, 84, 84))]
    found = text.spread(runs)
    assert found == "resnet50 study: 3 seeds, mean test accuracy 82.00%, standard deviation 2.00 points"


# --------------------------------------------------------------------------------------------------------- inference


def test_a_benchs_lines_hold_speed_latency_stages_and_memory() -> None:
    lines = text.bench("resnet50 study", TIMING, ["untrained"]).split("\n")
    assert lines[0] == "resnet50 study on a computer, fp32, eager"
    assert lines[1] == "  1,234 pets test images in 12.25 s, 100.0 images/s (in batches of 64, median of 3)"
    assert lines[2] == "  one image: p50 10.1 ms, p90 20.2 ms, p99 30.3 ms (50 images)"
    assert "read 1.000 ms (10%), transfer 0.500 ms (5%)" in lines[3]
    assert "backbone 7.000 ms (70%), head 1.000 ms (10%)" in lines[3]
    assert lines[4] == "  accuracy 81.25%, peak memory 123.5 MB"
    assert lines[5:] == ["  note: untrained"]


def test_a_bench_of_some_of_the_images_says_of_how_many() -> None:
    found = text.bench("a head", dataclasses.replace(TIMING, split_rows=10_000), [])
    assert "  1,234 of 10,000 pets test images in 12.25 s" in found


def test_an_accuracy_that_is_not_known_is_left_out() -> None:
    found = text.bench("a head", dataclasses.replace(TIMING, accuracy=None), [])
    assert "accuracy" not in found
    assert found.endswith("\n  peak memory 123.5 MB")


# -------------------------------------------------------------------------------------------------------- predictions


def test_predictions_have_a_line_for_each_picture_and_a_column_for_each_head() -> None:
    lines = text.predictions(PHOTOS, {"one": "resnet50", "two": "vgg16"}).split("\n")
    assert len(lines) == 1 + len(PHOTOS)
    assert lines[0].split() == ["picture", "resnet50", "vgg16"]
    column = lines[0].index("vgg16")
    assert lines[1].startswith("frog.jpg")
    assert "frog 75.0%, cat 25.0%" in lines[1][:column]
    assert lines[1][column:] == "cat 50.0%, dog 25.0%"
    assert "can't be read: cut off" in lines[3]


def test_a_pictures_name_cannot_move_the_cursor() -> None:
    found = text.predictions([Photo("\x1b[2Jevil\r\n.jpg", {"one": (("a\x1b[1m", 1.0),)})], {"one": "resnet50"})
    assert len(found.split("\n")) == 2
    assert "\x1b" not in found
    assert "\r" not in found


def test_predictions_as_csv_have_a_line_for_each_picture_head_and_rank() -> None:
    found = list(csv.DictReader(io.StringIO(text.predictions_csv(PHOTOS), newline=""), strict=True))
    assert [(line["picture"], line["head"], line["rank"], line["label"], line["probability"]) for line in found] == [
        ("frog.jpg", "one", "1", "frog", "0.750000"),
        ("frog.jpg", "one", "2", "cat", "0.250000"),
        ("frog.jpg", "two", "1", "cat", "0.500000"),
        ("frog.jpg", "two", "2", "dog", "0.250000"),
        ('odd "name", truly\n.jpg', "one", "1", "a, b", "1.000000"),
        ("bad.jpg", "", "", "", ""),
    ]
    assert [line["error"] for line in found] == [""] * 5 + ["cut off"]


@pytest.mark.parametrize(("kind", "title"), [("mlp", "resnet50 standard"), ("knn", "resnet50 standard, knn")])
def test_several_seeds_are_titled_by_what_they_share(kind: HeadName, title: str) -> None:
    runs = [make_run(config=dataclasses.replace(RECIPES["standard"], head=kind, seed=seed)) for seed in (0, 1)]
    assert text.spread(runs).startswith(f"{title}: 2 seeds")
