"""Views on the command line and in Python: kept by whoever extracts, trained on, averaged over."""

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_samples import Place
from PIL import Image

import headstart as hs
from headstart.core.cache.errors import ArgumentInvalid, FeaturesInvalid, FeaturesNotFound
from headstart.core.extract.config import ExtractConfig
from headstart.core.extract.featurise import featurise, outside
from headstart.core.extract.network.extractor import FeatureExtractor
from headstart.core.extract.network.interface import TuningState
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.restore import restore
from headstart.core.heads.predict import mean_shares
from headstart.core.heads.runs import RunStore
from headstart.core.heads.training.train import probabilities
from headstart.inference import views
from headstart.inference.trained import TrainedHead, of_run
from headstart.inference.views import Viewed, versions
from headstart.requests import InferenceOptions
from headstart.workspace import Workspace

SMALL = ("--dataset", "digits", "--weights", "random:0", "--image-size", "32", "--precision", "fp32")
CONFIG = ExtractConfig(image_size=32, precision="fp32", limit=120)


def workspace_of(place: Place) -> Workspace:
    return Workspace(place.root / "features", place.root / "runs", place.root / "data", "cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place with features of 120 and 120 digits, a view of each, and a head that was trained with it."""
    found = Place(tmp_path_factory.mktemp("place"))
    found.run("extract", "-m", "resnet18", *SMALL, "--limit", "120", "--views", "flip")
    found.run("train-head", "--head", "logreg", "--views")
    return found


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures that can be read and one that can't."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("a.png", "b.png", "d.png"):
        Image.fromarray(random.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(folder / name)
    (folder / "c.jpg").write_bytes(b"\xff\xd8\xff nothing behind it")
    return folder


def head_of(place: Place) -> TrainedHead:
    runs = RunStore(place.root / "runs").runs()
    return of_run(workspace_of(place), next(run for run in reversed(runs) if run.config.views))


def test_the_terminal_says_which_views_and_what_averages_are_worth(place: Place) -> None:
    said = place.run("train-head", "--head", "logreg", "--views", "--json").stdout
    assert "resnet18 on digits: logreg, standard recipe, 120 rows with 1 view of each, seed 0" in said
    assert "note: trained on views of each picture too: flip" in said
    assert "averaged over its views " in said
    assert "(95 % interval" in said
    assert "120 images; the image, flip)" in said
    (facts,) = json.loads(said.splitlines()[-1])
    assert facts["config"]["views"] == ["flip"]
    assert facts["averaged"]["total"] == 120


def test_one_line_says_that_views_are_kept_and_not_used(place: Place) -> None:
    found = place.run("train-head", "--head", "prototype", "--json")
    said = [line for line in found.stderr.splitlines() if "view" in line]
    assert said == ["note: resnet18 digits: a view of each training picture is kept; --views trains on it too"]
    assert "views" not in json.loads(found.stdout.splitlines()[-1])[0]["config"]


def test_several_seeds_have_an_average_each(place: Place) -> None:
    said = place.run("train-head", "--head", "mlp", "--epochs", "2", "--seeds", "2", "--views").stdout
    assert said.count(", averaged over its views ") == 2
    assert said.count("note: trained on views of each picture too: flip") == 1


def test_the_study_recipe_and_views_are_refused(place: Place) -> None:
    said = place.run("train-head", "--recipe", "study", "--views", code=2).stderr
    assert "--views: the study recipe is the published protocol, which had none; leave one of the two out" in said


def test_no_views_is_an_error_with_a_command(tmp_path: Path) -> None:
    found = Place(tmp_path)
    found.run("extract", "-m", "resnet18", *SMALL, "--limit", "40")
    line = found.fails("train-head", "--views")
    assert "no view of its pictures is kept; `headstart extract -m resnet18 --dataset digits --weights random:0" in line
    found.run("extract", "-m", "resnet18", *SMALL, "--limit", "40", "--split", "train", "--views", "flip")
    found.run("train-head", "--head", "logreg", "--views")
    found.run("extract", "-m", "resnet18", *SMALL, "--limit", "60")
    assert "the view flip is of other pictures, labels or rows than" in found.fails("train-head", "--views")


def test_a_report_says_which_views(place: Place) -> None:
    said = place.run("report").stdout
    assert "views flip" in said
    assert "trained on views of each picture too: flip" in said
    facts = json.loads((place.root / "runs" / "report" / "report.json").read_text())
    assert any("views flip" in row["recipe"] for row in facts["sections"][0]["rows"])


def test_bench_inference_and_cache_take_a_head_with_views(place: Place) -> None:
    place.run("bench-inference", "--head", str(place.root / "runs" / head_of(place).name), "--limit", "20")
    assert "nothing to remove" in place.run("cache", "gc", "--dry-run").stdout


def by_hand(place: Place, files: list[Path]) -> np.ndarray:
    """The mean of the probabilities of each version, each through a network of its own transform."""
    head = head_of(place)
    found = []
    for view in ("", "flip"):
        network = extractor(head)
        network = dataclasses.replace(
            network, preprocessing=dataclasses.replace(network.preprocessing, view=view), tuning=TuningState()
        )
        rows = [row for block in featurise(outside(files), network, 1, None, lambda _: None) for row in block.features]
        assert head.checkpoint.confidence is not None
        found.append(probabilities(head.checkpoint.head, np.stack(rows), "cpu", head.checkpoint.confidence.temperature))
    mean: np.ndarray = np.mean(found, axis=0)
    return mean


def extractor(head: TrainedHead) -> FeatureExtractor:
    return restore(head.checkpoint.key, head.checkpoint.weights_from, None, "cpu", None)


def test_predict_averages_what_each_view_gives_by_itself(place: Place, pictures: Path) -> None:
    files = [pictures / name for name in ("a.png", "b.png", "d.png")]
    path = str(place.root / "runs" / head_of(place).name)
    found = place.run("predict", "--head", path, "--views", "--topk", "10", "--json", str(pictures), code=1)
    photos = json.loads(found.stdout.splitlines()[-1])
    assert f"note: {head_of(place).name}: averaged over the image + flip" in found.stderr
    assert "c.jpg: " in found.stderr
    expected = by_hand(place, files)
    classes = head_of(place).checkpoint.classes
    there = [photo for photo in photos if not photo["error"]]
    assert [Path(photo["name"]).name for photo in photos] == ["a.png", "b.png", "c.jpg", "d.png"]
    for photo, shares in zip(there, expected, strict=True):
        ((name, labels),) = photo["labels"].items()
        assert photo["averaged_over"] == {name: ["the image", "flip"]}
        assert [share for _, share in labels] == sorted((share for _, share in labels), reverse=True)
        assert dict(labels) == pytest.approx(dict(zip(classes, shares.tolist(), strict=True)), abs=1e-4)
    assert "averaged_over" not in photos[2]


def test_csv_says_what_was_averaged(place: Place, pictures: Path) -> None:
    path = str(place.root / "runs" / head_of(place).name)
    text = place.run("predict", "--head", path, "--views", "--format", "csv", str(pictures), code=1).stdout
    lines = list(csv.DictReader(io.StringIO(text)))
    assert {line["averaged over"] for line in lines if not line["error"]} == {"the image + flip"}
    assert [line["averaged over"] for line in lines if line["error"]] == [""]


def test_a_head_without_views_is_refused_with_the_command_that_trains_one(place: Place, pictures: Path) -> None:
    place.run("train-head", "--head", "prototype")
    line = place.fails("predict", "--views", str(pictures / "a.png"))
    assert "was trained without views" in line
    command = line.partition("`")[2].partition("`")[0]
    assert command.startswith("headstart train-head -m resnet18 --dataset digits")
    assert command.endswith("--views")
    place.run(*command.split()[1:])  # works


def test_sets_and_averages_are_refused_together(place: Place, pictures: Path) -> None:
    line = place.fails("predict", "--views", "--coverage", "0.9", str(pictures / "a.png"))
    assert "--coverage 0.9: prediction sets were learned from single pictures" in line


def test_many_pictures_are_averaged_some_at_a_time(place: Place, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, head = sorted(pictures.iterdir()), head_of(place)
    notes: list[str] = []
    whole = list(versions(files, ["", "flip"], extractor(head), InferenceOptions(), notes.append))
    monkeypatch.setattr(views, "AT_ONCE", 3)
    parts = list(versions(files, ["", "flip"], extractor(head), InferenceOptions(), notes.append))
    assert [part.rows for part in parts] == [(0, 1), (3,)]
    for view in ("", "flip"):
        joined = np.concatenate([part.features[view] for part in parts])
        np.testing.assert_allclose(joined, whole[0].features[view], rtol=1e-4, atol=1e-6)
    assert [*whole[0].errors] == [2] == [row for part in parts for row in part.errors]


# ------------------------------------------------------------------------------------------------ Python


@pytest.fixture(scope="module")
def features(place: Place) -> hs.Features:
    small: dict[str, Any] = {"weights": "random:0", "image_size": 32, "precision": "fp32", "limit": 120, "device": "cpu"}
    where = {"features_dir": place.root / "features", "data_dir": place.root / "data"}
    return hs.extract("digits", model="resnet18", **small, **where)


def test_python_trains_and_averages_as_the_command_does(place: Place, features: hs.Features, pictures: Path) -> None:
    head = hs.train(features, head="logreg", views=True, device="cpu")
    assert head.run is not None
    assert head.run.config.views == ("flip",)
    assert head.run.averaged is not None
    assert head.run.averaged.total == 120
    files = [pictures / name for name in ("a.png", "b.png", "d.png")]
    found = head.predict_proba(files, views=True)
    np.testing.assert_allclose(found, by_hand(place, files), atol=1e-4)
    assert head.predict(files, views=True).tolist() == [head.classes[i] for i in found.argmax(axis=1)]
    assert head.score(files, head.predict(files, views=True), views=True) == 1.0
    saved = hs.load(head.save(pictures / "head"), device="cpu")
    np.testing.assert_array_equal(saved.predict_proba(files, views=True), found)


def test_python_refuses_what_has_no_views(features: hs.Features, pictures: Path, tmp_path: Path) -> None:
    plain, several = (hs.train(features, head="prototype", views=views, device="cpu") for views in (False, True))
    with pytest.raises(ArgumentInvalid, match=r"was trained without views; headstart.train\(..., views=True\)"):
        plain.predict_proba(pictures / "a.png", views=True)
    with pytest.raises(ArgumentInvalid, match="these are features of pictures as they are"):
        several.predict(features, views=True)
    with pytest.raises(ArgumentInvalid, match="views is 'yes', expected True or False"):
        several.predict(pictures / "a.png", views="yes")  # type: ignore[arg-type]
    with pytest.raises(ArgumentInvalid, match="views is 1, expected True or False"):
        hs.train(features, views=1)  # type: ignore[arg-type]
    with pytest.raises(ArgumentInvalid, match=r"^views: the study recipe"):
        hs.train(features, recipe="study", views=True)


def test_python_takes_no_view_for_the_pictures(place: Place, features: hs.Features) -> None:
    folder = next(path for path in (place.root / "features").glob("digits-train-*") if path not in features.folders)
    flipped = hs.open(folder)
    with pytest.raises(ArgumentInvalid, match="these are of the view flip of pictures; give train the features"):
        hs.train(flipped)
    head = hs.train(features, head="prototype", device="cpu")
    with pytest.raises(FeaturesInvalid, match="view is None, not 'flip'"):
        head.predict(flipped)


def test_python_names_the_command_where_no_view_is_kept(tmp_path: Path) -> None:
    small: dict[str, Any] = {"weights": "random:0", "image_size": 32, "limit": 40, "device": "cpu"}
    found = hs.extract("digits", model="resnet18", **small, features_dir=tmp_path / "features", data_dir=tmp_path / "data")
    with pytest.raises(
        FeaturesNotFound, match=r"`headstart extract -m resnet18 --dataset digits .* --limit 40 --views flip` makes one"
    ):
        hs.train(found, views=True)


def test_a_viewed_picture_is_read_by_the_views_transform() -> None:
    asked: list[str] = []

    class Told:
        rows = 3

        def noticed(self) -> list[str]:
            return ["a guess"]

        def read(self, start: int, stop: int, transform: Any, workers: int) -> Any:
            asked.append(transform.view)
            return (start, stop, workers)

    seen = Viewed(Told(), "flip")
    assert (seen.rows, seen.noticed()) == (3, ["a guess"])
    assert seen.read(0, 2, Preprocessing(32), 1) == (0, 2, 1)  # type: ignore[comparison-overlap]
    assert asked == ["flip"]


def test_means_are_of_calibrated_probabilities(place: Place) -> None:
    checkpoint = head_of(place).checkpoint
    rng = np.random.default_rng(0)
    one, other = (rng.standard_normal((4, checkpoint.head.dim)).astype(np.float32) for _ in range(2))
    found = mean_shares(checkpoint, [one, other], "cpu")
    np.testing.assert_allclose(found, (mean_shares(checkpoint, [one], "cpu") + mean_shares(checkpoint, [other], "cpu")) / 2)
    with pytest.raises(FeaturesInvalid, match="features have 3 numbers, the head expects 512"):
        mean_shares(checkpoint, [one, other[:, :3]], "cpu")


# ------------------------------------------------------------------------------------------------ from end to end


def shares_in(said: str) -> str:
    return str(json.loads(said.splitlines()[-1])[0])


def test_views_that_extract_keeps_are_trained_on_and_averaged(tmp_path: Path) -> None:
    """The three commands as a user gives them; the views were kept later, in shards of another size."""
    here, picture = Place(tmp_path), tmp_path / "picture.png"
    here.run("extract", "-m", "resnet18", *SMALL, "--limit", "120")
    here.run("extract", "-m", "resnet18", *SMALL, "--limit", "120", "--views", "2", "--shard-rows", "50")
    said = here.run("train-head", "--head", "logreg", "--views", "--json")
    (found,) = json.loads(said.stdout.splitlines()[-1])
    words = [f"crop area=0.25-1 ratio=3/4-4/3 seed=0 number={number}" for number in (1, 2)]
    record = json.loads((tmp_path / "runs" / found["name"] / "run.json").read_bytes())
    assert (record["config"]["views"], record["averaged"]["total"]) == (words, record["evaluation"]["overall"]["total"])
    Image.fromarray(np.arange(48 * 40 * 3, dtype=np.uint8).reshape(40, 48, 3)).save(picture)
    plain, averaged = (here.run("predict", str(picture), *more, "--json").stdout for more in ((), ("--views",)))
    assert shares_in(plain) != shares_in(averaged)


def test_views_of_other_pictures_are_told_apart_whatever_their_shards(tmp_path: Path) -> None:
    here, folder = Place(tmp_path), tmp_path / "pets"
    for number in range(24):
        path = folder / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 40, 3), 10 * number, dtype=np.uint8)).save(path)
    words = ("extract", "-m", "resnet18", "--dataset", f"folder:{folder}", *SMALL[2:])
    here.run(*words, "--views", "flip")
    Image.fromarray(np.full((40, 40, 3), 255, dtype=np.uint8)).save(folder / "cat" / "1.png")
    here.run(*words, "--shard-rows", "7")
    failed = here.run("train-head", "--views", code=1)
    assert "the view flip is of other pictures, labels or rows than" in failed.stderr
    assert "--views flip` brings it up to date" in failed.stderr
