"""Out-of-fold probabilities: each row once, by heads that did not see it, its group or its copies."""

import dataclasses

import numpy as np
import pytest
from heads_samples import blobs, make_config, overlapping
from heads_samples import one_thread as one_thread

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.heads.audit import unseen as module
from headstart.core.heads.audit.labels import audit
from headstart.core.heads.audit.unseen import unseen
from headstart.core.heads.data import Labelled
from headstart.core.heads.selection import search
from headstart.core.heads.selection.divided import Divided


def test_a_planted_label_is_found() -> None:
    data = blobs(120)
    wrong = np.array([3, 50, 77, 100])
    labels = data.labels.copy()
    labels[wrong] = (labels[wrong] + 1) % 3
    found = unseen(dataclasses.replace(data, labels=labels), 3, make_config("auto"), "cpu", 0)
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(120))
    said = audit(found.probabilities, labels, found.judged, np.random.default_rng(0))
    assert sorted(said.suspects.tolist()) == wrong.tolist()
    assert said.proposed[wrong].tolist() == data.labels[wrong].tolist()


def test_a_copy_does_not_vouch_for_a_wrong_label() -> None:
    data = blobs(90)
    labels, features = np.concatenate([data.labels, [2]]), np.concatenate([data.features, data.features[:1]])
    labels[0] = 2
    groups = np.concatenate([np.arange(90), [0]])
    config = make_config("knn", neighbours=1)
    apart = unseen(Labelled(features, labels, groups=groups), 3, config, "cpu", 0)
    assert apart.probabilities[0].argmax() == data.labels[0]
    seeds = [unseen(Labelled(features, labels), 3, config, "cpu", seed).probabilities[0].argmax() for seed in range(6)]
    assert 2 in seeds  # what would be said if the copy were on the other side


def test_nothing_is_said_of_the_only_picture_of_a_class() -> None:
    data = blobs(60)
    labels = np.where(np.arange(60) == 7, 3, data.labels)
    found = unseen(Labelled(data.features, labels), 4, make_config("auto"), "cpu", 0)
    assert np.flatnonzero(~found.judged).tolist() == [7]
    assert 7 not in audit(found.probabilities, labels, found.judged, np.random.default_rng(0)).suspects


def test_many_classes_of_few_pictures() -> None:
    data = blobs(450, classes=150, dim=20)
    found = unseen(data, 150, make_config("logreg", penalty=1.0), "cpu", 0)
    assert found.probabilities.shape == (450, 150)
    assert found.judged.all()


def test_twenty_pictures_of_two_classes() -> None:
    found = unseen(blobs(20, classes=2), 2, make_config("auto"), "cpu", 0)
    assert found.probabilities.shape == (20, 2)


def test_one_picture_a_class_is_too_few() -> None:
    with pytest.raises(FeaturesInvalid, match="too few to be cross-validated"):
        unseen(blobs(3), 3, make_config("auto"), "cpu", 0)


def test_penalties_are_tried_until_the_loss_levels_off(monkeypatch: pytest.MonkeyPatch) -> None:
    data = overlapping(600, 3, 0)
    monkeypatch.setattr(search, "CROSS_VALIDATED", 500)
    walked = unseen(data, 3, make_config("auto"), "cpu", 0)
    monkeypatch.setattr(module, "_levels_off", lambda _: False)
    monkeypatch.setattr(module, "TOLERANCE", 1e-6)
    exact = unseen(data, 3, make_config("auto"), "cpu", 0)
    assert walked.config == exact.config
    assert walked.probabilities == pytest.approx(exact.probabilities, abs=0.02)


def test_where_no_penalty_is_reached_the_search_says_so_or_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    data = overlapping(600, 3, 0)
    monkeypatch.setattr(search, "CROSS_VALIDATED", 500)
    monkeypatch.setattr(Divided, "logistic", lambda *_: iter(()))
    found = unseen(data, 3, make_config("auto"), "cpu", 0)
    assert found.config.head == module.OF_MANY
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(600))


@pytest.mark.parametrize(
    ("losses", "ends"),
    [([1.0], False), ([1.0, 0.9], False), ([1.0, 1.0], True), ([1.0, 0.6, 0.45], False), ([1.0, 0.6, 0.51], True)],
)
def test_losses_level_off_where_a_gain_is_less_than_a_quarter_of_the_one_before(losses: list[float], ends: bool) -> None:
    assert module._levels_off(losses) is ends
