"""Which backbone for some pictures: what is recommended and why, on small and odd data; and what a sample costs."""

import dataclasses
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import cli_samples
import numpy as np
import numpy.typing as npt
import pytest
from cli_samples import Place
from extract_samples import array_images, noise, write_picture
from heads_samples import blobs, make_key, write_set

from headstart import extraction
from headstart.choosing import comparison
from headstart.choosing.candidate import Candidate, Speed, speed_of
from headstart.choosing.comparison import Chosen, check_labels, choose
from headstart.choosing.recommendation import recommend
from headstart.console import words
from headstart.core.cache.change import Change
from headstart.core.cache.errors import ArgumentInvalid, DataInvalid, DataNotFound, FeaturesStale
from headstart.core.cache.manifest import Manifest
from headstart.core.cache.store import FeatureStore
from headstart.core.extract.config import ExtractConfig, ExtractionRequest
from headstart.core.extract.network.extractor import FeatureExtractor
from headstart.core.extract.run import Outcome
from headstart.observer import SILENT
from headstart.requests import ChoosingRequest
from headstart.workspace import Workspace

SMALL = ExtractConfig(image_size=32, precision="fp32")
TWO = ("resnet18", "resnet50")
RANDOM = ("--weights", "random:0", "--image-size", "32", "--precision", "fp32")

Right = npt.NDArray[np.bool_]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Folders that are not there yet."""
    return Workspace(tmp_path / "features", tmp_path / "runs", tmp_path / "data", "cpu")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of pictures in each forward pass."""
    found, prepare = list[int](), FeatureExtractor.to_device

    def counted(extractor: FeatureExtractor, images: npt.NDArray[np.uint8]) -> object:
        found.append(len(images))
        return prepare(extractor, images)

    monkeypatch.setattr(FeatureExtractor, "to_device", counted)
    return found


def request(dataset: str, *models: str, sample: int = 1000, **more: object) -> ChoosingRequest:
    """A request for untrained backbones at 32 px."""
    asked = ChoosingRequest(models or ("resnet18",), dataset, sample, ("random:0",), config=SMALL)
    return dataclasses.replace(asked, **more)  # type: ignore[arg-type]


def pictures(root: Path, *counts: int) -> str:
    """A data set with so many pictures of each class, all different."""
    seeds = iter(range(sum(counts)))
    for number, count in enumerate(counts):
        for place in range(count):
            write_picture(root / f"class{number:03d}" / f"{place:03d}.png", next(seeds))
    return f"folder:{root}"


# ---- what is recommended


def right(rows: int, share: float, seed: int) -> Right:
    """Which of so many rows a model with this accuracy has right, independent of the others."""
    return np.asarray(np.random.default_rng(seed).random(rows) < share)


def test_a_clear_winner_is_recommended_whatever_it_costs() -> None:
    correct = {"fast": right(1000, 0.80, 1), "slow": right(1000, 0.90, 2), "poor": right(1000, 0.60, 3)}
    found = recommend(correct, {"fast": 1.0, "slow": 9.0, "poor": 0.1})
    assert (found.best, found.recommended, found.tied) == ("slow", "slow", ("slow",))
    assert [one.second for one in found.against] == ["fast", "poor"]
    assert all(one.first == "slow" and one.paired.difference > 0 and one.adjusted < 0.05 for one in found.against)
    assert found.pairs == 3


def test_of_equal_models_the_cheapest_is_recommended() -> None:
    correct = {name: right(1000, 0.85, seed) for seed, name in enumerate(("a", "b", "c"))}
    for cheap in correct:
        found = recommend(correct, {name: 1.0 if name == cheap else 2.0 for name in correct})
        assert found.pairs == 3
        assert found.recommended == cheap
        assert sorted(found.tied) == ["a", "b", "c"]
        assert found.best == max(correct, key=lambda name: int(correct[name].sum()))


def test_one_that_is_worse_by_more_than_chance_is_not_recommended_though_it_is_the_cheapest() -> None:
    correct = {"best": right(1000, 0.90, 1), "near": right(1000, 0.89, 2), "poor": right(1000, 0.70, 3)}
    found = recommend(correct, {"best": 3.0, "near": 2.0, "poor": 1.0})
    assert (found.best, found.recommended, found.tied) == ("best", "near", ("best", "near"))


