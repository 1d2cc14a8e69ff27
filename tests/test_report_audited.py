"""The report tells what an audit found, where it is of the very pictures of the heads, and accuracies without its twins."""

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from cli_samples import Place, parse
from heads_samples import blobs, make_key, make_run, one_thread, only_pair, write_set
from report_samples import line_of, make_report, make_row, parsed_csv
from test_leaks import an_audit, audited_as, leaking

from headstart.core.cache.store import FeatureStore
from headstart.core.heads.audit.kept import Confusion, KeptAudit, KeptLabels, keep
from headstart.core.heads.audit.leaks import WithoutTwins
from headstart.core.heads.report import audited
from headstart.core.heads.report.facts import Report
from headstart.core.heads.report.json_file import to_json
from headstart.core.heads.report.markdown.document import to_markdown
from headstart.core.heads.report.page.document import to_html
from headstart.core.heads.statistics.accuracy import Score

__all__ = ["one_thread"]
FOUND = an_audit(
    labels=KeptLabels(42, 3.4, 1.2, 6.8, 4, (Confusion("cat", "<b>dog</b>", 2, 14),)),
    copies=4,
    copy_groups=2,
    near_pairs=1,
    near_by_pixels=1,
    conflicting=1,
    test_rows=12,
    leaked=3,
    outliers=5,
    bursts=1,
    burst_rows=6,
    small=(("frog", 2),),
)


def shown(audit: KeptAudit | None, *, outdated: bool = False) -> Report:
    """A report of one head with this audit."""
    report = make_report(make_row())
    return Report((dataclasses.replace(report.sections[0], audit=audit, audit_outdated=outdated),))


def reported(root: Path) -> tuple[str, str, dict[str, Any], list[dict[str, str]]]:
    """Markdown, HTML, JSON and CSV of the report of what is in a place."""
    place, folder = Place(root), root / "runs" / "report"
    place.run("report")
    text = {name: (folder / f"report.{name}").read_text(encoding="utf-8") for name in ("md", "html", "json", "csv")}
    return text["md"], text["html"], json.loads(text["json"]), list(csv.DictReader(io.StringIO(text["csv"])))


def test_every_kind_is_told_with_its_number() -> None:
    lines = dict(audited.lines(FOUND))
    assert lines == {
        "wrong labels, expected": "about 3 of 42 (95 % interval 1 to 7)",
        "wrong labels, suspects": "4",
        "confused classes": "cat taken for <b>dog</b> (2 of 14)",
        "the same picture, several labels": "1 group",
        "test pictures with a twin in training": "3 of 12",
        "copies": "4 pictures, in 2 groups",
        "near-duplicates": "1 pair, 1 of them compared by pixels",
        "outliers": "5",
        "bursts": "6 pictures, in 1 run of nearly the same",
        "classes with few pictures": "frog (2)",
    }
    assert dict(audited.lines(an_audit()))["wrong labels"] == "not looked at: all labels are of one class"


def test_the_command_that_makes_the_list_can_be_typed() -> None:
    made = audited.command(FOUND, None)
    assert made == "headstart audit -m resnet50 --dataset pets"
    parse(made)


def test_the_page_and_the_markdown_have_a_section_and_escape_names() -> None:
    page, text = to_html(shown(FOUND)), to_markdown(shown(FOUND))
    assert "What may be wrong with the data</h2>" in page
    assert "&lt;b&gt;dog&lt;/b&gt;" in page
    assert "<b>dog</b>" not in page
    assert "30 train and 12 test pictures were looked at by resnet50 on 2026-11-28" in page
    assert "## What may be wrong with the data\n\n30 train and 12 test pictures" in text
    assert "`headstart audit -m resnet50 --dataset pets`" in text


def test_without_an_audit_there_is_no_section() -> None:
    assert "What may be wrong" not in to_html(shown(None))
    assert "What may be wrong" not in to_markdown(shown(None))
    assert to_json(shown(None))["sections"][0]["audit"] is None


