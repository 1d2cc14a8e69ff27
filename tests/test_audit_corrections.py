"""Audits of corrected labels: as corrected, without what was removed; what was decided on is not suspected again."""

import csv
import dataclasses
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from cli_samples import Place
from test_auditing import audited, folder, of_kind
from test_cli_corrections import draw

from headstart.auditing.audit import audit
from headstart.auditing.files.written import check_files, write_files
from headstart.auditing.request import AuditRequest
from headstart.core.cache import corrections
from headstart.core.cache.corrections import KEEP, LABEL, REMOVE, UNDO, UNSURE, Correction
from headstart.core.cache.digests import to_hex
from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.store import FeatureStore
from headstart.core.heads.audit.kept import kept
from headstart.observer import SILENT
from headstart.workspace import Workspace

SMALL = ("--weights", "random:0", "--image-size", "32", "--precision", "fp32")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    found = Place(tmp_path_factory.mktemp("made"))
    found.run("extract", "-m", "resnet18", *SMALL, "--dataset", f"folder:{folder(found.root / 'pets')}")
    return found


@pytest.fixture
def place(made: Place, tmp_path: Path) -> Place:
    shutil.copytree(made.root / "features", tmp_path / "features")
    return Place(tmp_path)


def marks(place: Place) -> dict[str, str]:
    """The SHA-256 of each picture, by its split and id."""
    found = {}
    for one in FeatureStore(place.root / "features").sets():
        rows = one.load()
        assert rows.digests is not None
        for name, mark in zip(rows.ids.tolist(), to_hex(rows.digests), strict=True):
            found[f"{one.manifest.split}/{name.decode()}"] = mark
    return found


def decide(place: Place, *decisions: Correction) -> Path:
    path = place.root / "corrections.csv"
    corrections.append(path, decisions)
    return path


def workspace(place: Place) -> Workspace:
    return Workspace(place.root / "features", place.root / "runs", place.root / "data", "cpu")


def suspects(rows: list[dict[str, str]]) -> set[str]:
    return {f"{row['split']}/{row['id']}" for row in of_kind(rows, "wrong label")}


def test_what_was_decided_on_is_not_suspected_again_and_what_was_removed_is_gone(place: Place) -> None:
    _, before, rows = audited(place)
    doubted, own = sorted(suspects(rows)), marks(place)
    assert before["corrected"] is None
    assert not of_kind(rows, "note")
    assert "train/green/wrong.png" in doubted
    assert len(doubted) >= 2
    others = [name for name in doubted if name != "train/green/wrong.png"]
    gone = others[0]
    decisions = [Correction(own["train/green/wrong.png"], LABEL, "red"), Correction(own[gone], REMOVE)]
    decisions += [
        Correction(own[name], KEEP if number % 2 else UNSURE)
        for number, name in enumerate(others[1:])
        if own[name] != own[gone]
    ]
    path = decide(place, *decisions)
    said, after, rows = audited(place, "--corrections", str(path))
    assert not suspects(rows) & set(doubted)
    assert gone.partition("/")[2] not in {row["id"] for row in rows if row["split"] == gone.partition("/")[0]}
    copies = sum(mark == own[gone] for mark in own.values())
    assert after["rows"] == before["rows"] - copies
    note = after["corrected"]
    assert note.startswith(f"labels corrected: 1 changed, {copies} removed")
    assert note.endswith("by corrections.csv")
    assert [row["suggestion"] for row in of_kind(rows, "note")] == [note]
    assert rows[0]["kind"] == "note"
    assert note in said
    assert after["labels"]["decided"] >= 1
    assert f"  {after['labels']['decided']:,} others were decided on, and are not suspected again" in said
    undecided = after["rows"] - after["labels"]["decided"]
    assert f" of {undecided:,} are wrong, if other rows are a guide" in said


def test_outliers_and_conflicts_that_were_decided_on_are_not_shown_again(place: Place) -> None:
    own = marks(place)
    path = decide(place, Correction(own["train/green/p2.png"], LABEL, "green"))
    _, document, rows = audited(place, "--corrections", str(path))
    assert not of_kind(rows, "conflicting labels")  # a copy in blue is green by now
    assert document["corrected"].startswith("labels corrected: 1 changed")
    far = [f"{row['split']}/{row['id']}" for row in of_kind(rows, "outlier")]
    decide(place, *(Correction(own[name], KEEP) for name in far))
    _, _, rows = audited(place, "--corrections", str(path))
    assert not {f"{row['split']}/{row['id']}" for row in of_kind(rows, "outlier")} & set(far)


def test_the_report_tells_an_audit_of_the_labels_that_heads_learned_from(place: Place) -> None:
    own = marks(place)
    path = decide(
        place, Correction(own["train/green/wrong.png"], LABEL, "red"), Correction(own["train/red/p9.png"], REMOVE)
    )
    place.run("train-head", "--head", "ridge", "--corrections", str(path))
    said, document, _ = audited(place, "--corrections", str(path))
    (one,) = document["leaks"]["accuracies"]
    assert f"{one['run']}: 2 of 17 test pictures have a twin in training; without them " in said
    there = kept(place.root / "runs", "folder-pets")
    assert there is not None
    assert (there.corrected, there.corrections) == (document["corrected"], str(path))
    told = reported(place)
    assert told["audit"]["outdated"] is False
    assert told["audit"]["corrected"] == document["corrected"]
    assert told["audit"]["command"].endswith(shlex.join(["--corrections", str(path)]))
    assert told["rows"][0]["without_twins"]["audited"] is True
    markdown = (place.root / "runs" / "report" / "report.md").read_text()
    assert document["corrected"] in markdown.partition("What may be wrong with the data")[2].partition("this makes")[0]

    place.run("train-head", "--head", "ridge")  # on the labels as they were given
    told = reported(place)
    assert told["audit"]["outdated"] is True
    assert "--corrections" not in told["audit"]["command"]

    audited(place)
    assert reported(place)["audit"]["outdated"] is False
    place.run("train-head", "--head", "ridge", "--corrections", str(path))
    told = reported(place)
    assert told["audit"]["outdated"] is True
    assert told["audit"]["command"].endswith("--corrections corrections.csv")