def test_one_that_is_hardly_cheaper_than_the_best_is_not_preferred() -> None:
    correct = {"best": right(1000, 0.90, 1), "near": right(1000, 0.89, 2)}
    assert recommend(correct, {"best": 1.4, "near": 1.0}).recommended == "best"
    assert recommend(correct, {"best": 1.5, "near": 1.0}).recommended == "near"
    assert recommend(correct, {"best": 1.0, "near": 9.0}).recommended == "best"


def test_models_that_have_the_same_rows_right_are_told_apart_by_cost_alone() -> None:
    same = right(50, 0.5, 1)
    found = recommend({"dear": same, "cheap": same.copy()}, {"dear": 2.0, "cheap": 1.0})
    assert (found.best, found.recommended) == ("cheap", "cheap")
    assert found.against[0].adjusted == 1


def test_equal_models_are_told_apart_no_more_often_than_once_in_twenty() -> None:
    costs = dict.fromkeys("abcd", 1.0)
    alarms = 0
    for trial in range(60):
        correct = {name: right(200, 0.7, 10 * trial + place) for place, name in enumerate(costs)}
        alarms += len(recommend(correct, costs).tied) < 4
    assert alarms <= 3


def test_one_model_is_compared_with_nothing() -> None:
    found = recommend({"only": right(10, 0.5, 1)}, {"only": 1.0})
    assert (found.best, found.recommended, found.tied, found.against, found.pairs) == ("only", "only", ("only",), (), 0)


def test_no_model_and_other_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to choose from"):
        recommend({}, {})
    with pytest.raises(ValueError, match="a and b: first has 10 rows and second 11, expected the same images"):
        recommend({"a": right(10, 0.5, 1), "b": right(11, 0.5, 1)}, {"a": 1.0, "b": 1.0})


# ---- how fast it was


def outcome(store: FeatureStore, computed: int, elapsed_s: float = 2.5, **changes: object) -> Outcome:
    """What a run left of 20 rows, its manifest less `changes`."""
    features = write_set(store, blobs(20), "train", elapsed_s=2.5)
    manifest = dataclasses.replace(features.manifest, **changes)  # type: ignore[arg-type]
    return Outcome(dataclasses.replace(features, manifest=manifest), computed, elapsed_s)


def test_a_speed_is_that_of_the_images_that_this_run_computed(store: FeatureStore) -> None:
    assert speed_of(outcome(store, 10)) == Speed(4.0, 10, "cpu", recorded=False)
    assert speed_of(outcome(store, 20)) == Speed(8.0, 20, "cpu", recorded=False)


def test_where_all_was_there_it_is_the_recorded_one_and_none_is_made_up(store: FeatureStore) -> None:
    assert speed_of(outcome(store, 0)) == Speed(8.0, 20, "cpu", recorded=True)
    assert speed_of(outcome(store, 0, change=Change("", 20, 20, 0, 0, 0))) is None
    assert speed_of(outcome(store, 20, elapsed_s=0.0)) is None
    (shard,) = outcome(store, 0).features.manifest.shards
    killed = outcome(store, 0, shards=(dataclasses.replace(shard, elapsed_s=None),))
    assert speed_of(killed) is None


# ---- the join


def test_a_sample_is_enough_for_a_table_and_the_test_split_is_not_touched(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], seen: list[int]
) -> None:
    found = choose(workspace, request("digits", *TWO, sample=40), SILENT)
    assert capfd.readouterr() == ("", "")
    assert sum(seen) == 2 * 40
    assert (found.dataset, found.split, found.classes, found.images, found.rows) == ("digits", "train", 10, 40, 40)
    assert (found.folds, found.split_rows > 40) == (5, True)
    assert {one.model for one in found.candidates} == set(TWO)
    first, second = found.candidates
    assert first.score.correct >= second.score.correct > 4  # even an untrained network tells digits apart
    by_model = {one.model: one for one in found.candidates}
    assert by_model["resnet18"].manifest.feature_dim == 512
    assert by_model["resnet18"].nbytes == 4 * by_model["resnet18"].parameters == 4 * 11_176_512
    assert all(one.speed is not None and not one.speed.recorded and one.speed.images == 40 for one in found.candidates)
    assert "resnet18 is an untrained backbone: its weights are random numbers" in found.notes
    assert comparison.NO_TEST_SPLIT not in found.notes
    assert [one.manifest.split for one in FeatureStore(workspace.features_dir).sets()] == ["train", "train"]


