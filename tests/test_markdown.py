"""The Markdown report says what its rows hold, beside the published figures."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import cells, labelled, make_report, make_row, make_section, two_rows

from headstart.core.heads.predict import Photo
from headstart.core.heads.report.facts import Report
from headstart.core.heads.report.markdown.document import to_markdown
from headstart.core.heads.report.markdown.text import table


def test_every_head_has_its_line() -> None:
    text = to_markdown(make_report(*two_rows()))
    (resnet, *_) = cells(text, "resnet50 (study)")
    assert resnet[1:5] == ["80.00 % (75.11 % to 84.13 %)", "25.0 s", "0.42 s", "12.3 s for 200"]
    assert resnet[5:] == ["100 / 300", "none"]
    (vgg,) = cells(text, "vgg16 (standard, knn)")
    assert vgg[1].startswith("20.00 %")
    assert vgg[2:5] == ["25.0 s", "1m 41s", "not timed"]
    assert vgg[6] == "[1], [2]"
    assert "\n1. untrained backbone\n2. a stand-in test set\n" in text


def test_the_best_head_and_how_to_use_it_come_first() -> None:
    text = to_markdown(make_report(*reversed(two_rows())))
    assert text.split("\n")[2] == (
        "Best: resnet50 (study) with 80.00 % (75.11 % to 84.13 %), the highest of 2 heads on these 300 images. Use it: "
        "`headstart predict --head runs/resnet50-study-mlp-20230901-120000 PICTURES...`"
    )


def test_of_equal_accuracies_the_lower_log_loss_is_the_best_and_that_is_said() -> None:
    one = make_row(run="first", measures={"log_loss": 0.9})
    other = make_row(run="second", measures={"log_loss": 0.3})
    for rows in ((one, other), (other, one)):
        text = to_markdown(make_report(*rows)).split("\n")[2]
        assert "heads on these 300 images (1 other has the same accuracy and a higher log loss). Use it" in text
        assert "--head runs/second " in text
    unknown = [dataclasses.replace(one, run=f"{i}", measures={"log_loss": None} if i else {}) for i in range(3)]
    assert "(2 others have the same accuracy). Use" in to_markdown(make_report(*unknown))


def test_heads_tested_on_other_images_are_not_ranked() -> None:
    one, other = make_row(accuracy=0.5), make_row(accuracy=0.6, test_used="ab" * 32)
    text = to_markdown(make_report(one, dataclasses.replace(one, run="second"), other))
    assert "Best: resnet50 (study) with 50.00 %" in text
    assert "highest of 2 heads" in text


def test_two_heads_of_one_model_have_a_line_each() -> None:
    text = to_markdown(make_report(make_row(), make_row(run="another", settings="study, linear", accuracy=0.5)))
    assert len(cells(text, "resnet50 (study)")) == 2  # one of accuracies, one of losses
    assert len(cells(text, "resnet50 (study, linear)")) == 2


def test_what_is_not_known_says_so() -> None:
    ((_, _, extraction, _, inference, *_), *_) = cells(
        to_markdown(make_report(make_row(extraction_s=None, inference=None))), "resnet50 (study)"
    )
    assert (extraction, inference) == ("not known", "not timed")


def test_several_parts_have_a_heading_each_and_theirs_a_level_lower() -> None:
    report = Report((make_section(make_row()), make_section(make_row(), title="digits\n## x")))
    apart = dataclasses.replace(report.sections[0], not_compared=("vgg16: tested on other images",))
    text = to_markdown(Report((apart, *report.sections[1:])))
    assert re.findall("^#+ .*", text, re.MULTILINE) == [
        "# Frozen backbones compared", "## pets", "### All heads, on a computer", "### Mean training loss of each epoch",
        "### Not compared", "## digits ## x", "### All heads, on a computer", "### Mean training loss of each epoch",
    ]  # fmt: skip
    assert "\n## All heads" in to_markdown(Report(report.sections[:1]))


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of the study's Table 1, as published."""

    model: str
    training: str
    inference: str
    accuracy: str


@pytest.mark.parametrize(
    "case",
    [
        Column("vgg16", "12m 47s", "1m 04s", "81.87 %"),
        Column("vgg19", "20m 01s", "1m 39s", "81.64 %"),
        Column("resnet50", "12m 23s", "59.0 s", "80.66 %"),
        Column("resnet152", "22m 04s", "1m 45s", "81.93 %"),
    ],
    ids=lambda case: case.model,
)
def test_the_published_figures_stand_beside_ours(case: Column) -> None:
    text = to_markdown(make_report(make_row(model="another", published=True)))
    assert cells(text, case.model) == [[case.model, case.training, case.inference, case.accuracy]]
    assert "NVIDIA T4" in text


def test_notes_of_all_rows_stand_below_the_title() -> None:
    one, other = two_rows()
    both = make_report(*(dataclasses.replace(row, notes=(*row.notes, "of all")) for row in (one, other)))
    title, said = to_markdown(both).split("\n\n")[:2]
    assert (title, said) == ("# Frozen backbones compared", "Of all figures: of all.")