def reported(place: Place) -> dict[str, Any]:
    """The report's part that has the newest head: test rows are the same with and without these corrections."""
    place.run("report")
    (section,) = json.loads((place.root / "runs" / "report" / "report.json").read_text())["sections"]
    return dict(section)


def test_a_map_and_a_list_have_the_corrected_labels(place: Place, made: Place) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    import pyarrow.parquet as tables

    own = marks(place)
    path = decide(
        place, Correction(own["train/green/wrong.png"], LABEL, "ape"), Correction(own["train/red/p9.png"], REMOVE)
    )
    request = AuditRequest(
        csv=place.root / "found.csv",
        proposals=place.root / "list.csv",
        parquet=place.root / "map.parquet",
        corrections=path,
        pixels="none",
    )
    check_files(workspace(place), request)
    found = audit(workspace(place), request, SILENT)
    assert write_files(workspace(place), request, found, SILENT) == place.root / "found.csv"
    table = tables.read_table(place.root / "map.parquet").to_pylist()
    assert len(table) == 79
    assert {row["id"]: row["label"] for row in table}["green/wrong.png"] == "ape"
    with (place.root / "list.csv").open(newline="", encoding="utf-8") as file:
        listed = {Path(row["path"]).name: row["label"] for row in csv.DictReader(file)}
    assert listed["wrong.png"] == "ape"
    assert len(list((place.root / "list.csv").read_text().splitlines())) == 80


def test_a_request_refuses_a_map_as_the_command_does(tmp_path: Path) -> None:
    with pytest.raises(ArgumentInvalid, match=r"--parquet .*x\.csv: expected a file that ends in \.parquet"):
        check_files(Workspace(tmp_path, tmp_path, tmp_path, "cpu"), AuditRequest(parquet=tmp_path / "x.csv"))
    assert {field.name for field in dataclasses.fields(AuditRequest)} >= {"csv", "proposals", "parquet", "corrections"}


def test_without_a_standing_decision_labels_are_as_given(place: Place) -> None:
    own = marks(place)
    mark = own["train/green/wrong.png"]
    path = decide(place, Correction(mark, LABEL, "red"), Correction(mark, UNDO))
    _, document, rows = audited(place, "--corrections", str(path))
    assert document["corrected"] is None
    assert "train/green/wrong.png" in suspects(rows)
    assert not (place.root / "features" / ".corrected").exists()


def test_what_can_not_be_meant_is_said(place: Place, made: Place) -> None:
    path = decide(place, Correction("0" * 64, REMOVE))
    assert "the one decision is not on a picture of folder-pets, by content" in place.fails(
        "audit", "--corrections", str(path)
    )
    assert "no such file of corrections" in place.fails("audit", "--corrections", str(place.root / "none.csv"))
    for colour, number in (("blue", 0), ("red", 1), ("blue", 2), ("red", 3)):
        draw(place.root / "other" / colour / f"{number}.png", colour, number)
    place.run("extract", "-m", "resnet18", *SMALL, "--dataset", f"folder:{place.root / 'other'}")
    line = place.fails("audit", "--corrections", str(path))
    assert "several feature sets of resnet18" in line


def test_backbones_that_corrections_give_other_classes_are_told_apart(tmp_path: Path) -> None:
    place = Place(tmp_path)
    files = [(colour, number) for colour in ("blue", "red") for number in range(10)]
    own = {
        f"{colour}/{number}.png": draw(tmp_path / "few" / colour / f"{number}.png", colour, number)
        for colour, number in files
    }
    dataset = ("--dataset", f"folder:{tmp_path / 'few'}")
    place.run("extract", "-m", "resnet18", *SMALL, *dataset)
    place.run("extract", "-m", "squeezenet1_1", *SMALL, *dataset, "--limit", "12")
    (less,) = (one for one in FeatureStore(tmp_path / "features").sets() if one.manifest.rows == 12)
    there = {name.decode() for name in less.load().ids.tolist()}
    lacking = next(name for name in own if name not in there)
    path = decide(place, Correction(own[lacking], LABEL, "ape"), Correction(own[next(iter(there))], KEEP))
    line = place.fails("audit", "--corrections", str(path))
    assert "since corrections made classes that not all of them have pictures of; name one backbone with -m" in line
    assert "1 changed" in place.run("audit", "-m", "resnet18", "--corrections", str(path)).stdout


def test_a_folder_without_labels_is_audited_once_some_are_given(tmp_path: Path) -> None:
    place = Place(tmp_path)
    own = [draw(tmp_path / "loose" / f"{colour}{n}.png", colour, n) for colour in ("blue", "red") for n in range(8)]
    place.run("extract", "-m", "resnet18", *SMALL, "--dataset", f"folder:{tmp_path / 'loose'}")
    given = [Correction(mark, LABEL, "blue" if number < 8 else "red") for number, mark in enumerate(own[2:], 2)]
    path = decide(place, *given)
    _, document, rows = audited(place, "--corrections", str(path))
    assert document["rows"] == 14
    assert document["corrected"] == (
        "labels corrected: 0 changed, 14 added, 0 removed, 2 without a label left out, by corrections.csv"
    )
    assert document["labels"]["decided"] == 14
    assert not suspects(rows)
