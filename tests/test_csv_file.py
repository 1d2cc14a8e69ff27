"""The CSV report has a line for each run."""

from heads_samples import make_run
from report_samples import line_of, make_report, make_row, parsed_csv, seeds


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