def test_an_audit_of_other_pictures_is_said_to_be_so_and_not_shown() -> None:
    report = shown(FOUND, outdated=True)
    for text in (to_html(report), to_markdown(report)):
        assert "The audit of 2026-11-28 is of other pictures or labels than these heads, and is not shown" in text
        assert "headstart audit -m resnet50 --dataset pets" in text
        assert "wrong labels" not in text
    assert to_json(report)["sections"][0]["audit"] == {
        "created": FOUND.created,
        "outdated": True,
        "command": "headstart audit -m resnet50 --dataset pets",
    }


def test_the_json_has_the_totals_without_the_groups_of_pictures() -> None:
    found = to_json(shown(FOUND))["sections"][0]["audit"]
    assert (found["leaked"], found["outdated"], found["labels"]["suspects"]) == (3, False, 4)
    assert "groups" not in found
    json.dumps(found, allow_nan=False)


def test_an_audit_made_after_the_training_tells_twins_in_every_form(tmp_path: Path) -> None:
    pair, place = leaking(tmp_path), Place(tmp_path)
    place.run("train-head", "--head", "ridge")
    keep(tmp_path / "runs", audited_as(pair, ((0, 7), (1, 20)), *(((0, row), (1, row)) for row in range(3))))
    text, page, document, (line,) = reported(tmp_path)
    told = "4 of 24 test pictures have a twin in training (identical, or nearly so by an audit); without them "
    assert told in text
    assert told in page
    (section,) = document["sections"]
    (row,) = section["rows"]
    assert (row["without_twins"]["leaked"], row["without_twins"]["audited"]) == (4, True)
    assert section["audit"]["outdated"] is False
    assert line["test_twins"] == "4"
    assert float(line["accuracy_without_twins_low"]) <= float(line["accuracy_without_twins"])
    assert float(line["accuracy_without_twins"]) <= float(line["accuracy_without_twins_high"])


def test_of_a_head_that_was_trained_on_a_part_only_its_record_speaks(tmp_path: Path) -> None:
    pair, place = leaking(tmp_path), Place(tmp_path)
    place.run("train-head", "--head", "ridge", "--train-limit", "30")
    keep(tmp_path / "runs", audited_as(pair, ((0, 7), (1, 20))))
    _, _, document, _ = reported(tmp_path)
    (row,) = document["sections"][0]["rows"]
    recorded = row.get("without_twins")
    assert recorded is None or not recorded["audited"]


def test_an_audit_is_outdated_once_the_pictures_are_others(tmp_path: Path) -> None:
    pair, place = leaking(tmp_path), Place(tmp_path)
    place.run("train-head", "--head", "ridge")
    fitting = audited_as(pair)
    other = dataclasses.replace(fitting.splits[0], images="0" * 64)
    keep(tmp_path / "runs", dataclasses.replace(fitting, splits=(other, fitting.splits[1])))
    text, _, document, _ = reported(tmp_path)
    assert document["sections"][0]["audit"]["outdated"] is True
    assert "and is not shown; this makes a new one: `headstart audit -m resnet50 --dataset pets`" in text
    assert "3 of 24 test pictures have a twin in training (identical); without them " in text


def test_a_set_without_a_test_split_has_the_section_too(tmp_path: Path) -> None:
    store, key = FeatureStore(tmp_path / "features"), make_key()
    write_set(store, blobs(60), "all", key)
    keep(tmp_path / "runs", audited_as(only_pair(store, key), ((0, 1), (0, 2))))
    Place(tmp_path).run("train-head", "--head", "ridge")
    text, _, document, (line,) = reported(tmp_path)
    assert document["sections"][0]["audit"]["outdated"] is False
    assert "without_twins" not in document["sections"][0]["rows"][0]
    assert line["test_twins"] == ""
    assert "60 pictures were looked at by resnet50" in text


def test_the_csv_has_each_run_apart() -> None:
    runs = (make_run(name="a", without_twins=WithoutTwins(Score(8, 10))), make_run(name="b"))
    first, second = parsed_csv(make_report(line_of(runs[0]), line_of(runs[1])), *runs)
    assert float(first["accuracy_without_twins"]) == pytest.approx(0.8)
    assert (second["test_twins"], second["accuracy_without_twins"]) == ("", "")
