"""A head's settings in words tell two trainings apart, and the published figures stand beside one kind alone."""

import dataclasses

import pytest
from heads_samples import make_key
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.heads.config import HEADS, RECIPES, STUDY_STANDARD, TrainConfig
from headstart.core.heads.settings import is_published, settings_label

CIFAR = make_key(dataset="cifar10")
STUDY, STANDARD = RECIPES["study"], RECIPES["standard"]
LABELS = {
    "study": STUDY,
    "standard": dataclasses.replace(STANDARD, seed=7, train_limit=100),
    "standard, mlp": dataclasses.replace(STANDARD, head="mlp"),
    "standard, mlp, as in the study": STUDY_STANDARD,
    "standard, mlp, as in the study, changed: epochs 60": dataclasses.replace(STUDY_STANDARD, epochs=60),
    "standard, logreg, changed: penalty 100": dataclasses.replace(STANDARD, head="logreg", penalty=100.0),
    "standard, knn": dataclasses.replace(STANDARD, head="knn"),
    "study, changed: epochs 60, lr 0.003": dataclasses.replace(STUDY, epochs=60, lr=0.003),
    "standard, linear, changed: cosine off": dataclasses.replace(STANDARD, head="linear", cosine=False),
    "mine, changed: hidden 16": TrainConfig("mine", hidden=16),
}


@pytest.mark.parametrize("label", LABELS)
def test_a_label_says_the_recipe_and_what_differs_from_it(label: str) -> None:
    assert settings_label(LABELS[label]) == label


configs = st.builds(
    TrainConfig, st.sampled_from(["study", "standard"]), st.sampled_from(HEADS), epochs=st.integers(1, 3),
    lr=st.sampled_from([1e-3, 2e-3]), hidden=st.sampled_from([16, 128]), cosine=st.booleans(), sigmoid=st.booleans(),
    epoch_by=st.sampled_from(["loss", "accuracy"]), least_steps=st.sampled_from([0, 400]),
    penalty=st.sampled_from([None, 1.0]), test_fraction=st.sampled_from([None, 0.2]),
)  # fmt: skip


@given(configs, configs)
def test_two_trainings_have_one_label_only_if_they_are_the_same(one: TrainConfig, other: TrainConfig) -> None:
    assert (settings_label(one) == settings_label(other)) == (one == other)


CHANGES = {"epochs": 60, "lr": 0.003, "hidden": 16, "head": "knn", "dropout": 0.0, "sigmoid": False, "recipe": "standard"}


@pytest.mark.parametrize("field", CHANGES)
def test_a_changed_recipe_is_not_the_published_one(field: str) -> None:
    assert not is_published(dataclasses.replace(STUDY, **{field: CHANGES[field]}), CIFAR)


@pytest.mark.parametrize("dataset", ["digits", "folder-cifar10", "torchvision-CIFAR10", "pets"])
def test_another_data_set_is_not_the_published_one(dataset: str) -> None:
    assert not is_published(STUDY, make_key(dataset=dataset))


def test_another_image_size_is_not_the_published_one() -> None:
    assert not is_published(STUDY, make_key(dataset="cifar10", image_size=64))


def test_seed_and_number_of_rows_may_differ_from_the_published_ones() -> None:
    assert is_published(dataclasses.replace(STUDY, seed=9, train_limit=1000), CIFAR)
