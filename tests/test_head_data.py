"""Which feature sets belong together, and their rows made ready: whatever can't be learned from is refused by name."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heads_samples import (
    CLASSES,
    DIM,
    Features,
    Labels,
    blobs,
    make_config,
    make_key,
    numbered,
    only_pair,
    write_pair,
    write_set,
)

from headstart.core.cache.errors import FeaturesAmbiguous, FeaturesInvalid, FeaturesNotFound, FeaturesStale
from headstart.core.cache.manifest import Order
from headstart.core.cache.store import FeatureStore
from headstart.core.heads.data import Labelled, Pair, check_choice, choose, pairs, passed_over
from headstart.core.heads.data import load as load_parts
from headstart.core.heads.feature_choice import FeatureChoice


def write_all(root: Path, data: Labelled, **options: Any) -> FeatureStore:
    """A store with a single set, of a data set without splits."""
    store = FeatureStore(root)
    write_set(store, data, "all", **options)
    return store


def others(rows: int) -> Labelled:
    """Numbered rows that are no copies of `numbered`."""
    found = numbered(rows)
    found.features[:, 1] = 1
    return found


def load(pair: Pair, **settings: Any) -> tuple[Labelled, Labelled]:
    """Training and test part, a fifth of a set without splits held out."""
    fraction = 0.2 if pair.test is None else None
    parts = load_parts(pair, make_config(**{"test_fraction": fraction, **settings}))
    assert parts.testing is not None
    return parts.training, parts.testing


def labelled_so(labels: Sequence[int]) -> Labelled:
    """Rows with these labels."""
    return Labelled(numbered(len(labels)).features, np.array(labels, dtype=np.int64))


def numbers(part: Labelled) -> list[int]:
    """The row numbers that `numbered` put into the features."""
    return [int(number) for number in part.features[:, 0]]


# ------------------------------------------------------------------------------------------------------ pairs, choose


def test_a_training_and_a_test_set_of_one_key_are_a_pair(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    train, test = write_set(store, blobs(9), "train"), write_set(store, blobs(6), "test")
    (pair,) = pairs(store)
    assert (pair.train, pair.test, pair.key) == (train, test, make_key())


def test_sets_of_different_keys_are_never_paired(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    write_set(store, blobs(9), "train", make_key(precision="fp32"))
    write_set(store, blobs(6), "test", make_key(precision="bf16"))
    (pair,) = pairs(store)
    assert pair.test is None


def test_a_test_set_alone_is_no_pair(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    write_set(store, blobs(6), "test")
    assert pairs(store) == []


def test_a_set_without_splits_is_a_pair_of_its_own(tmp_path: Path) -> None:
    (pair,) = pairs(write_all(tmp_path, blobs(9)))
    assert (pair.train.manifest.split, pair.test) == ("all", None)


def test_every_model_has_its_pair_by_name(tmp_path: Path) -> None:
    for model in ("vgg16", "resnet50", "resnet152"):
        write_pair(tmp_path, key=make_key(backbone=model))
    found = pairs(FeatureStore(tmp_path))
    assert [pair.key.backbone for pair in found] == ["resnet152", "resnet50", "vgg16"]
    assert all(pair.test is not None and pair.test.manifest.named == pair.key for pair in found)
    assert choose(found, [], tmp_path) == found


def test_the_models_asked_for_come_in_the_order_asked(tmp_path: Path) -> None:
    for model in ("vgg16", "resnet50", "resnet152"):
        write_pair(tmp_path, key=make_key(backbone=model))
    chosen = choose(pairs(FeatureStore(tmp_path)), ["vgg16", "resnet50"], tmp_path)
    assert [pair.key.backbone for pair in chosen] == ["vgg16", "resnet50"]


def test_a_data_set_narrows_the_choice(tmp_path: Path) -> None:
    for dataset in ("pets", "cars"):
        write_pair(tmp_path, key=make_key(dataset=dataset))
    (pair,) = pairs(FeatureStore(tmp_path), ["cars"])
    assert pair.key.dataset == "cars"


def test_several_sets_of_one_model_are_an_error_whose_options_each_lead_to_one(tmp_path: Path) -> None:
    others = [make_key(precision="bf16"), make_key(image_size=64), make_key(weights="V2", weights_sha256="2" * 64)]
    keys = [make_key(), *others]
    for key in keys:
        write_pair(tmp_path, key=key)
    store = FeatureStore(tmp_path)
    with pytest.raises(FeaturesAmbiguous, match="several feature sets of resnet50; add what tells them apart: ") as caught:
        choose(pairs(store), ["resnet50"], tmp_path)
    for key in keys:
        said = f"--image-size {key.image_size} --precision {key.precision} --weights {key.weights} (60 train rows"
        assert said in str(caught.value)
        choice = FeatureChoice(key.precision, key.image_size, key.weights)
        assert [pair.key for pair in choose(pairs(store, None, choice), ["resnet50"], tmp_path)] == [key]
        assert not set(str(caught.value).split()) & {key.digest8, key.feature_key.digest8}


def test_only_what_differs_is_to_be_said(tmp_path: Path) -> None:
    for dataset in ("pets", "cars"):
        write_pair(tmp_path, key=make_key(dataset=dataset))
    with pytest.raises(FeaturesAmbiguous, match=r"apart: --dataset (cars|pets) \(60 train.*; --dataset (cars|pets) \("):
        choose(pairs(FeatureStore(tmp_path)), ["resnet50"], tmp_path)


def test_of_features_that_no_word_tells_apart_the_last_ones_are_taken(tmp_path: Path) -> None:
    keys = [make_key(weights="file", weights_sha256=digit * 64) for digit in "123"]
    for key, day in zip(keys, ("02", "03", "01"), strict=True):
        write_set(FeatureStore(tmp_path), blobs(9), "all", key, created=f"2026-11-{day}T00:00:00+00:00")
    found = pairs(FeatureStore(tmp_path))
    (pair,) = choose(found, ["resnet50"], tmp_path)
    assert pair.key == keys[1]
    before = next(one for one in found if one.key == keys[0]).train.folder.name
    said = passed_over(found, pair) or ""
    assert re.fullmatch(
        rf"resnet50 pets: features of another weights_sha256 .* {before}; .* {pair.train.folder.name}", said
    )
    assert passed_over([pair], pair) is None


def test_features_that_words_tell_apart_are_passed_over_in_silence(tmp_path: Path) -> None:
    for key in (make_key(), make_key(precision="bf16"), make_key(dataset="cars"), make_key(backbone="vgg16")):
        write_pair(tmp_path, key=key)
    found = pairs(FeatureStore(tmp_path))
    assert [passed_over(found, pair) for pair in found] == [None] * 4


def test_weights_of_a_file_are_meant_by_where_they_were(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    features = write_set(store, blobs(9), "all", make_key(weights="file"))
    for said in ("https://example.org/weights.pth", "weights.pth", "file"):
        assert [pair.train for pair in pairs(store, None, FeatureChoice(weights=said))] == [features]
    assert pairs(store, None, FeatureChoice(weights="other.pth")) == []


def test_the_last_snapshot_of_a_data_set_is_the_one_that_is_meant(tmp_path: Path) -> None:
    write_set(FeatureStore(tmp_path), blobs(9), "all")
    last = write_set(FeatureStore(tmp_path), blobs(12), "all", make_key(classes=("d", "e", "f")), snapshot=True)
    (pair,) = choose(pairs(FeatureStore(tmp_path)), ["resnet50"], tmp_path)
    assert (pair.train, pair.key.classes) == (last, ("d", "e", "f"))


@pytest.mark.parametrize(("whole", "divided"), [("01", "02"), ("02", "01")])
def test_a_folder_that_was_divided_since_is_meant_as_it_is_now(tmp_path: Path, whole: str, divided: str) -> None:
    store = FeatureStore(tmp_path)
    for split, day in (("all", whole), ("train", divided), ("test", divided)):
        write_set(store, blobs(9), split, created=f"2026-11-{day}T00:00:00+00:00")
    (pair,) = pairs(store)
    assert pair.train.manifest.split == ("all" if whole > divided else "train")
    assert [pair.train.manifest.split for pair in pairs(store, splits=["all"])] == ["all"]
    assert [pair.train.manifest.split for pair in pairs(store, splits=["train", "test"])] == ["train"]


def test_a_model_without_features_is_an_error_that_says_what_there_is_and_how_to_make_it(tmp_path: Path) -> None:
    write_pair(tmp_path)
    with pytest.raises(FeaturesNotFound, match=r"of vgg16 \(there are features of resnet50\).*extract --model vgg16`"):
        choose(pairs(FeatureStore(tmp_path)), ["vgg16"], tmp_path)


def test_a_model_asked_of_an_empty_directory_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(FeaturesNotFound, match=r"of vgg16 \(there are none yet\)"):
        choose(pairs(FeatureStore(tmp_path / "nothing")), ["vgg16"], tmp_path)


def test_an_empty_directory_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(FeaturesNotFound, match=rf"^{tmp_path}: no training features; .*`headstart extract`"):
        choose(pairs(FeatureStore(tmp_path / "nothing")), [], tmp_path)


# --------------------------------------------------------------------------------------------------------------- load


def test_both_parts_come_whole_and_in_order(tmp_path: Path) -> None:
    train, test = blobs(9), blobs(6, seed=1)
    for found, expected in zip(load(write_pair(tmp_path, train, test)), (train, test), strict=True):
        np.testing.assert_array_equal(found.features, expected.features)
        np.testing.assert_array_equal(found.labels, expected.labels)
        assert found.ids is not None
        assert found.ids.tolist() == [f"row-{row}".encode() for row in found.rows]
        assert found.groups is None
        assert (found.features.dtype, found.labels.dtype, found.notes) == (np.float32, np.int64, ())


def test_a_set_that_is_divided_goes_before_training_rows_without_a_test_set(tmp_path: Path) -> None:
    """A folder whose training rows were once extracted alone, and later as one set."""
    store = FeatureStore(tmp_path)
    write_set(store, blobs(20), "train")
    write_set(store, blobs(30), "all")
    assert only_pair(store).train.manifest.split == "all"
    write_set(store, blobs(10), "test")
    assert only_pair(store).train.manifest.split == "train"


def test_features_kept_in_half_precision_are_made_ready_in_single(tmp_path: Path) -> None:
    half = blobs(9).features.astype(np.float16)
    found, _ = load(write_pair(tmp_path, Labelled(half, blobs(9).labels)))
    assert found.features.dtype == np.float32
    np.testing.assert_array_equal(found.features, half.astype(np.float32))


@pytest.mark.parametrize("order", ["mixed", "stratified"])
def test_a_limit_takes_the_first_rows_where_they_are_a_sample_and_all_test_rows(order: Order, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    write_set(store, sorted_by_class((10, 10)), "train", order=order)  # whatever the manifest says is believed
    write_set(store, others(12), "test")
    train, test = load(only_pair(store), train_limit=12)
    assert numbers(train) == list(range(12))
    assert numbers(test) == list(range(12))
    assert train.notes[0] == "trained on the first 12 of 20 training images"


@pytest.mark.parametrize("dataset", ["cifar10", "digits"])
def test_older_sets_whose_order_is_known_to_be_mixed_are_taken_from_the_first_row_on(dataset: str, tmp_path: Path) -> None:
    pair = write_pair(tmp_path, numbered(20), others(12), make_key(dataset=dataset))
    assert numbers(load(pair, train_limit=7)[0]) == list(range(7))


def sorted_by_class(counts: Sequence[int]) -> Labelled:
    """Numbered rows, so many of each class, one class after the other."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return Labelled(numbered(len(labels)).features, labels)


