"""The report: Markdown, CSV and JSON say the same of every run, beside the published figures."""

import csv
import dataclasses
import io
import json
import re
from typing import Any

import page_samples
import pytest
from heads_samples import make_evaluation, make_key, make_run, make_timing
from headstart.core.cache.files import canonical_json, parse_json
from headstart.core.heads.config import RECIPES, TrainConfig
from headstart.core.heads.predict import Photo
from headstart.core.heads.report.csv_file import to_csv
from headstart.core.heads.report.facts import Photograph, Report, Section, with_pictures
from headstart.core.heads.report.grouping import Group
from headstart.core.heads.report.json_file import VERSION, to_json
from headstart.core.heads.report.markdown.document import to_markdown
from headstart.core.heads.report.markdown.text import table
from headstart.core.heads.report.published import STUDY, TABLE_1
from headstart.core.heads.report.row import Inference, Row, row_of
from headstart.core.heads.report.units import percent, seconds
from headstart.core.heads.runs import Extraction, Run
from headstart.core.heads.settings import settings_label
from headstart.core.heads.timings import Timing
from hypothesis import given
from hypothesis import strategies as st

BENCH = make_timing(images=200, elapsed_s=12.345)


def line_of(*runs: Run, timing: Timing | None = None) -> Row:
    """The line of runs that differ in their seeds alone."""
    first = runs[0]
    return row_of(Group(first.model, settings_label(first.config), runs), timing)


def make_row(**changes: Any) -> Row:
    """A run's line, less `changes`."""
    return dataclasses.replace(line_of(make_run(), timing=BENCH), **changes)


def make_report(*rows: Row, photos: tuple[Photo, ...] = ()) -> Report:
    """A report of one set of test images."""
    return Report((make_section(*rows, photos=photos),))


def make_section(*rows: Row, title: str = "pets", photos: tuple[Photo, ...] = ()) -> Section:
    """A section of these lines; the published figures stand beside those that may."""
    study = STUDY if any(row.published for row in rows) else None
    return Section(title, "pets", "test", (), rows, tuple(map(Photograph, photos)), published=study)


def runs_of_two_models() -> tuple[Run, Run]:
    """The records of two heads; the second has no losses."""
    vgg = make_run(
        name="vgg16-standard-knn-20230901-120001",
        model="vgg16",
        config=dataclasses.replace(RECIPES["standard"], head="knn"),
        evaluation=make_evaluation(10, 20, 30),
        elapsed_s=100.6,
        losses=(),
        notes=("untrained backbone", "a stand-in test set"),
    )
    return make_run(), vgg


def two_rows() -> tuple[Row, Row]:
    """The lines of two models; the second one's inference was not timed."""
    resnet, vgg = runs_of_two_models()
    return line_of(resnet, timing=BENCH), line_of(vgg)


def seeds(*correct: int, **changes: Any) -> tuple[Run, ...]:
    """Runs that differ in their seeds, each with so many of each class's 100 test images right."""
    return tuple(
        make_run(
            name=f"seed-{seed}",
            config=dataclasses.replace(RECIPES["study"], seed=seed),
            evaluation=make_evaluation(right, right, right),
            **changes,
        )
        for seed, right in enumerate(correct)
    )


def labelled(name: str, *shares: tuple[str, float], run: str = "resnet50-study-mlp-20230901-120000") -> Photo:
    return Photo(name, {run: shares})