def test_the_same_sample_gives_the_same_answer_and_nothing_is_computed_again(workspace: Workspace, seen: list[int]) -> None:
    asked = request("digits", sample=20)
    first = choose(workspace, asked, SILENT)
    seen.clear()
    second = choose(workspace, asked, SILENT)
    assert seen == []
    assert [one.model for one in second.candidates] == [one.model for one in first.candidates]
    assert all((a.correct == b.correct).all() for a, b in zip(first.candidates, second.candidates, strict=True))
    assert all(one.speed is not None and one.speed.recorded for one in second.candidates)


def test_the_full_run_computes_only_what_the_sample_left(tmp_path: Path, workspace: Workspace, seen: list[int]) -> None:
    dataset = pictures(tmp_path / "pets", 15, 12, 3)
    choose(workspace, request(dataset, sample=20), SILENT)
    assert sum(seen) == 20
    full = ExtractionRequest(("resnet18",), dataset, weights=("random:0",), config=SMALL)
    (made,) = extraction.extract(workspace, full, SILENT)
    assert (sum(seen), made.computed, made.features.manifest.rows) == (30, 10, 30)
    choose(workspace, request(dataset, sample=25), SILENT)  # and a sample finds rows of the full run
    assert sum(seen) == 30


def test_a_sample_holds_the_classes_in_their_shares(tmp_path: Path, workspace: Workspace) -> None:
    found = choose(workspace, request(pictures(tmp_path / "pets", 40, 20), sample=30), SILENT)
    labels = FeatureStore(workspace.features_dir).sets()[0].load().labels
    assert np.bincount(labels).tolist() == [20, 10]
    assert comparison.NO_TEST_SPLIT in found.notes
    assert found.next_options[:4] == ("-m", "resnet18", "--dataset", f"folder:{tmp_path / 'pets'}")
    assert "--limit" not in found.next_options


def test_a_test_folder_is_not_read(tmp_path: Path, workspace: Workspace, seen: list[int]) -> None:
    for seed in range(12):
        write_picture(tmp_path / "pets/train" / "ab"[seed % 2] / f"{seed}.png", seed)
    broken = tmp_path / "pets/test/a/broken.png"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no picture")
    found = choose(workspace, request(f"folder:{tmp_path / 'pets'}"), SILENT)
    assert (found.split, found.images, sum(seen)) == ("train", 12, 12)


# ---- odd data


@pytest.mark.parametrize(
    ("counts", "note"),
    [
        ((10, 10), comparison.NO_TEST_SPLIT),
        ((10, 9, 1), "1 of 3 classes has no more than 2 training rows: class002 (1)"),
        ((2, 2), "2 of 2 classes have no more than 2 training rows: class000 (2), class001 (2)"),
    ],
    ids=["20 pictures", "a class of one", "four pictures"],
)
def test_few_pictures_are_judged_as_far_as_they_can_be(
    counts: tuple[int, ...], note: str, tmp_path: Path, workspace: Workspace
) -> None:
    found = choose(workspace, request(pictures(tmp_path / "few", *counts)), SILENT)
    assert (found.images, found.split_rows, found.rows) == (sum(counts),) * 3  # of fewer than are asked for, all
    assert note in found.notes


def test_150_classes_of_two_pictures_are_judged_in_two_folds(tmp_path: Path, workspace: Workspace) -> None:
    found = choose(workspace, request(pictures(tmp_path / "many", *[2] * 150)), SILENT)
    assert (found.classes, found.rows, found.folds) == (150, 300, 2)


def test_copies_of_a_picture_are_on_one_side_for_every_backbone(tmp_path: Path, workspace: Workspace) -> None:
    dataset = pictures(tmp_path / "pets", 8, 8)
    for place in range(8):
        write_picture(tmp_path / "pets/class000" / f"copy{place}.png", place)
    found = choose(workspace, request(dataset, *TWO), SILENT)
    assert any("images are the same" in note for note in found.notes)
    assert found.rows == 24


def test_unreadable_pictures_stop_it_unless_they_are_to_be_skipped(tmp_path: Path, workspace: Workspace) -> None:
    dataset = pictures(tmp_path / "pets", 6, 6)
    (tmp_path / "pets/class000/broken.png").write_bytes(b"no picture")
    asked = request(dataset, config=dataclasses.replace(SMALL, on_error="skip"))
    found = choose(workspace, asked, SILENT)
    assert (found.images, found.rows) == (13, 12)
    assert "1 unreadable image left out" in found.notes


