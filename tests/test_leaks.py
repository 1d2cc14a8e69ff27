"""An accuracy tells its leaks: test pictures with a twin in training, found by `train-head` itself or by an audit."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from cli_samples import Place
from export_samples import recorded, untrained_head, untrained_key
from heads_samples import blobs, make_config, make_key, make_run, one_thread, only_pair, silent, write_set
from hypothesis import given
from hypothesis import strategies as st

from headstart.console import words
from headstart.core.cache.errors import RunDamaged
from headstart.core.cache.store import FeatureStore
from headstart.core.heads.audit.kept import KeptAudit, Split, keep, kept, where
from headstart.core.heads.audit.leaks import WithoutTwins, apart
from headstart.core.heads.data import Pair
from headstart.core.heads.runs import Run, RunStore, parse
from headstart.core.heads.sessions import session
from headstart.core.heads.statistics.accuracy import Score
from headstart.core.heads.statistics.outcomes import Outcomes
from headstart.export.card import model_card

__all__ = ["one_thread"]


def an_audit(**changes: object) -> KeptAudit:
    """An audit of 30 training and 12 test pictures that found nothing, less `changes`."""
    facts = {field.name: 0 for field in dataclasses.fields(KeptAudit)}
    splits = (Split("train", "a" * 64, 30), Split("test", "b" * 64, 12))
    own = {"created": "2026-11-28T04:00:00+00:00", "dataset": "pets", "models": ("resnet50",), "splits": splits}
    more = {"labels": None, "no_labels": "all labels are of one class", "small": (), "csv": "audit.csv", "groups": ()}
    more |= {"corrected": None, "corrections": None}
    return KeptAudit(**{**facts, **own, **more, **changes})  # type: ignore[arg-type]


def leaking(root: Path, copies: int = 3) -> Pair:
    """60 training and 24 test rows of which the first `copies` are the same as training rows."""
    training, testing = blobs(60), blobs(24, seed=1)
    testing.features[:copies] = training.features[:copies]
    store, key = FeatureStore(root / "features"), make_key()
    write_set(store, training, "train", key)
    write_set(store, testing, "test", key)
    return only_pair(store, key)


def trained(pair: Pair, root: Path) -> Run:
    (run,) = session.fit(pair, [make_config()], "cpu", "a computer", RunStore(root / "runs"), silent)
    return run


def audited_as(pair: Pair, *groups: tuple[tuple[int, int], ...]) -> KeptAudit:
    """An audit of a pair's pictures that found these groups."""
    splits = tuple(Split(one.manifest.split, one.manifest.images_digest, one.manifest.rows) for one in pair.sets)
    return an_audit(splits=splits, groups=groups)


def test_the_same_picture_in_training_is_told_and_recorded(tmp_path: Path) -> None:
    run = trained(leaking(tmp_path), tmp_path)
    assert run.without_twins is not None
    assert (run.without_twins.score.total, run.without_twins.audited) == (21, False)
    assert run.evaluation.overall.correct - 3 <= run.without_twins.score.correct <= run.evaluation.overall.correct
    assert "  3 of 24 test pictures have a twin in training (identical); without them " in words.training.trained(run)
    assert RunStore(tmp_path / "runs").runs() == [run]
    assert words.training.run_json(run)["without_twins"] == {
        "score": {"correct": run.without_twins.score.correct, "total": 21},
        "audited": False,
    }


def test_without_twins_nothing_is_said_and_the_record_is_as_it_was(tmp_path: Path) -> None:
    run = trained(leaking(tmp_path, copies=0), tmp_path)
    assert run.without_twins is None
    assert b"without_twins" not in run.to_bytes()
    assert "twin" not in words.training.trained(run)


def test_near_duplicates_of_an_audit_of_these_pictures_are_twins_too(tmp_path: Path) -> None:
    pair = leaking(tmp_path)
    keep(tmp_path / "runs", audited_as(pair, ((0, 7), (1, 20)), ((1, 21), (1, 22)), ((0, 8), (0, 9))))
    run = trained(pair, tmp_path)
    assert run.without_twins is not None
    assert (run.without_twins.score.total, run.without_twins.audited) == (20, True)
    told = "4 of 24 test pictures have a twin in training (identical, or nearly so by an audit); without them "
    assert told in words.training.trained(run)


def test_an_audit_of_other_pictures_counts_for_nothing(tmp_path: Path) -> None:
    pair = leaking(tmp_path)
    fitting = audited_as(pair, ((0, 7), (1, 20)))
    other = (dataclasses.replace(fitting.splits[0], images="0" * 64), fitting.splits[1])
    keep(tmp_path / "runs", dataclasses.replace(fitting, splits=other))
    run = trained(pair, tmp_path)
    assert run.without_twins is not None
    assert (run.without_twins.score.total, run.without_twins.audited) == (21, False)


def test_of_a_part_that_is_held_out_near_duplicates_in_the_rest_are_twins(tmp_path: Path) -> None:
    store, key = FeatureStore(tmp_path / "features"), make_key()
    write_set(store, blobs(60), "all", key)
    pair, config = only_pair(store, key), dataclasses.replace(make_config(), test_fraction=0.2)
    keep(tmp_path / "runs", audited_as(pair, tuple((0, row) for row in range(60))))
    (run,) = session.fit(pair, [config], "cpu", "a computer", RunStore(tmp_path / "runs"), silent)
    assert run.without_twins == WithoutTwins(Score(0, 0), audited=True)
    assert "12 of 12 test pictures have a twin in training (identical, or nearly so by an audit): none is left" in (
        words.training.trained(run)
    )