def cells(markdown: str, starting_with: str) -> list[list[str]]:
    """The cells of the table rows whose first cell is so."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in markdown.split("\n") if line.startswith("| ")]
    stripped = [[cell.strip() for cell in line] for line in lines]
    return [line for line in stripped if line[0] == starting_with]


def parsed_csv(report: Report, *runs: Run) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(report, runs), newline=""), strict=True))


# ---------------------------------------------------------------------------------------------------------------- rows


def test_a_row_holds_what_the_run_and_its_bench_say() -> None:
    found = line_of(make_run(), timing=BENCH)
    assert (found.model, found.recipe, found.head, found.dataset) == ("resnet50", "study", "mlp", "pets")
    assert (found.train_rows, found.test_rows, found.training_s) == (100, 300, 0.42)
    assert (found.accuracy, found.inference) == (0.8, Inference(200, 12.345))
    assert found.weights == "IMAGENET1K_V1 0a1b2c3d"


def test_a_training_time_shared_by_several_heads_is_said_to_be() -> None:
    found = line_of(make_run(together=5), timing=BENCH)
    assert found.together == 5
    markdown = to_markdown(make_report(line_of(make_run(), timing=BENCH), found))
    training = [line[3] for line in cells(markdown, "resnet50 (study)")][:2]
    assert training == [seconds(0.42), f"{seconds(0.42)} for 5 heads"]


def test_seeds_are_one_line_with_their_mean() -> None:
    found = line_of(*seeds(70, 80, 90))
    assert (found.seeds, found.runs, found.run) == ((0, 1, 2), ("seed-0", "seed-1", "seed-2"), "seed-0")
    assert found.accuracies == (0.7, 0.8, 0.9)
    assert found.accuracy == pytest.approx(0.8)
    assert found.deviation == pytest.approx(0.1)
    assert found.interval[0] < 0.8 < found.interval[1]
    (text,) = [line[1] for line in cells(to_markdown(make_report(found)), "resnet50 (study)")][:1]
    assert re.fullmatch(r"80\.00 % \(7.*\), mean of 3 seeds", text)


def test_only_cifar10_under_the_studys_own_recipe_stands_beside_the_published_figures() -> None:
    run = make_run(key=make_key(dataset="cifar10"))
    changed = dataclasses.replace(run, config=dataclasses.replace(run.config, epochs=60))
    assert [line_of(found).published for found in (run, changed, make_run())] == [True, False, False]
    assert "The published study" in to_markdown(make_report(line_of(run), line_of(changed)))
    own = to_markdown(make_report(line_of(changed)))
    assert "published" not in own
    assert cells(own, "resnet50 (study, changed: epochs 60)")
    assert to_json(make_report(line_of(changed)))["sections"][0]["published"] is None


@dataclasses.dataclass(frozen=True)
class Share:
    """Rows extracted in so many seconds, rows trained and validated on, and the seconds these took."""

    rows: int
    elapsed_s: float | None
    used: tuple[int, int]
    share: float | None

    def __str__(self) -> str:
        return f"{self.used} of {self.rows}"


@pytest.mark.parametrize(
    "case",
    [
        Share(200, 50.0, (90, 10), 25.0),
        Share(100, 50.0, (90, 10), 50.0),
        Share(100, 50.0, (60, 0), 30.0),
        Share(90, 50.0, (90, 10), 50.0),
        Share(200, None, (90, 10), None),
    ],
    ids=str,
)
def test_extraction_counts_for_the_rows_that_were_used(case: Share) -> None:
    extraction = Extraction("folder", "aa" * 32, case.rows, case.elapsed_s)
    found = line_of(make_run(train=extraction, train_rows=case.used[0], val_rows=case.used[1]))
    assert found.extraction_s == case.share


# ------------------------------------------------------------------------------------------------------------ markdown


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


def test_heads_tested_on_other_images_are_not_ranked() -> None:
    one, other = make_row(accuracy=0.5), make_row(accuracy=0.6, test_used="ab" * 32)
    text = to_markdown(make_report(one, dataclasses.replace(one, run="second"), other))
    assert "Best: resnet50 (study) with 50.00 %" in text
    assert "highest of 2 heads" in text


def test_two_heads_of_one_model_have_a_line_each() -> None:
    text = to_markdown(make_report(make_row(), make_row(run="another", recipe="study, linear", accuracy=0.5)))
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


def test_notes_stand_at_the_row_and_in_the_title() -> None:
    report = make_report(*two_rows())
    title = to_markdown(report).split("\n")[0]
    assert title == "# Frozen backbones compared (untrained backbone; a stand-in test set)"


def test_a_note_of_several_runs_stands_once_in_the_title() -> None:
    rows = (make_row(notes=("untrained",)), make_row(notes=("half", "untrained")))
    assert make_report(*rows).title == "Frozen backbones compared (untrained; half)"


def test_a_title_without_doubts_is_short() -> None:
    assert make_report(make_row()).title == "Frozen backbones compared"


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


# -------------------------------------------------------------------------------------------------------------- tables


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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00 s"),
        (0.42, "0.42 s"),
        (9.99, "9.99 s"),
        (12.3, "12.3 s"),
        (59.0, "59.0 s"),
        (100, "1m 40s"),
        (119.7, "2m 00s"),
        (767, "12m 47s"),
        (1201, "20m 01s"),
        (3600, "60m 00s"),
    ],
)
def test_seconds_are_said_as_people_say_them(value: float, text: str) -> None:
    assert seconds(value) == text


@given(st.floats(100, 1e6))
def test_minutes_and_seconds_are_right_to_half_a_second(value: float) -> None:
    minutes, rest = (int(number) for number in re.findall(r"\d+", seconds(value)))
    assert 0 <= rest < 60
    assert abs(60 * minutes + rest - value) <= 0.5


@pytest.mark.parametrize(("share", "text"), [(0.8187, "81.87 %"), (1, "100.00 %"), (0, "0.00 %"), (0.00005, "0.01 %")])
def test_shares_are_said_as_percentages_with_two_decimals(share: float, text: str) -> None:
    assert percent(share) == text


# ---------------------------------------------------------------------------------------------------------- CSV, JSON


def test_csv_and_json_say_the_same() -> None:
    report, runs = make_report(*two_rows()), runs_of_two_models()
    facts = to_json(report)["sections"][0]["rows"]
    lines = parsed_csv(report, *runs)
    assert len(lines) == len(facts) == 2
    for line, fact in zip(lines, facts, strict=True):
        for name in ("run", "model", "recipe", "head", "dataset", "weights", "device"):
            assert line[name] == fact[name]
        for name in ("train_rows", "test_rows", "together"):
            assert int(line[name]) == fact[name]
        for name in ("extraction_s", "training_s", "accuracy"):
            assert float(line[name]) == fact[name]
        assert (float(line["accuracy_low"]), float(line["accuracy_high"])) == tuple(fact["interval"])
        assert [float(loss) for loss in line["losses"].split()] == pytest.approx(list(fact["losses"]), rel=1e-5)
        assert line["notes"] == "; ".join(fact["notes"])
    assert (lines[0]["inference_images"], lines[0]["inference_s"]) == ("200", "12.345")
    assert facts[0]["inference"] == {"images": 200, "elapsed_s": 12.345}
    assert (lines[1]["inference_images"], lines[1]["inference_s"], facts[1]["inference"]) == ("", "", None)


def test_csv_has_a_line_for_each_seed() -> None:
    runs = seeds(70, 90)
    lines = parsed_csv(make_report(line_of(*runs)), *runs)
    assert [(line["run"], line["seed"], float(line["accuracy"])) for line in lines] == [
        ("seed-0", "0", 0.7), ("seed-1", "1", 0.9)
    ]  # fmt: skip


def test_csv_holds_any_name() -> None:
    evil = 'a "name", with\nall;'
    run = make_run(notes=(evil,))
    (line,) = parsed_csv(make_report(make_row(dataset=evil)), run)
    assert (line["dataset"], line["notes"]) == (evil, evil)


def test_csv_leaves_empty_what_is_not_known() -> None:
    run = make_run(losses=())
    (line,) = parsed_csv(make_report(make_row(extraction_s=None, inference=None)), run)
    assert (line["extraction_s"], line["inference_s"], line["losses"]) == ("", "", "")


def test_json_is_strict_and_holds_all() -> None:
    photos = (labelled("ä|\n.jpg", ("frog", 0.5), ("cat", 0.25)), Photo("bad.jpg", {}, "cut off"))
    report = make_report(*two_rows(), photos=photos)
    found = parse_json(canonical_json(to_json(report)))  # neither NaN nor a key twice
    (part,) = found["sections"]
    assert (found["title"], part["title"]) == (report.title, "pets")
    assert [line["run"] for line in part["rows"]] == [line.run for line in report.sections[0].rows]
    assert part["photos"][0] == {
        "name": "ä|\n.jpg",
        "labels": {"resnet50-study-mlp-20230901-120000": [["frog", 0.5], ["cat", 0.25]]},
        "error": None,
        "image": None,
    }
    assert part["photos"][1] == {"name": "bad.jpg", "labels": {}, "error": "cut off", "image": None}
    assert found["version"] == VERSION


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (RECIPES["study"], True),
        (dataclasses.replace(RECIPES["study"], head="linear"), True),
        (dataclasses.replace(RECIPES["study"], sigmoid=False), False),
        (dataclasses.replace(RECIPES["study"], head="knn"), False),
        (dataclasses.replace(RECIPES["study"], head="ridge"), False),
        (RECIPES["standard"], False),
        (dataclasses.replace(RECIPES["standard"], sigmoid=True), True),
    ],
)
def test_a_row_knows_whether_its_head_has_the_sigmoid(config: TrainConfig, expected: bool) -> None:
    assert line_of(make_run(config=config)).sigmoid is expected


def test_json_holds_the_published_tables() -> None:
    report = make_report(make_row(published=True))
    published = json.loads(canonical_json(to_json(report)))["sections"][0]["published"]
    assert published["table_1"]["vgg16"] == {"training_s": 767, "inference_s": 64, "accuracy": 0.8187}
    assert published["table_2"]["frog 1"] == {"vgg16": "✓", "vgg19": "✓", "resnet50": "cat", "resnet152": "✓"}
    assert (published["train_rows"], published["test_rows"], published["hardware"]) == (24_000, 10_000, "one NVIDIA T4")


def test_the_published_tables_are_the_studys() -> None:
    assert {model: (f.training_s, f.inference_s, f.accuracy) for model, f in TABLE_1.items()} == {
        "vgg16": (12 * 60 + 47, 60 + 4, 0.8187),
        "vgg19": (20 * 60 + 1, 60 + 39, 0.8164),
        "resnet50": (12 * 60 + 23, 59, 0.8066),
        "resnet152": (22 * 60 + 4, 60 + 45, 0.8193),
    }
    right = {name: sum(label == "✓" for label in labels.values()) for name, labels in STUDY.table_2.items()}
    assert right == {"frog 1": 3, "frog 2": 2, "ship 1": 2, "ship 2": 2, "plane 1": 4, "plane 2": 4}


def test_a_note_of_one_part_alone_is_not_in_the_title() -> None:
    sections = (make_section(make_row(notes=("untrained", "held out"))), make_section(make_row(notes=("untrained",))))
    assert Report(sections).title == "Frozen backbones compared (untrained)"
    assert Report(()).title == "Frozen backbones compared"


def test_json_holds_what_was_measured_of_each_head() -> None:
    found = page_samples.section(page_samples.MODELS[:2], points=40)
    (section,) = parse_json(canonical_json(to_json(page_samples.report(found))))["sections"]
    head, shown = found.heads[0], section["models"]["vgg16"]["study"]
    assert head.analyses is not None
    assert shown["confusion"] == [list(row) for row in head.confusion]
    assert shown["seeds"]["accuracies"] == list(head.analyses.seeds.accuracies)
    assert (shown["seeds"]["count"], shown["seeds"]["together"]) == (30, 30)
    assert shown["ratio"]["cat"] == {"ratio": 1.25, "low": 1.1, "high": 1.4}
    calibration = {name: shown["calibration"][name] for name in ("ece", "ece_after", "temperature", "not_fitted", "of")}
    assert calibration == {
        "ece": 0.4231, "ece_after": 0.0123, "temperature": 0.141, "not_fitted": None,
        "of": "a head trained on 90 % of the rows",
    }  # fmt: skip
    assert shown["epochs"][4] == {"epoch": 5, "accuracies": list(head.analyses.epochs[4].accuracies)}
    (pair, *_) = section["comparisons"]
    assert (pair["recipe"], pair["first"], pair["second"]) == ("study", "vgg16", "vgg19")
    assert (pair["only_first"], pair["p"], pair["p_holm"], pair["low"]) == (312, 0.00072, 0.0043, -0.014)
    assert set(section["maps"]["vgg16"]) == {"method", "rows", "points", "thumbnails", "explained", "tsne"}
    assert section["batch_norm"]["eval"] == [0.627, 0.631, 0.625]
    assert section["sigmoid"][0]["with"]["mean"] == 0.8521
    without = with_pictures(found, {}.get)
    assert "image" not in to_json(page_samples.report(without))["sections"][0]["disagreements"][0]
