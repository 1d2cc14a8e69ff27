"""The search: what is chosen, and how sure it is, is told by rows that the heads did not see, of any number and balance."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from heads_samples import DIM, blobs, make_config
from heads_samples import one_thread as one_thread

from headstart.core.heads.config import TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.kinds import kind, knn
from headstart.core.heads.kinds.knn import Knn
from headstart.core.heads.kinds.logreg import Logreg
from headstart.core.heads.kinds.ridge import Ridge
from headstart.core.heads.selection import divided, search, unseen
from headstart.core.heads.selection.procedure import candidates
from headstart.core.heads.selection.unseen import Side
from headstart.core.heads.training import threads

RIDGES = [make_config("ridge", penalty=10.0**power) for power in (6, 3, 0)]


def noise(rows: int, classes: int = 2, seed: int = 0, dim: int = DIM) -> Labelled:
    """Features that say nothing of the labels."""
    rng = np.random.default_rng(seed)
    return Labelled(rng.standard_normal((rows, dim), dtype=np.float32), np.arange(rows, dtype=np.int64) % classes)


def found_by(data: Labelled, configs: list[TrainConfig] = RIDGES, classes: int = 3, seed: int = 0) -> search.Found:
    found = search.search(data, classes, configs, "cpu", seed)
    assert found is not None
    return found


def test_every_row_is_judged_once_by_heads_that_did_not_see_it() -> None:
    sides = search.divisions(blobs(90), np.random.default_rng(0))
    assert sorted(np.concatenate([judge for _, judge in sides])) == list(range(90))
    assert all(sorted(np.concatenate(side)) == list(range(90)) for side in sides)
    assert len(sides) == search.FOLDS


def test_of_many_rows_a_fifth_is_held_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "CROSS_VALIDATED", 100)
    ((learn, judge),) = search.divisions(blobs(200), np.random.default_rng(0))
    assert (len(learn), len(judge)) == (160, 40)
    assert found_by(blobs(200)).selection.folds == 1


def test_rows_that_belong_together_are_on_one_side(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataclasses.replace(blobs(120), groups=np.arange(120) // 4)
    for most in (100, 5_000):
        monkeypatch.setattr(search, "CROSS_VALIDATED", most)
        for learn, judge in search.divisions(data, np.random.default_rng(0)):
            assert not set(learn // 4) & set(judge // 4)


def test_the_scores_are_those_of_heads_trained_without_the_rows() -> None:
    # a label that features can't tell: a head that had seen the row would know it
    data = noise(200, dim=400)
    ((_, scores), *_) = Side(data, data.features, 2, "cpu").scores(RIDGES[2:])
    known = scores.argmax(axis=1)
    assert (known == data.labels).mean() > 0.95
    assert found_by(data, RIDGES[2:], 2).selection.tried[0].accuracy < 0.65


def test_what_was_tried_is_told_best_first() -> None:
    selection = found_by(noise(150, 3)).selection
    losses = [tried.log_loss for tried in selection.tried]
    assert losses == sorted(losses)
    assert selection.tried[0].error == 0
    assert selection.chosen == 0
    assert selection.rows == 150


def test_of_kinds_within_an_error_the_simplest_is_chosen_at_its_best() -> None:
    configs = [make_config(head, penalty=penalty) for head in ("svm", "ridge", "logreg") for penalty in (1e3, 1e2, 1.0)]
    selection = found_by(blobs(200), configs).selection
    near = [tried for tried in selection.tried if tried.log_loss - selection.tried[0].log_loss <= tried.error]
    assert len({tried.config.head for tried in near}) > 1
    assert selection.config.head == "logreg"
    own = [tried.log_loss for tried in selection.tried if tried.config.head == "logreg"]
    assert selection.tried[selection.chosen].log_loss == min(own)


def test_penalties_far_beyond_the_best_are_not_tried() -> None:
    configs = Logreg.grid(make_config("logreg"), 300)
    data = noise(300, 3, dim=200)
    means = 0.1 * np.random.default_rng(1).standard_normal((3, 200), dtype=np.float32)
    tried = found_by(dataclasses.replace(data, features=data.features + means[data.labels]), configs).selection.tried
    assert len(tried) < len(configs)
    assert {one.config.penalty for one in tried} == {config.penalty for config in configs[: len(tried)]}
    assert tried[0].config.penalty not in {one.penalty for one in configs[len(tried) - 2 : len(tried)]}


def test_a_kind_that_has_lost_ends_where_its_loss_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    # least squares can't follow a few rows that are far out; logistic regression hardly minds them
    data = blobs(300)
    far = np.where(np.arange(300) % 10 == 0, 30.0, 1.0)[:, None].astype(np.float32)
    data = dataclasses.replace(data, features=(data.features - data.features.mean(axis=0)) * far)
    configs = [*Logreg.grid(make_config("logreg"), 300), *Ridge.grid(make_config("ridge"), 300)]

    def ridges() -> list[float]:
        tried = [one for one in found_by(data, configs).selection.tried if one.config.head == "ridge"]
        return [one.log_loss for one in sorted(tried, key=lambda one: -(one.config.penalty or 0))]

    short = ridges()
    monkeypatch.setattr(search, "_HOPELESS", np.inf)
    whole = ridges()
    assert short == whole[: len(short)]
    assert 1 < len(short) < len(whole)
    assert short[-1] >= min(short) == min(whole)


@pytest.mark.parametrize("order", ["sorted", "mixed"])
def test_of_rows_held_out_once_some_tell_that_neighbours_have_lost(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "CROSS_VALIDATED", 500)
    monkeypatch.setattr(divided, "TRIED", 60)
    features = np.random.default_rng(0).standard_normal((1000, 200), dtype=np.float32)
    labels = (features[:, 0] > 0).astype(np.int64)  # neighbours are alike in all other features
    at = np.argsort(labels, kind="stable") if order == "sorted" else np.arange(1000)
    configs = [*Logreg.grid(make_config("logreg"), 1000), *kind("knn").grid(make_config("knn", neighbours=1), 1000)]
    data, asked = Labelled(features[at], labels[at]), list[int]()
    votes = knn._votes

    def counted(heads: Sequence[Knn], features: torch.Tensor) -> list[torch.Tensor]:
        asked.append(len(features))
        return votes(heads, features)

    monkeypatch.setattr(knn, "_votes", counted)
    assert {one.config.head for one in found_by(data, configs, 2).selection.tried} == {"logreg"}
    assert asked == [60]
    monkeypatch.setattr(search, "_HOPELESS", np.inf)
    assert {one.config.head for one in found_by(data, configs, 2).selection.tried} == {"logreg", "knn"}
    assert asked == [60, 60, 200]


def test_a_head_that_knows_more_is_chosen_though_it_is_less_simple() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((400, DIM), dtype=np.float32)
    ring = (np.linalg.norm(features[:, :2], axis=1) > 1.1).astype(np.int64)  # no linear head can tell
    configs = [make_config("ridge", penalty=1.0), make_config("mlp", epochs=60, hidden=32)]
    assert found_by(Labelled(features, ring), configs, 2).selection.config.head == "mlp"


def test_the_search_is_the_same_for_the_same_seed() -> None:
    one, other = (dataclasses.replace(found_by(noise(80, 3)).selection, elapsed_s=0) for _ in range(2))
    assert one == other


def test_confidence_is_of_all_rows_in_rising_order() -> None:
    sure = found_by(blobs(90)).confidence
    assert sure.rows == len(sure.of_label) == 90
    assert (np.diff(sure.of_label) >= 0).all()
    assert sure.of_label.dtype == np.float32
    assert ((sure.of_label >= 0) & (sure.of_label <= 1)).all()


def test_of_many_rows_a_sample_of_their_probabilities_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = found_by(blobs(90)).confidence
    monkeypatch.setattr(search, "_KEPT", 31)
    sure = found_by(blobs(90)).confidence
    assert (sure.rows, len(sure.of_label)) == (90, 31)
    assert {*sure.of_label.tolist()} <= {*whole.of_label.tolist()}
    assert (sure.of_label[0], sure.of_label[-1]) == (whole.of_label[0], whole.of_label[-1])


def test_the_only_row_of_a_class_is_left_out_of_the_figures_and_counts_as_a_surprise() -> None:
    data = blobs(41)
    lonely = dataclasses.replace(data, labels=np.where(np.arange(41) == 7, 3, data.labels))
    found = found_by(lonely, classes=4)
    assert found.selection.rows == 40
    assert found.confidence.of_label[0] == 0
    assert found.confidence.rows == 41


def test_accuracy_is_over_the_rows_that_it_is_said_to_be_of() -> None:
    """Of 21 rows 20 can be predicted: a share of 21 would be no number of 20 rows."""
    data = noise(21)
    data = dataclasses.replace(data, labels=np.array([0] * 10 + [1] * 10 + [2]))
    selection = found_by(data).selection
    assert selection.rows == 20
    assert all((one.accuracy * 20) % 1 == pytest.approx(0, abs=1e-9) for one in selection.tried)


def test_where_each_row_is_its_classs_only_one_nothing_can_be_judged() -> None:
    data = Labelled(np.eye(4, DIM, dtype=np.float32), np.arange(4))
    assert search.search(data, 4, RIDGES, "cpu", 0) is None


@pytest.mark.parametrize("counts", [(2, 2), (2, 20, 20, 20), (1, 10, 9), (3,) * 50, (1, 1, 30)])
def test_any_balance_of_few_rows_ends_in_a_choice(counts: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(counts)), counts)
    features = rng.standard_normal((len(labels), DIM)) + 4 * rng.standard_normal((len(counts), DIM))[labels]
    data = Labelled(features.astype(np.float32), labels)
    found = found_by(data, candidates(make_config("auto"), len(labels)), len(counts))
    assert np.isfinite([tried.log_loss for tried in found.selection.tried]).all()
    assert 0 < found.confidence.temperature < np.inf


def test_gradient_heads_have_all_threads_and_small_closed_ones_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    several = unseen.train_many

    def noting(*given: Any) -> Any:
        seen.append(torch.get_num_threads())
        return several(*given)

    monkeypatch.setattr(unseen, "train_many", noting)
    with threads.limited(2):
        found_by(blobs(60), [make_config("linear", lr=lr) for lr in (0.1, 0.01)])
        with unseen.threads_of(RIDGES[0], "cpu", 60 * DIM, 3):
            assert torch.get_num_threads() == 1
    assert set(seen) == {2}
