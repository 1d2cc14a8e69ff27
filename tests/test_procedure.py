"""From training rows to heads: what is left open is chosen, and every head that can be learns how sure it may be."""

import dataclasses

import numpy as np
import pytest
from heads_samples import blobs, make_config, same_head, silent
from heads_samples import one_thread as one_thread

from headstart.core.heads.config import RECIPES
from headstart.core.heads.selection import procedure, search
from headstart.core.heads.selection.procedure import Fitted, candidates, fit, sweep
from headstart.core.heads.statistics.calibration import softmax
from headstart.core.heads.training.train import carve, predict, scores, train


def fitted(*heads: str, rows: int = 120, seed: int = 0) -> list[Fitted]:
    return fit(blobs(rows), 3, [make_config(head, seed=seed) for head in heads], "cpu", silent)


def test_auto_ends_in_a_head_of_one_kind_trained_on_all_rows() -> None:
    (found,) = fitted("auto")
    assert found.selection is not None
    assert found.trained.head.config == found.selection.config
    assert found.trained.rows == 120
    assert (predict(found.trained.head, blobs(60, seed=1).features, "cpu") == blobs(60, seed=1).labels).mean() > 0.9
    assert {tried.config.head for tried in found.selection.tried} == {*procedure.CANDIDATES, *procedure.OF_SOME}


def test_the_standard_recipe_chooses_and_the_study_does_not() -> None:
    assert RECIPES["standard"].head == "auto"
    (found,) = fit(blobs(60), 3, [dataclasses.replace(RECIPES["study"], epochs=1)], "cpu", silent)
    assert (found.selection, found.confidence) == (None, None)


def test_gradient_heads_are_tried_where_rows_are_held_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "CROSS_VALIDATED", 100)
    assert "mlp" in {config.head for config in candidates(make_config("auto"), 101)}
    assert "mlp" not in {config.head for config in candidates(make_config("auto"), 100)}


def test_a_head_with_open_settings_is_searched_and_one_without_is_not() -> None:
    open_one, given = fit(blobs(120), 3, [make_config("ridge"), make_config("ridge", penalty=1.0)], "cpu", silent)
    assert open_one.selection is not None
    assert len(open_one.selection.tried) > 1
    assert given.selection is None
    assert given.trained.head.config.penalty == 1.0
    assert given.confidence is not None


def test_the_chosen_head_is_the_one_that_its_settings_give_alone() -> None:
    (found,) = fitted("ridge")
    assert found.selection is not None
    assert same_head(found.trained.head, train(blobs(120), 3, found.selection.config, "cpu", silent).head)


def test_a_head_with_enough_validation_rows_learns_its_confidence_from_them() -> None:
    config, data = make_config("mlp", val_fraction=0.5, epoch_by="loss"), blobs(240)
    (found,) = fit(data, 3, [config], "cpu", silent)
    assert found.confidence is not None
    assert found.confidence.rows == found.trained.val_rows == 120
    held = carve(data.labels, config, "cpu").val.numpy()
    shares = softmax(scores(found.trained.head, data.features[held], "cpu").double().numpy(), found.confidence.temperature)
    assert found.confidence.of_label == pytest.approx(np.sort(shares[np.arange(120), data.labels[held]]), rel=1e-5)


def test_a_head_with_few_validation_rows_uses_all_rows_and_learns_its_confidence_by_cross_validation() -> None:
    (found,) = fit(blobs(90), 3, [make_config("linear", val_fraction=0.1, epoch_by="loss")], "cpu", silent)
    assert (found.trained.rows, found.trained.val_rows) == (90, 0)
    assert found.confidence is not None
    assert found.confidence.rows == 90


def test_heads_of_several_seeds_with_nothing_open_share_one_confidence(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    plain = search.search
    monkeypatch.setattr(search, "search", lambda *given: asked.append(1) or plain(*given))
    found = fit(blobs(90), 3, [make_config("mlp", val_fraction=0.0, seed=seed) for seed in range(3)], "cpu", silent)
    assert len(asked) == 1
    assert len({id(one.confidence) for one in found}) == 1
    assert not same_head(found[0].trained.head, found[1].trained.head)
    assert [one.trained.head.config.seed for one in found] == [0, 1, 2]


def test_each_seed_of_auto_has_folds_of_its_own() -> None:
    one, other = (fitted("auto", seed=seed)[0].selection for seed in (0, 1))
    assert one is not None
    assert other is not None
    assert [tried.log_loss for tried in one.tried] != [tried.log_loss for tried in other.tried]


def test_a_sweep_chooses_among_what_is_given() -> None:
    configs = [make_config("linear", lr=lr, val_fraction=0.0) for lr in (1e-6, 1e-1)]
    found = sweep(blobs(90), 3, configs, "cpu", silent)
    assert found.selection is not None
    assert found.trained.head.config.lr == 1e-1


def test_where_no_row_can_be_judged_the_first_kind_is_trained_as_where_nothing_is_given() -> None:
    data = blobs(3)
    (found,) = fit(data, 3, [make_config("auto")], "cpu", silent)
    assert (found.selection, found.confidence) == (None, None)
    assert found.trained.head.config == make_config(candidates(make_config("auto"), 3)[0].head)


def test_rows_of_weight_0_are_not_judged_either() -> None:
    data = dataclasses.replace(blobs(60), weights=np.arange(60) % 2.0)
    (found,) = fit(data, 3, [make_config("ridge")], "cpu", silent)
    assert found.confidence is not None
    assert found.confidence.rows == 30


def test_few_rows_have_epochs_enough() -> None:
    config = dataclasses.replace(RECIPES["standard"], head="linear")
    (found,) = fit(blobs(60), 3, [config], "cpu", silent)
    assert len(found.trained.history.losses) == 400
