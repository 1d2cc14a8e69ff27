"""The Markdown tables of the study's questions hold the document's numbers, and nothing where it has none."""

import copy
from typing import Any

import page_samples
import pytest
from headstart.core.heads.report.markdown import to_markdown


def facts() -> dict[str, Any]:
    """Whole facts of two models, with the ratios and the drift that a real document has."""
    found = page_samples.section(page_samples.MODELS[:2], points=40)
    for recipes in found["models"].values():
        for it in recipes.values():
            it["seeds"]["count"] = len(it["seeds"]["accuracies"])
            it["ratio"] = {name: {"ratio": 1.25, "low": 1.1, "high": 1.4} for name in found["classes"]}
    found["batch_norm"]["drift"] = [{"mean": 0.04, "var": 0.2}, {"mean": 0.06, "var": 0.1}]
    return found


def lines(text: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, its head first."""
    section = text.partition(f"## {heading}\n\n")[2].partition("\n##")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    return [rows[0], *rows[2:]]


def test_seeds_have_their_spread_and_time() -> None:
    head, first, *_ = lines(to_markdown(facts()), "Many seeds")
    assert dict(zip(head, first, strict=True)) == {
        "model": "vgg16", "recipe": "study", "seeds": "30", "mean accuracy": "85.21 %", "standard deviation": "0.22 points",
        "95 % over seeds": "85.13 % to 85.29 %", "95 % over seeds and images": "84.50 % to 85.90 %",
        "calibration error": "42.31 %, 1.23 % with a temperature of 0.14", "time for all": "21.4 s",
    }  # fmt: skip


def test_one_seed_has_no_spread() -> None:
    found = facts()
    found["models"]["vgg16"]["study"]["seeds"].update(low=None, high=None, deviation=0.0, count=1)
    assert lines(to_markdown(found), "Many seeds")[1][2:6] == ["1", "85.21 %", "one seed", "one seed"]


def test_curves_show_the_means_at_some_places() -> None:
    found = facts()
    found["models"]["vgg16"]["study"]["epochs"][4]["accuracies"] = [0.5, 0.6]
    found["models"]["vgg16"]["study"]["sizes"][2]["accuracies"] = [0.25, 0.75]
    del found["models"]["vgg19"]["study"]["sizes"][2]
    text = to_markdown(found)
    epochs, sizes = lines(text, "More epochs"), lines(text, "More training images, equal epochs")
    assert epochs[0] == ["model", "recipe", "1", "2", "5", "10", "20", "50", "100"]
    assert (epochs[1][:2], epochs[1][4]) == (["vgg16", "study"], "55.00 %")
    assert sizes[0][2:] == ["100", "300", "1,000", "3,000", "10,000", "50,000"]
    assert sizes[1][4] == "50.00 %"
    assert sizes[3][:2] + sizes[3][4:5] == ["vgg19", "study", ""]


def test_labels_stand_beside_how_often_they_are_right() -> None:
    found = facts()
    found["models"]["vgg16"]["study"]["ratio"]["airplane"] = {"ratio": None, "low": None, "high": None}
    found["models"]["vgg16"]["study"]["ratio"]["automobile"] = {"ratio": 2.0, "low": None, "high": None}
    head, plane, car, *_ = lines(to_markdown(found), "Labels given")
    given = [found["models"]["vgg16"]["study"]["predicted"][name] for name in ("airplane", "automobile")]
    assert head == ["class", "test images", "vgg16 (study)", "vgg16 (standard)", "vgg19 (study)", "vgg19 (standard)"]
    assert plane[:3] == ["airplane", "1000", str(given[0])]
    assert car[:3] == ["automobile", "1000", f"{given[1]} (2.00)"]
    assert plane[3].endswith(" (1.25, 1.10 to 1.40)")


def test_costs_of_sigmoid_and_batch_norm_are_told() -> None:
    text = to_markdown(facts())
    assert lines(text, "What the sigmoid before the loss costs")[1] == ["vgg16", "85.21 %", "86.52 %", "+1.31 points"]
    assert lines(text, "What BatchNorm in training mode costs")[1:] == [
        ["eval()", "62.77 %", "3"],
        ["train()", "54.37 %", "3"],
    ]
    assert "vgg19, 2000 training and 1000 test images; The first three stages only, one learning rate." in text
    assert "The running means drifted by 5.00 %, the variances by 15.00 %." in text


def test_pairs_have_their_intervals() -> None:
    row = lines(to_markdown(facts()), "Pairs of models on the same test images")[1]
    assert row == ["study", "vgg16 - vgg19", "-0.90 (-1.40 to -0.40) points", "312", "402", "0.00072", "0.0043"]


def test_what_a_pair_was_not_trained_on_and_what_is_no_pair_is_told() -> None:
    found = facts()
    found["comparisons"][0]["note"] = "not trained on the same images (240 and 24,000)"
    found["not_compared"] = ["vgg19, study: tested on\nother images"]
    text = to_markdown(found)
    assert (
        "\n- vgg16 - vgg19: not trained on the same images (240 and 24,000)\n- vgg19, study: tested on other images\n"
        in text
    )
    found["comparisons"] = []
    assert "## Not compared\n\n- vgg19, study: tested on other images\n" in to_markdown(found)


def test_without_a_temperature_the_reason_is_told() -> None:
    found = facts()
    found["models"]["vgg16"]["study"]["calibration"] |= {
        "temperature": None, "ece_after": None, "not_fitted": "all 36 validation rows are right"
    }  # fmt: skip
    del found["models"]["vgg16"]["standard"]["calibration"]
    one, other, *_ = (line[-2] for line in lines(to_markdown(found), "Many seeds")[1:])
    assert one == "42.31 %, no temperature: all 36 validation rows are right"
    assert other == "not known"


def test_both_curves_of_training_images_have_a_table() -> None:
    found = facts()
    found["models"]["vgg16"]["study"]["sizes_equal_steps"] = [{"rows": 100, "accuracies": [0.5, 0.7]}]
    text = to_markdown(found)
    assert lines(text, "More training images, equal steps") == [["model", "recipe", "100"], ["vgg16", "study", "60.00 %"]]
    assert "## More training images, equal epochs" in text


def test_of_many_classes_the_worst_are_shown() -> None:
    found = page_samples.many_classes()
    for recipes in found["models"].values():
        for it in recipes.values():
            it["ratio"] = {name: {"ratio": None} for name in found["classes"]}
    shown = lines(to_markdown(found), "Labels given")[1:]
    assert [line[0] for line in shown] == [f"species {i}" for i in range(149, 129, -1)]
    assert "These are the 20 of 150 classes that are found least often; report.json has all." in to_markdown(found)


@pytest.mark.parametrize(
    ("left_out", "heading"),
    [
        ("seeds", "Many seeds"),
        ("epochs", "More epochs"),
        ("sizes", "More training images"),
        ("predicted", "Labels given"),
        ("comparisons", "Pairs of models"),
        ("sigmoid", "What the sigmoid"),
        ("batch_norm", "What BatchNorm"),
    ],
)
def test_what_was_not_answered_has_no_heading(left_out: str, heading: str) -> None:
    found = copy.deepcopy(facts())
    assert f"## {heading}" in to_markdown(found)
    if left_out in found:
        found[left_out] = None
    for recipes in found["models"].values():
        for it in recipes.values():
            it.pop(left_out, None)
    assert f"## {heading}" not in to_markdown(found)


def test_without_answers_there_is_nothing() -> None:
    assert to_markdown({}) == ""
    assert to_markdown({"models": {}, "comparisons": [], "sigmoid": [], "batch_norm": None}) == ""