@pytest.mark.parametrize("limit", [3, 4, 30, 59, 60])
def test_a_limit_of_a_sorted_set_draws_each_class_in_its_share(limit: int, tmp_path: Path) -> None:
    pair = write_pair(tmp_path, sorted_by_class((30, 20, 10)), others(12))
    train, _ = load(pair, train_limit=limit)
    rows = numbers(train)
    assert rows == sorted(set(rows))
    assert len(rows) == limit
    assert train.labels.tolist() == [0 if row < 30 else 1 if row < 50 else 2 for row in rows]
    for found, share in zip(np.bincount(train.labels, minlength=3), (1 / 2, 1 / 3, 1 / 6), strict=True):
        assert max(1, np.floor(limit * share)) - 1 <= found <= np.ceil(limit * share) + 1
        assert found >= 1
    drawn = f"trained on {limit} of 60 training images, drawn from each class in its share"
    few = [note for note in train.notes if "have no more than 2 training rows" in note]
    assert len(few) == (limit <= 4)
    assert train.notes == ((drawn, *few) if limit < 60 else ())
    assert numbers(load(pair, train_limit=limit)[0]) == rows


def test_smaller_limits_are_drawn_from_larger_ones(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, sorted_by_class((30, 20, 10)), others(12))
    found = [set(numbers(load(pair, train_limit=limit)[0])) for limit in (5, 12, 40)]
    assert found[0] < found[1] < found[2]


