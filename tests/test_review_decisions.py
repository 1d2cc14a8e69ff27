"""Decisions on pictures: kept before they are confirmed, refused where somebody else was first, told to all."""

import threading
from pathlib import Path

import pytest

from headstart.core.cache import corrections
from headstart.core.cache.corrections import KEEP, LABEL, REMOVE, UNDO, UNSURE, Correction
from headstart.core.cache.errors import DataInvalid
from headstart.review.decisions import Decisions, NothingToUndo, Overtaken

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def decisions(tmp_path: Path) -> Decisions:
    return Decisions(tmp_path / "corrections.csv", "e")


def version(decisions: Decisions, picture: str = ONE) -> str:
    (found,) = decisions.of([picture])
    return found.version


def test_a_decision_is_in_the_file_when_it_is_confirmed(decisions: Decisions) -> None:
    number, standing = decisions.decide(Correction(ONE, LABEL, "dog"), "e.0")
    assert number == 1
    assert standing.to_json() == {"picture": ONE, "version": "e.1", "action": LABEL, "label": "dog", "when": ""}
    assert corrections.read(decisions.path).stands[ONE].label == "dog"


def test_what_somebody_else_decided_is_not_overwritten_unseen(decisions: Decisions) -> None:
    decisions.decide(Correction(ONE, REMOVE), "e.0")
    with pytest.raises(
        Overtaken, match=r"somebody else has decided on this picture meanwhile; nothing was changed"
    ) as found:
        decisions.decide(Correction(ONE, KEEP), "e.0")
    assert found.value.standing.decision == Correction(ONE, REMOVE)
    assert corrections.read(decisions.path).lines == 1
    decisions.decide(Correction(ONE, KEEP), found.value.standing.version)
    assert corrections.read(decisions.path).stands[ONE].action == KEEP
    decisions.decide(Correction(TWO, KEEP), "e.0")  # another picture is another matter


def test_a_version_of_a_service_that_ran_before_is_none_of_this_one(decisions: Decisions) -> None:
    later = Decisions(decisions.path, "f")
    with pytest.raises(Overtaken, match=r"somebody else"):
        later.decide(Correction(ONE, KEEP), "e.0")


def test_undo_brings_back_what_stood_before(decisions: Decisions) -> None:
    with pytest.raises(NothingToUndo, match=r"no decision stands on this picture: there is nothing to undo"):
        decisions.decide(Correction(ONE, UNDO), "e.0")
    assert not decisions.path.exists()
    decisions.decide(Correction(ONE, UNSURE), version(decisions))
    decisions.decide(Correction(ONE, LABEL, "dog"), version(decisions))
    _, standing = decisions.decide(Correction(ONE, UNDO), version(decisions))
    assert standing.decision == Correction(ONE, UNSURE)
    _, standing = decisions.decide(Correction(ONE, UNDO), version(decisions))
    assert standing.decision is None
    assert version(decisions) == "e.4"  # who saw an earlier state did not see this one


def test_everybody_hears_of_what_came_since(decisions: Decisions) -> None:
    decisions.decide(Correction(ONE, KEEP), "e.0")
    decisions.decide(Correction(TWO, REMOVE), "e.0")
    assert [one.picture for one in decisions.since(0)[1]] == [ONE, TWO]
    assert [one.picture for one in decisions.since(1)[1]] == [TWO]
    assert decisions.since(2) == (2, [])


def test_lines_of_another_process_are_taken_up(decisions: Decisions) -> None:
    corrections.append(decisions.path, [Correction(ONE, REMOVE)])
    number, changed = decisions.since(0)
    assert (number, [one.decision for one in changed]) == (1, [Correction(ONE, REMOVE)])
    with pytest.raises(Overtaken, match=r"somebody else"):
        decisions.decide(Correction(ONE, KEEP), "e.0")
    corrections.append(decisions.path, [Correction(ONE, UNDO)])
    assert decisions.found.stands == {}


def test_of_many_at_once_on_one_picture_one_is_kept_each_time(decisions: Decisions) -> None:
    done, barrier = list[str](), threading.Barrier(8)

    def decide(name: str) -> None:
        barrier.wait()
        try:
            decisions.decide(Correction(ONE, LABEL, name), "e.0")
        except Overtaken:
            return
        done.append(name)

    threads = [threading.Thread(target=decide, args=(f"label {i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1
    found = corrections.read(decisions.path)
    assert (found.lines, found.stands[ONE].label) == (1, done[0])


def test_a_file_that_is_another_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pets.csv"
    path.write_text("path,label\na.png,cat\n")
    with pytest.raises(DataInvalid, match=r"pets.csv, line 1: found 'path,label', expected the columns picture, action"):
        Decisions(path, "e")
    assert path.read_text() == "path,label\na.png,cat\n"