def test_pictures_of_one_group_are_on_one_side(tmp_path: Path, workspace: Workspace) -> None:
    for seed in range(16):
        write_picture(tmp_path / "pets" / "ab"[seed % 2] / f"animal{seed // 4}-{seed}.png", seed)
    found = choose(workspace, request(f"folder:{tmp_path / 'pets'}", group_by="animal[0-9]+"), SILENT)
    assert any("4 groups by animal" in note for note in found.notes)


# ---- what is refused, before anything is computed


def unlabelled(root: Path) -> str:
    for seed in range(4):
        write_picture(root / f"{seed}.png", seed)
    return f"folder:{root}"


@pytest.mark.parametrize(
    ("made", "sample", "message"),
    [
        (unlabelled, 1000, "4 of 4 pictures have no label; expected a sub-folder for each class"),
        (lambda root: pictures(root, 5), 1000, "all 5 pictures of the sample are of one class, expected two; add pictures"),
        (lambda root: pictures(root, 9, 1), 1000, "only one of two classes has two of the 10 pictures of the sample; add"),
        (lambda root: pictures(root, 1, 1, 1), 1000, "no class has two of the 3 pictures of the sample; add pictures"),
        (lambda root: pictures(root, 4, 4, 4), 3, "no class has two of the 3 pictures of the sample; use --sample 12"),
    ],
    ids=["no labels", "one class", "nine and one", "one of each", "a sample with one of each"],
)
def test_what_no_head_can_learn_from_is_refused_before_anything_is_computed(
    made: Callable[[Path], str], sample: int, message: str, tmp_path: Path, workspace: Workspace, seen: list[int]
) -> None:
    with pytest.raises(DataInvalid, match=message):
        choose(workspace, request(made(tmp_path / "pets"), sample=sample), SILENT)
    assert seen == []
    assert not workspace.features_dir.exists()


def test_a_data_set_without_training_rows_is_refused(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison.datasets, "splits", lambda *_: ("test",))
    with pytest.raises(DataNotFound, match="digits: has only test rows; expected training rows to choose by"):
        choose(workspace, request("digits"), SILENT)


def test_labels_are_those_of_the_sample_alone() -> None:
    images = array_images(noise(30, 8))
    check_labels(images, 4)
    with pytest.raises(DataInvalid, match="memory: no class has two of the 3 pictures of the sample; use --sample 15"):
        check_labels(images, 3)


def test_rows_of_other_pictures_are_never_compared() -> None:
    one = dataclasses.replace(blobs(6), rows=np.arange(6), ids=np.array([b"%d" % i for i in range(6)]))
    other = dataclasses.replace(one, ids=one.ids[::-1] if one.ids is not None else None)
    with pytest.raises(FeaturesStale, match="pictures changed while they were read"):
        comparison._alike([one, other])
    grouped = dataclasses.replace(one, groups=np.array([0, 0, 1, 2, 3, 4]))
    further = dataclasses.replace(one, groups=np.array([0, 1, 1, 2, 3, 4]))
    first, second, third = comparison._alike([grouped, one, further])
    assert first.groups is not None
    assert np.array_equal(first.groups, second.groups)  # type: ignore[arg-type]
    assert np.array_equal(first.groups, third.groups)  # type: ignore[arg-type]
    assert len(np.unique(first.groups)) == 4
    assert len(np.unique(first.groups[:3])) == 1


def test_a_sample_of_nothing_is_refused() -> None:
    with pytest.raises(ArgumentInvalid, match="sample is 0, expected a whole number from 1 on"):
        ChoosingRequest(sample=0)


# ---- the command line