def test_a_limit_beyond_the_split_is_an_error_that_says_how_many_rows_it_has(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, blobs(20))
    with pytest.raises(FeaturesNotFound, match=r"the train split has only 20 rows, --train-limit 21 .*; use 20 at most$"):
        load(pair, train_limit=21)


def test_a_limit_beyond_what_was_extracted_is_an_error_whose_command_adds_it(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    write_set(store, blobs(20), "train", split_rows=500)
    write_set(store, blobs(30), "test")
    command = "`headstart extract --model resnet50 --dataset pets --split train --limit 21` adds the missing ones"
    with pytest.raises(
        FeaturesNotFound, match=rf"the first 20 of 500 rows of the train split, --train-limit 21 .*; {command}"
    ):
        load(only_pair(store), train_limit=21)


def test_which_rows_of_the_split_were_drawn_is_known(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    write_set(store, sorted_by_class((8, 8)), "train", skipped=[0, 9])
    write_set(store, others(12), "test")
    train, _ = load(only_pair(store), train_limit=6)
    there = [row for row in range(18) if row not in (0, 9)]
    assert train.rows.tolist() == [there[number] for number in numbers(train)]


def test_a_missing_test_set_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    write_set(FeatureStore(tmp_path), blobs(9), "train")
    command = "`headstart extract --model resnet50 --dataset pets` without --split"
    with pytest.raises(FeaturesNotFound, match=rf"has no test set beside it; .*{command}"):
        load(only_pair(FeatureStore(tmp_path)))


def test_a_missing_test_set_of_a_folder_is_asked_for_as_extract_takes_it(tmp_path: Path) -> None:
    key = make_key(dataset="folder-pets")  # the name that the key gets; `--dataset folder-pets` is unknown
    write_set(FeatureStore(tmp_path), blobs(9), "train", key)
    with pytest.raises(FeaturesNotFound, match=r"has no test set beside it; .*--dataset folder:PATH"):
        load(only_pair(FeatureStore(tmp_path), key))


@pytest.mark.parametrize(
    ("names", "said"), [(("cat", "d", "e"), "d, dog, e, frog; "), (("dog", "cat", "frog"), "in another order; ")]
)
def test_a_test_set_whose_labels_mean_other_classes_is_refused(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    store = FeatureStore(tmp_path)
    write_set(store, blobs(9), "train")
    write_set(store, blobs(6), "test", make_key(classes=names))
    with pytest.raises(FeaturesStale, match=rf"-test-.*not those of .*-train-.*: {said}.* without --split brings both up"):
        load(only_pair(store, make_key()))


@dataclasses.dataclass(frozen=True)
class Unfit:
    """A change that makes rows unfit to learn from or to test on, and what the error says."""

    name: str
    features: Features
    labels: Labels
    message: str

    def __str__(self) -> str:
        return self.name


def spoilt(name: str, row: int, value: float) -> Unfit:
    data = blobs(12)
    data.features[row, DIM - 1] = value
    return Unfit(name, data.features, data.labels, rf"the features of image row-{row} are not finite; .*extract --force")


def relabelled(name: str, label: int, message: str) -> Unfit:
    data = blobs(12)
    data.labels[[2, 5]] = label
    return Unfit(name, data.features, data.labels, message)


UNFIT = [
    spoilt("nan", 0, np.nan),
    spoilt("infinity", 7, np.inf),
    spoilt("minus infinity", 11, -np.inf),
    relabelled("no label", -1, "2 of 12 rows have no label; .* one sub-folder for each class"),
    relabelled("label beyond the classes", 3, "label 3 found, expected 0 to 2"),
    Unfit("no rows", blobs(0).features, blobs(0).labels, "has no rows"),
]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("case", UNFIT, ids=str)
def test_rows_that_are_unfit_are_refused_by_name(case: Unfit, split: str, tmp_path: Path) -> None:
    data = Labelled(case.features, case.labels)
    skipped = () if len(data.labels) else (0,)  # a set of which no image could be read
    store = FeatureStore(tmp_path)
    for name in ("train", "test"):
        write_set(store, data if name == split else blobs(30), name, skipped=skipped if name == split else ())
    with pytest.raises(FeaturesInvalid, match=case.message) as caught:
        load(only_pair(store))
    assert f"pets-{split}-resnet50" in str(caught.value)


def test_an_unlabelled_folder_is_refused_by_name(tmp_path: Path) -> None:
    key = make_key(classes=())
    write_set(FeatureStore(tmp_path), labelled_so([-1] * 5), "all", key)
    with pytest.raises(FeaturesInvalid, match="5 of 5 rows have no label"):
        load(only_pair(FeatureStore(tmp_path), key))


def test_training_rows_of_a_single_class_are_refused_by_name(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, labelled_so([1] * 8))
    with pytest.raises(FeaturesInvalid, match=r"all 8 training rows are of the class dog; .* two classes"):
        load(pair)


def test_a_limit_that_leaves_a_single_class_is_refused_by_name(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    write_set(store, labelled_so([2, 2, 2, 0, 1]), "train", order="mixed")
    write_set(store, blobs(9), "test")
    with pytest.raises(FeaturesInvalid, match="all 3 training rows are of the class frog"):
        load(only_pair(store), train_limit=3)


def test_test_rows_of_a_single_class_are_fine(tmp_path: Path) -> None:
    _, test = load(write_pair(tmp_path, blobs(9), labelled_so([1, 1])))
    assert test.labels.tolist() == [1, 1]


# --------------------------------------------------------------------------------------------- sets without splits


@pytest.mark.parametrize("rows", [6, 10, 57, 100])
def test_a_set_without_splits_is_divided_four_to_one_without_overlap(rows: int, tmp_path: Path) -> None:
    train, test = load(only_pair(write_all(tmp_path, numbered(rows))))
    assert sorted(numbers(train) + numbers(test)) == list(range(rows))
    assert len(test.labels) == round(rows / 5)
    for part in (train, test):
        assert part.labels.tolist() == [row % len(CLASSES) for row in numbers(part)]


def test_the_division_is_the_same_each_time(tmp_path: Path) -> None:
    one, other = (load(only_pair(write_all(tmp_path / name, numbered(50)))) for name in ("one", "other"))
    assert [numbers(part) for part in one] == [numbers(part) for part in other]


def test_the_held_out_rows_are_drawn_from_everywhere(tmp_path: Path) -> None:
    # a folder of pictures is sorted by class: its last fifth would be a single one
    _, test = load(only_pair(write_all(tmp_path, numbered(100))))
    assert min(numbers(test)) < 30
    assert max(numbers(test)) >= 70


def test_both_parts_of_a_division_say_so(tmp_path: Path) -> None:
    for part in load(only_pair(write_all(tmp_path, blobs(50)))):
        assert part.notes == (
            "the data set has no test split: 10 of its 50 images, drawn from each class in its share, were held out",
        )


def test_a_division_of_a_part_of_the_images_says_so(tmp_path: Path) -> None:
    for part in load(only_pair(write_all(tmp_path, blobs(50), split_rows=1234))):
        assert any("1,234" in note for note in part.notes)


@pytest.mark.parametrize("limit", [3, 20, 39])
def test_a_limit_changes_no_test_row(limit: int, tmp_path: Path) -> None:
    pair = only_pair(write_all(tmp_path, numbered(50)))
    (whole, test), (train, same) = load(pair), load(pair, train_limit=limit)
    assert numbers(same) == numbers(test)
    assert same.digest == test.digest
    assert len(train.labels) == limit
    assert set(numbers(train)) < set(numbers(whole))
    assert train.notes[1] == f"trained on {limit} of 40 training images, drawn from each class in its share"
    assert same.notes == test.notes


def test_too_few_rows_to_divide_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FeaturesInvalid, match="3 rows of 3 classes are too few to train on all of them and to test; a class"
    ):
        load(only_pair(write_all(tmp_path, blobs(3))))


@pytest.mark.parametrize("each", [1, 2, 3, 5])
def test_every_class_of_few_pictures_is_trained_and_as_many_as_can_be_are_tested(each: int, tmp_path: Path) -> None:
    classes = tuple(f"class {i:02d}" for i in range(37))
    counts = [each] * 36 + [10]
    key = make_key(classes=classes)
    write_set(FeatureStore(tmp_path), sorted_by_class(counts), "all", key)
    train, test = load(only_pair(FeatureStore(tmp_path), key))
    held = min(round(sum(counts) / 5), sum(counts) - 37)
    assert (set(train.labels.tolist()), len(test.labels)) == (set(range(37)), held)
    untested = sorted(set(range(37)) - set(test.labels.tolist()))
    assert (36 in untested, len(untested)) == (False, {1: 36, 2: 37 - len(set(test.labels.tolist())), 3: 14, 5: 0}[each])
    said = [note for note in train.notes if "have no test row" in note]
    names = ", ".join(classes[i] for i in untested[:8])
    assert said == (
        [f"{len(untested)} of 37 classes have no test row: {names} and {len(untested) - 8} more"] if untested else []
    )


def test_classes_without_a_training_row_are_named_once(tmp_path: Path) -> None:
    train, test = load(write_pair(tmp_path, blobs(20, classes=2), blobs(9, seed=1)))
    assert (train.notes, test.notes) == (("1 of 3 classes has no training row, never predicted: frog",), ())


def test_a_set_without_splits_of_a_single_class_is_refused_by_the_classes_name(tmp_path: Path) -> None:
    with pytest.raises(FeaturesInvalid, match="class dog"):
        load(only_pair(write_all(tmp_path, labelled_so([1] * 40))))


# -------------------------------------------------------------------------------------------------------------- notes


def test_what_was_said_of_the_images_is_said_of_the_rows(tmp_path: Path) -> None:
    stand_in = dataclasses.replace(blobs(6, seed=1), notes=("a stand-in test set",))
    train, test = load(write_pair(tmp_path, blobs(9), stand_in))
    assert (train.notes, test.notes) == ((), ("a stand-in test set",))


def test_a_part_of_the_test_images_says_so(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    write_set(store, blobs(9), "train")
    write_set(store, blobs(6), "test", split_rows=10_000)
    _, test = load(only_pair(store))
    assert test.notes == ("tested on the first 6 of 10,000 test images",)


def test_images_that_were_left_out_are_counted(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    write_set(store, blobs(9), "train", skipped=[3])
    write_set(store, blobs(6, seed=1), "test", skipped=[0, 5])
    train, test = load(only_pair(store))
    assert train.notes == ("1 unreadable train image left out",)
    assert test.notes == ("2 unreadable test images left out",)


def test_a_choice_that_nothing_answers_is_told_what_there_is(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    check_choice(store, FeatureChoice(precision="fp16"))  # nothing is there yet, which is said elsewhere
    write_set(store, blobs(9), "train")
    check_choice(store, FeatureChoice("fp32", 224, "IMAGENET1K_V1", make_key().feature_key.digest8))
    there = (
        "there are --image-size 224 --precision fp32 --transform squash --pool auto --layer last --weights IMAGENET1K_V1"
    )
    with pytest.raises(FeaturesNotFound, match=f"no features with --precision fp16 --image-size 64; {there}"):
        check_choice(store, FeatureChoice("fp16", 64))
    with pytest.raises(FeaturesNotFound, match=f"no features with the key zz; {there}"):
        check_choice(store, FeatureChoice(digest="zz"))
