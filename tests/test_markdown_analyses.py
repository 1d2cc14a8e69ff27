"""The Markdown tables of a study's analyses hold the report's numbers, and nothing where it has none."""

import dataclasses
from typing import Any

import page_samples
import pytest
from heads_samples import make_curve

from headstart.core.heads.report.facts import HeadResults, Ratio, Section
from headstart.core.heads.report.markdown.analyses import analyses
from headstart.core.heads.study.results import Analyses, CurvePoint, EqualStepsPoint

FACTS = page_samples.section(page_samples.MODELS[:2], points=40)


def first(section: Section = FACTS) -> Analyses:
    """The analyses of the first head."""
    found = section.heads[0].analyses
    assert found is not None
    return found


def lines(text: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, its head first."""
    section = text.partition(f"## {heading}\n\n")[2].partition("\n##")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    return [rows[0], *rows[2:]]


def test_seeds_have_their_spread_and_time() -> None:
    head, first, *_ = lines(analyses(FACTS), "Many seeds")
    assert dict(zip(head, first, strict=True)) == {
        "model": "vgg16", "recipe": "study", "seeds": "30", "mean accuracy": "85.21 %", "standard deviation": "0.22 points",
        "95 % over seeds": "85.13 % to 85.29 %", "95 % over seeds and images": "84.50 % to 85.90 %",
        "calibration error": "42.31 %, 1.23 % with a temperature of 0.14", "time for all": "21.4 s",
    }  # fmt: skip


def test_one_seed_has_no_spread() -> None:
    def alone(head: HeadResults) -> HeadResults:
        assert head.spread is not None
        return dataclasses.replace(head, spread=dataclasses.replace(head.spread, count=1, deviation=None, interval=None))

    found = page_samples.with_heads(FACTS, alone, "vgg16", "study")
    assert lines(analyses(found), "Many seeds")[1][2:6] == ["1", "85.21 %", "one seed", "one seed"]


def test_curves_show_the_means_at_some_places() -> None:
    epochs_, sizes_ = list(first().epochs), list(first().sizes)
    epochs_[4], sizes_[2] = CurvePoint(5, (0.5, 0.6)), CurvePoint(1000, (0.25, 0.75))
    found = page_samples.with_analyses(FACTS, "vgg16", "study", epochs=tuple(epochs_), sizes=tuple(sizes_))
    del sizes_[2]
    found = page_samples.with_analyses(found, "vgg19", "study", sizes=tuple(sizes_))
    text = analyses(found)
    epochs, sizes = lines(text, "More epochs"), lines(text, "More training images, equal epochs")
    assert epochs[0] == ["model", "recipe", "1", "2", "5", "10", "20", "50", "100"]
    assert (epochs[1][:2], epochs[1][4]) == (["vgg16", "study"], "55.00 %")
    assert sizes[0][2:] == ["100", "300", "1,000", "3,000", "10,000", "50,000"]
    assert sizes[1][4] == "50.00 %"
    assert sizes[3][:2] + sizes[3][4:5] == ["vgg19", "study", ""]


def test_labels_stand_beside_how_often_they_are_right() -> None:
    def odd(head: HeadResults) -> HeadResults:
        return dataclasses.replace(
            head, ratio={**head.ratio, "airplane": Ratio(None, None), "automobile": Ratio(2.0, None)}
        )

    found = page_samples.with_heads(FACTS, odd, "vgg16", "study")
    head, plane, car, *_ = lines(analyses(found), "Labels given")
    given = [found.heads[0].predicted[name] for name in ("airplane", "automobile")]
    assert head == ["class", "test images", "vgg16 (study)", "vgg16 (standard)", "vgg19 (study)", "vgg19 (standard)"]
    assert plane[:3] == ["airplane", "1000", str(given[0])]
    assert car[:3] == ["automobile", "1000", f"{given[1]} (2.00)"]
    assert plane[3].endswith(" (1.25, 1.10 to 1.40)")


def test_costs_of_sigmoid_and_batch_norm_are_told() -> None:
    text = analyses(FACTS)
    assert lines(text, "What the sigmoid before the loss costs")[1] == ["vgg16", "85.21 %", "86.52 %", "+1.31 points"]
    assert lines(text, "What BatchNorm in training mode costs")[1:] == [
        ["eval()", "62.77 %", "3"],
        ["train()", "54.37 %", "3"],
    ]
    assert "vgg19, 2000 training and 1000 test images; The first three stages only, one learning rate." in text
    assert "The running means drifted by 5.00 %, the variances by 15.00 %." in text


def test_pairs_have_their_intervals() -> None:
    row = lines(analyses(FACTS), "Pairs of models on the same test images")[1]
    assert row == ["study", "vgg16 - vgg19", "-0.90 (-1.40 to -0.40) points", "312", "402", "0.00072", "0.0043"]


def test_what_a_pair_was_not_trained_on_and_what_is_no_pair_is_told() -> None:
    pair = dataclasses.replace(FACTS.comparisons[0], note="not trained on the same images (240 and 24,000)")
    found = dataclasses.replace(FACTS, comparisons=(pair,), not_compared=("vgg19, study: tested on\nother images",))
    assert (
        "\n- vgg16 - vgg19: not trained on the same images (240 and 24,000)\n- vgg19, study: tested on other images\n"
        in analyses(found)
    )
    found = dataclasses.replace(found, comparisons=())
    assert "## Not compared\n\n- vgg19, study: tested on other images\n" in analyses(found)


def test_without_a_temperature_the_reason_is_told() -> None:
    calibration = page_samples.unfitted(first().calibration, "all 36 validation rows are right")
    found = page_samples.with_analyses(FACTS, "vgg16", "study", calibration=calibration)
    assert lines(analyses(found), "Many seeds")[1][-2] == "42.31 %, no temperature: all 36 validation rows are right"


def test_both_curves_of_training_images_have_a_table() -> None:
    points = (EqualStepsPoint(100, (0.5, 0.7), 3, 30),)
    text = analyses(page_samples.with_analyses(FACTS, "vgg16", "study", sizes_equal_steps=points))
    assert lines(text, "More training images, equal steps") == [["model", "recipe", "100"], ["vgg16", "study", "60.00 %"]]
    assert "## More training images, equal epochs" in text


def test_of_many_classes_the_worst_are_shown() -> None:
    found = page_samples.many_classes()
    shown = lines(analyses(found), "Labels given")[1:]
    assert [line[0] for line in shown] == [f"species {i}" for i in range(149, 129, -1)]
    assert "These are the 20 of 150 classes that are found least often; report.json has all." in analyses(found)


@pytest.mark.parametrize(
    ("left_out", "heading"),
    [
        ({"epochs": ()}, "More epochs"),
        ({"sizes": ()}, "More training images"),
        ({"comparisons": ()}, "Pairs of models"),
        ({"sigmoid": ()}, "What the sigmoid"),
        ({"batch_norm": None}, "What BatchNorm"),
        ({"heads": ()}, "Labels given"),
        ({"heads": ()}, "Many seeds"),
    ],
)
def test_what_was_not_measured_has_no_heading(left_out: dict[str, Any], heading: str) -> None:
    assert f"## {heading}" in analyses(FACTS)
    of_heads = set(left_out) <= {"epochs", "sizes"}
    found = page_samples.with_analyses(FACTS, **left_out) if of_heads else dataclasses.replace(FACTS, **left_out)
    assert f"## {heading}" not in analyses(found)


def test_without_analyses_there_is_nothing() -> None:
    assert analyses(page_samples.bare()) == ""


def test_a_few_shot_curve_has_a_table_and_its_sentence() -> None:
    text = analyses(page_samples.with_rows(FACTS, 0, curve=make_curve()))
    below = text.partition("## Few-shot curve\n\n")[2]
    assert "vgg16 (study), tested on 1,300 images that were not trained on. More pictures would probably help: " in below
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in below.splitlines() if line.startswith("|")]
    assert rows[2:4] == [
        ["50", "62.50%", "± 3.12", "50.00%", "75.00%", "3"],
        ["100", "75.00%", "± 1.56", "75.00%", "75.00%", "1"],
    ]
    assert "Few-shot" not in analyses(FACTS)