def test_the_command_takes_models_in_one_word_or_several(tmp_path: Path) -> None:
    here = Place(tmp_path)
    together = here.run(
        "choose", "--dataset", "digits", "--models", "resnet18,resnet50", "--sample", "20", *RANDOM, "--json"
    )
    found = json.loads(together.stdout.splitlines()[-1])
    first, second = found["models"]  # of two that are equal the faster comes first, which is no test's to say
    assert {first["model"], second["model"]} == set(TWO)
    assert first["correct"] >= second["correct"]
    assert (found["images"], found["rows"], found["split"], found["pairs_compared"]) == (20, 20, "train", 1)
    apart = here.run("choose", "--dataset", "digits", "-m", "resnet18", "--model", "resnet50", "--sample", "20", *RANDOM)
    assert f"Recommended: {found['recommended']}" in apart.stdout
    assert "(1) as recorded when the features were made" in apart.stdout
    cli_samples.parse(found["next"])
    assert shlex.split(found["next"])[:4] == ["headstart", "extract", "-m", found["recommended"]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--models", "resnet18,,resnet50"), "a name is empty, expected MODEL[,MODEL...]"),
        (("--sample", "0"), "0 is not in the range"),
        (("--group-by", "("), "is no regular expression"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    assert message in Place(tmp_path).run("choose", "--dataset", "digits", *words, code=2).stderr


def test_an_unknown_model_is_named_before_any_is_computed(tmp_path: Path, seen: list[int]) -> None:
    line = Place(tmp_path).fails("choose", "--dataset", "digits", "--models", "resnet18,resnet19", *RANDOM)
    assert "model 'resnet19' is unknown" in line
    assert seen == []


# ---- the words


def candidate(manifest: Manifest, model: str, correct: Right, rate: float | None, *, recorded: bool = False) -> Candidate:
    key = make_key(backbone=model)
    speed = None if rate is None else Speed(rate, len(correct), "a computer", recorded)
    return Candidate(key, manifest, f"features/{model}", 23_500_000, 8_200_000_000, speed, correct)


@pytest.fixture
def said(store: FeatureStore) -> Callable[..., str]:
    """What is said of models, each with its accuracy on 1,000 images and its speed."""
    manifest = write_set(store, blobs(20), "train").manifest

    def say(*models: tuple[str, float, float | None], by_speed: bool = True, recorded: bool = False) -> str:
        correct = {name: right(1000, share, place) for place, (name, share, _) in enumerate(models)}
        costs = {name: 1 / rate if rate else 1.0 for name, _, rate in models}
        advice = recommend(correct, costs)
        rates = {name: rate for name, _, rate in models}
        order = [advice.best, *(one.second for one in advice.against)]
        candidates = tuple(candidate(manifest, name, correct[name], rates[name], recorded=recorded) for name in order)
        whole = Chosen("pets", "train", 2, 1000, 1000, 2000, 5, candidates, advice, by_speed, ("a note",), ("-m", "x y"))
        assert json.loads(json.dumps(words.choosing.chosen_json(whole)))["recommended"] == advice.recommended
        return words.choosing.chosen(whole)

    return say


def test_a_clear_winner_is_said_to_be_one(said: Callable[..., str]) -> None:
    text = said(("near", 0.8, 20.0), ("good", 0.9, 10.0))
    assert text.startswith(
        "pets: the first 1,000 of 2,000 train images, 2 classes; the auto head, cross-validated in 5 folds"
    )
    assert "Recommended: good. good is better by" in text
    assert "than near, the nearest; chance does not explain that (p < 0.001)." in text
    assert [size for size in ("23.5 M", "94 MB", "8.2") if size not in text] == []
    assert "McNemar's test on the same images." in text
    assert "note: a note" in text
    assert text.endswith("headstart extract -m 'x y'")
    assert [mark for mark in ("(1)", "(2)", "unknown") if mark in text] == []


def test_what_may_be_chance_is_said_to_be_so(said: Callable[..., str]) -> None:
    text = said(("a", 0.85, 10.0), ("b", 0.85, 20.0), ("c", 0.85, 5.0))
    assert "Recommended: b; what tells" in text
    assert "apart may be chance on 1,000 images" in text
    assert "A larger --sample tells smaller differences." in text
    assert "corrected by Holm for the 3 pairs of models" in text


def test_the_best_may_be_the_fastest_too(said: Callable[..., str]) -> None:
    text = said(("a", 0.85, 10.0), ("b", 0.86, 20.0))
    assert "b has the highest accuracy, and none of the others takes clearly less time for an image" in text


def test_one_model_has_a_table_and_no_advice(said: Callable[..., str]) -> None:
    text = said(("only", 0.85, 10.0))
    assert "only was compared with nothing: name several models to choose between them." in text
    assert "McNemar" not in text


def test_a_speed_that_nobody_measured_is_unknown_and_an_old_one_is_marked(said: Callable[..., str]) -> None:
    text = said(("a", 0.85, None), ("b", 0.85, 20.0), by_speed=False, recorded=True)
    assert "20.0 (1)" in text
    assert "images/s: (1) as recorded when the features were made; unknown: the features were there" in text
    assert "operations for an image" in text