def test_a_note_of_some_rows_is_not_said_of_all() -> None:
    assert make_report(make_row(), make_row(notes=("untrained",))).doubts == ()


def test_a_note_of_several_runs_stands_once_in_the_title() -> None:
    rows = (make_row(notes=("untrained",)), make_row(notes=("half", "untrained")))
    assert make_report(*rows).doubts == ("untrained",)


def test_a_title_without_doubts_is_short() -> None:
    assert make_report(make_row()).doubts == ()
    assert to_markdown(make_report(make_row())).startswith("# Frozen backbones compared\n\nBest: ")


def test_the_devices_are_named_once_each() -> None:
    text = to_markdown(make_report(*(make_row(device=device) for device in ("one", "two", "one"))))
    assert "## All heads, on one; two\n" in text


def test_the_loss_of_each_epoch_is_shown_for_the_runs_that_have_one() -> None:
    losses = to_markdown(make_report(*two_rows())).split("## Mean training loss of each epoch")[1]
    assert cells(losses, "resnet50 (study)") == [["resnet50 (study)", "2.0000", "1.7500", "1.5000"]]
    assert cells(losses, "vgg16 (standard, knn)") == []


def test_long_trainings_show_some_epochs_and_the_last() -> None:
    long = make_row(losses=tuple(float(epoch) for epoch in range(1, 33)))
    text = to_markdown(make_report(long, make_row(model="short", losses=(7.0,)))).split("## Mean")[1]
    (head,) = cells(text, "head")
    assert head[1:] == [f"epoch {epoch}" for epoch in (1, 2, 3, 4, 5, 10, 20, 30, 32)]
    (found,) = cells(text, "resnet50 (study)")
    assert found[1:] == [f"{epoch:.4f}" for epoch in (1, 2, 3, 4, 5, 10, 20, 30, 32)]
    assert cells(text, "short (study)") == [["short (study)", "7.0000", *[""] * 8]]


def test_heads_without_epochs_have_no_table_of_losses() -> None:
    assert "loss" not in to_markdown(make_report(make_row(losses=())))


def test_photographs_have_a_line_each_and_a_column_for_each_run() -> None:
    one, other = two_rows()
    both = Photo("frog.jpg", {one.run: (("frog", 0.231), ("cat", 0.2)), other.run: (("cat", 0.999),)})
    broken = Photo("bad.jpg", {}, "cut off")
    text = to_markdown(make_report(one, other, photos=(both, broken))).split("## Outside")[1]
    assert cells(text, "photograph") == [["photograph", "resnet50 (study)", "vgg16 (standard, knn)"]]
    assert cells(text, "frog.jpg") == [["frog.jpg", "frog 23%", "cat 100%"]]
    assert cells(text, "bad.jpg") == [["bad.jpg", "cut off", "cut off"]]


def test_runs_that_labelled_no_photograph_have_no_column() -> None:
    one, other = two_rows()
    text = to_markdown(make_report(one, other, photos=(labelled("frog.jpg", ("frog", 0.5)),)))
    assert cells(text, "photograph") == [["photograph", "resnet50 (study)"]]


def test_photographs_none_of_which_can_be_read_are_still_listed() -> None:
    text = to_markdown(make_report(*two_rows(), photos=(Photo("bad.jpg", {}, "cut off"),)))
    assert "bad.jpg" in text
    assert "cut off" in text


def test_without_photographs_there_is_no_second_table() -> None:
    assert "photograph" not in to_markdown(make_report(*two_rows()))


def test_the_limit_of_the_sigmoids_probabilities_is_told() -> None:
    text = to_markdown(make_report(*two_rows(), photos=(labelled("frog.jpg", ("frog", 0.23)),)))
    assert "no probability can exceed e / (e + C - 1) for C classes, 23 % for ten." in text


def test_bars_and_line_breaks_in_names_do_not_break_the_table() -> None:
    evil = labelled("a|b\nc.jpg", ("cat|dog", 0.5))
    text = to_markdown(make_report(make_row(dataset="x|y", model="m|n"), photos=(evil,)))
    assert "| a\\|b c.jpg " in text
    assert "| cat\\|dog 50%" in text
    assert "| m\\|n (study) " in text


@given(
    st.lists(st.lists(st.text(st.sampled_from("ab |\n\r-"), max_size=6), min_size=3, max_size=3), min_size=1, max_size=4)
)
def test_a_table_has_a_line_for_each_row_and_as_many_cells_whatever_they_hold(body: list[list[str]]) -> None:
    lines = re.split(r"\r\n|\n|\r", table(("x", "y", "z"), body))  # what Markdown takes for line ends
    assert len(lines) == len(body) + 2
    for line in lines:
        assert len(re.findall(r"(?<!\\)\|", line)) == 4
    assert len({len(line) for line in lines}) == 1
    assert re.fullmatch(r"\|-+\|-+\|-+\|", lines[1])


def test_a_note_of_one_part_alone_is_not_in_the_title() -> None:
    sections = (make_section(make_row(notes=("untrained", "held out"))), make_section(make_row(notes=("untrained",))))
    assert Report(sections).doubts == ("untrained",)
    assert Report(()).doubts == ()