def test_by_cross_validation_nothing_is_said(tmp_path: Path) -> None:
    store, key = FeatureStore(tmp_path / "features"), make_key()
    write_set(store, blobs(60), "all", key)
    pair = only_pair(store, key)
    keep(tmp_path / "runs", audited_as(pair, tuple((0, row) for row in range(60))))
    assert trained(pair, tmp_path).without_twins is None


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.data())
def test_the_score_is_that_of_the_other_rows(leaked: list[bool], data: st.DataObject) -> None:
    right = data.draw(st.lists(st.booleans(), min_size=len(leaked), max_size=len(leaked)))
    labels = np.zeros(len(leaked), dtype=np.int64)
    outcomes = Outcomes(labels, np.array([0 if one else 1 for one in right]), np.full((len(leaked), 2), 0.5))
    found = WithoutTwins.of(outcomes, np.array(leaked), audited=False)
    clean = [one for one, twin in zip(right, leaked, strict=True) if not twin]
    assert found == (WithoutTwins(Score(sum(clean), len(clean))) if any(leaked) else None)


def test_seeds_are_told_by_their_mean() -> None:
    found = apart([WithoutTwins(Score(8, 10)), WithoutTwins(Score(6, 10))], 12, chosen=True)
    assert found is not None
    assert found.accuracy == pytest.approx(0.7)
    assert found.sentence().startswith(
        "2 of 12 test pictures have a twin in training or validation (identical); without them 70"
    )
    assert found.sentence().endswith(", mean of 2 seeds)")
    one = apart([WithoutTwins(Score(8, 11)), None], 12, chosen=False)
    assert one is not None
    assert one.sentence().startswith("1 of 12 test pictures has a twin in training (identical); without them 72.73%")
    assert apart([None, None], 12, chosen=False) is None


@pytest.mark.parametrize(
    "found",
    [
        {"score": {"correct": 3, "total": 2}, "audited": False},
        {"score": {"correct": 1, "total": 2}, "audited": "no"},
        {"score": {"correct": 1.5, "total": 2}, "audited": False},
        {"score": {"correct": 1, "total": 2}},
        {"score": {"correct": 1, "total": 2}, "audited": False, "more": 1},
    ],
)
def test_a_record_with_anything_else_is_refused(found: object) -> None:
    facts = json.loads(make_run(without_twins=WithoutTwins(Score(1, 2))).to_bytes())
    with pytest.raises((ValueError, KeyError), match=r"without_twins is|audited"):
        parse({**facts, "without_twins": found})


def test_an_audit_is_read_as_it_was_kept(tmp_path: Path) -> None:
    found = an_audit(groups=(((0, 3), (1, 4)), ((0, 5), (0, 6), (1, 7))), small=(("frog", 2),))
    assert keep(tmp_path, found) == where(tmp_path, "pets")
    assert kept(tmp_path, "pets") == found
    assert kept(tmp_path, "other") is None


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"format": "headstart audit", "version": 9}'])
def test_what_is_no_audit_is_refused_with_a_way_out(tmp_path: Path, damage: bytes) -> None:
    path = keep(tmp_path, an_audit())
    path.write_bytes(damage)
    with pytest.raises(
        RunDamaged, match=r"audit\.json: not an audit of ours .*; remove it, `headstart audit` makes it anew"
    ):
        kept(tmp_path, "pets")


def test_an_altered_audit_is_refused(tmp_path: Path) -> None:
    path = keep(tmp_path, an_audit())
    path.write_bytes(path.read_bytes().replace(b'"leaked":0', b'"leaked":1'))
    with pytest.raises(RunDamaged, match=r"its SHA-256 is another than it says"):
        kept(tmp_path, "pets")


def test_a_damaged_audit_ends_a_training_before_it_starts(tmp_path: Path) -> None:
    leaking(tmp_path)
    path = keep(tmp_path / "runs", an_audit())
    path.write_bytes(b"{}")
    line = Place(tmp_path).fails("train-head", "--head", "ridge")
    assert "not an audit of ours" in line
    assert not list((tmp_path / "runs").glob("*/run.json"))


def test_several_seeds_are_told_once_together(tmp_path: Path) -> None:
    leaking(tmp_path)
    said = Place(tmp_path).run("train-head", "--head", "mlp", "--seeds", "2", "--epochs", "2").stdout
    assert said.count("3 of 24 test pictures have a twin in training (identical); without them ") == 1
    assert ", mean of 2 seeds)" in said


def test_a_model_card_tells_the_leaks_too() -> None:
    head = recorded(untrained_head(untrained_key(classes=("cat", "dog", "frog"))), without_twins=WithoutTwins(Score(8, 10)))
    told = "- Note: 3 of 13 test pictures have a twin in training (identical); without them 80.00 % (95 % interval 49.02 %"
    assert told in model_card(head)


def test_names_that_are_no_unicode_are_kept(tmp_path: Path) -> None:
    odd = b"\xff.csv".decode("utf-8", "surrogateescape")
    found = an_audit(small=((odd, 1),), csv=odd)
    keep(tmp_path, found)
    assert kept(tmp_path, "pets") == found
