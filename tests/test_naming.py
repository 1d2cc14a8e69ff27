"""Which data set a folder is: two never mix, a moved one is found, and rows stay in the order that they were kept in."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from extract_samples import QuarterMeans, RecordingObserver, no_body, write_picture

from headstart.core.cache.errors import DataNotFound, FeaturesStale
from headstart.core.cache.manifest import NAME
from headstart.core.cache.store import FeatureStore
from headstart.core.extract import datasets
from headstart.core.extract.backbones import Backbone
from headstart.core.extract.config import ExtractConfig
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.job import Job
from headstart.core.extract.naming import as_kept, known_as, splits_meant
from headstart.core.extract.network.devices import Device
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.run import Outcome, extract
from headstart.core.extract.weights import Weights

QUARTERS = Backbone("quarters", 4, no_body)


@dataclasses.dataclass(frozen=True)
class Place:
    """A features directory, and jobs over folders that are named and ordered by what is in it."""

    top: Path

    @property
    def store(self) -> FeatureStore:
        return FeatureStore(self.top / "features")

    def jobs(
        self, folder: Path, *splits: str, backbone: Backbone = QUARTERS, settle: bool = True, **config: object
    ) -> list[Job]:
        spec = f"folder:{folder}"
        made = [
            Job(
                images=datasets.open_split(spec, split, Path("unused")),
                backbone=backbone,
                weights=Weights("file", "0" * 64, "nowhere"),
                preprocessing=Preprocessing(16),
                device=Device("cpu", "fp32", "this CPU"),
                config=ExtractConfig(**{"shard_rows": 4, **config}),  # type: ignore[arg-type]
            )
            for split in splits or datasets.splits(spec, None, Path("unused"))
        ]
        return as_kept(made, self.store) if settle else made

    def run(self, folder: Path, *splits: str, **given: object) -> list[Outcome]:
        jobs = self.jobs(folder, *splits, **given)  # type: ignore[arg-type]
        return [extract(job, lambda _: QuarterMeans(), self.store, RecordingObserver()) for job in jobs]

    def run_in_order_of_names(self, folder: Path, **config: object) -> Outcome:
        """What a version before had made: rows by name, and a manifest that knows no order."""
        (job,) = self.jobs(folder, **config)  # type: ignore[arg-type]
        job = dataclasses.replace(job, images=job.images.in_order("unknown"))
        return extract(job, lambda _: QuarterMeans(), self.store, RecordingObserver())

    def pictures(self, *paths: str, seed: int = 0) -> Path:
        for number, path in enumerate(paths):
            write_picture(self.top / path, 100 * seed + number)
        return self.top


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def names(outcomes: list[Outcome]) -> list[str]:
    return [outcome.features.manifest.dataset for outcome in outcomes]


TWO = ("cat/1.png", "cat/2.png", "cat/3.png", "dog/1.png", "dog/2.png", "dog/3.png")


def make(place: Place, folder: str, seed: int) -> Path:
    place.pictures(*(f"{folder}/{path}" for path in TWO), seed=seed)
    return place.top / folder


# ---- names


def test_two_folders_of_one_name_are_two_data_sets(place: Place) -> None:
    one, other, third = (make(place, f"{parent}/pets", seed) for seed, parent in enumerate("abc"))
    found = [names(place.run(folder)) for folder in (one, other, third, one, other, third)]
    assert found == [["folder-pets"], ["folder-pets-2"], ["folder-pets-3"]] * 2
    assert [outcome.computed for folder in (one, other, third) for outcome in place.run(folder)] == [0, 0, 0]


def test_another_name_than_the_plain_one_is_said(place: Place) -> None:
    one, other = make(place, "a/pets", 0), make(place, "b/pets", 1)
    place.run(one)
    (job,) = place.jobs(other)
    assert f"features of {other} are called folder-pets-2: folder-pets is of another folder" in job.images.remarks
    (job,) = place.jobs(one)
    assert not any("are called" in remark for remark in job.images.remarks)


@pytest.mark.parametrize("how", ["renamed", "copied", "linked"])
def test_a_folder_elsewhere_finds_its_features(place: Place, how: str) -> None:
    one, other = make(place, "a/pets", 0), make(place, "b/pets", 1)
    place.run(one)
    place.run(other)
    if how == "renamed":
        other.parent.rename(place.top / "c")
    elif how == "copied":
        shutil.copytree(other.parent, place.top / "c")
    else:
        (place.top / "c").symlink_to(other.parent)
    (outcome,) = place.run(place.top / "c/pets")
    assert (outcome.computed, names([outcome])) == (0, ["folder-pets-2"])


def test_the_splits_of_a_data_set_have_one_name_whichever_comes_first(place: Place) -> None:
    for seed, split in enumerate(("train", "test")):
        make(place, f"a/pets/{split}", seed)
        make(place, f"b/pets/{split}", 10 + seed)
    assert names(place.run(place.top / "a/pets", "test")) == ["folder-pets"]
    assert names(place.run(place.top / "b/pets", "train")) == ["folder-pets-2"]
    assert names(place.run(place.top / "b/pets", "test")) == ["folder-pets-2"]
    assert names(place.run(place.top / "a/pets", "train")) == ["folder-pets"]


def test_another_backbone_gets_the_same_name(place: Place) -> None:
    one, other = make(place, "a/pets", 0), make(place, "b/pets", 1)
    place.run(one)
    place.run(other)
    assert names(place.run(other, backbone=Backbone("eighths", 4, no_body))) == ["folder-pets-2"]


def test_changed_pictures_of_the_same_folder_are_the_same_data_set(place: Place) -> None:
    folder = make(place, "a/pets", 0)
    place.run(folder)
    for path in TWO:
        write_picture(folder / path, 77)
    (outcome,) = place.run(folder)
    assert (names([outcome]), outcome.features.folder.name[-2:]) == (["folder-pets"], "-2")
    assert outcome.computed == 1  # six equal pictures


def test_a_run_that_was_killed_before_its_manifest_is_gone_on_with(place: Place) -> None:
    one, other = make(place, "a/pets", 0), make(place, "b/pets", 1)
    (first,) = place.run(one)
    (first.features.folder / NAME).unlink()
    assert names(place.run(other)) == ["folder-pets-2"]
    (again,) = place.run(one)
    assert (names([again]), again.computed) == (["folder-pets"], 0)


def test_a_gap_left_by_a_removed_set_is_filled_by_new_folders_only(place: Place) -> None:
    one, other, third = (make(place, f"{parent}/pets", seed) for seed, parent in enumerate("abc"))
    (first,) = place.run(one)
    place.run(other)
    shutil.rmtree(first.features.folder)
    assert names(place.run(other)) == ["folder-pets-2"]
    assert names(place.run(third)) == ["folder-pets"]


def test_frozen_knows_a_copy_by_its_pictures_and_makes_no_data_set_of_a_changed_one(place: Place) -> None:
    one = make(place, "a/pets", 0)
    place.run(one)
    shutil.copytree(one.parent, place.top / "c")
    copy = place.top / "c/pets"
    assert [outcome.computed for outcome in place.run(copy, frozen=True)] == [0]
    for number, path in enumerate(TWO):
        write_picture(copy / path, 770 + number)
    with pytest.raises(
        FeaturesStale, match=r"the features of folder-pets are not of what .*c/pets has now; leave out --froz"
    ):
        place.run(copy, frozen=True)
    assert len(place.store.sets()) == 1
    assert names(place.run(copy)) == ["folder-pets-2"]
    assert names(place.run(copy, frozen=True)) == ["folder-pets-2"]


def test_frozen_makes_no_data_set_beside_one_whose_manifest_is_damaged(place: Place) -> None:
    folder = make(place, "a/pets", 0)
    (outcome,) = place.run(folder)
    (outcome.features.folder / NAME).write_bytes(b"{")
    for path in TWO:
        write_picture(folder / path, 77)
    with pytest.raises(FeaturesStale, match=r"the features of folder-pets are not of what .*a/pets has now"):
        place.run(folder, frozen=True)
    assert place.run(folder)


def test_a_folder_that_moved_and_was_found_is_the_same_data_set_when_it_changes(place: Place) -> None:
    one = make(place, "a/pets", 0)
    (before,) = place.run(one)
    one.parent.rename(place.top / "b")
    moved = place.top / "b/pets"
    (found,) = place.run(moved)
    assert found.computed == 0
    assert found.features.manifest.provenance.data_from == str(moved)
    assert found.features.manifest.digest == before.features.manifest.digest
    write_picture(moved / "cat/2.png", 77)
    with pytest.raises(FeaturesStale, match=r"1 picture is new, 1 no longer there; leave out --frozen"):
        place.run(moved, frozen=True)
    (after,) = place.run(moved)
    assert (names([after]), after.features.folder.name[-2:], after.computed) == (["folder-pets"], "-2", 1)


def test_a_copy_does_not_take_the_place_of_a_folder_that_is_there(place: Place) -> None:
    one = make(place, "a/pets", 0)
    place.run(one)
    shutil.copytree(one.parent, place.top / "c")
    (found,) = place.run(place.top / "c/pets")
    assert found.features.manifest.provenance.data_from == str(one)


def test_a_folder_called_like_another_ones_second_is_its_own(place: Place) -> None:
    one, other, third = make(place, "a/pets", 0), make(place, "b/pets", 1), make(place, "pets-2", 2)
    assert [names(place.run(folder)) for folder in (one, third, other)] == [
        ["folder-pets"],
        ["folder-pets-2"],
        ["folder-pets-3"],
    ]


def test_a_damaged_manifest_of_another_set_stops_nothing(place: Place) -> None:
    one, other = make(place, "a/pets", 0), make(place, "b/pets", 1)
    (first,) = place.run(one)
    (first.features.folder / NAME).write_text("{}")
    assert names(place.run(other)) == ["folder-pets-2"]


def test_names_are_safe_for_here_and_for_the_root(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(place, "a/pets", 0)
    monkeypatch.chdir(folder)
    assert place.jobs(Path())[0].images.name == "folder-pets"
    assert place.jobs(Path("cat/.."))[0].images.name == "folder-pets"
    images = datasets.open_split(f"folder:{folder}", "all", Path("unused"))
    assert isinstance(images, FileImages)
    assert Path(images.source).is_absolute()


# ---- the order of rows


def test_a_set_in_the_order_of_names_gives_its_rows_to_a_stratified_one(place: Place) -> None:
    folder = make(place, "a/pets", 0)
    old = place.run_in_order_of_names(folder).features
    assert (old.manifest.provenance.order, old.load().ids.tolist()) == ("unknown", [path.encode() for path in TWO])
    (found,) = place.run(folder)
    assert (found.computed, found.features.manifest.provenance.order) == (0, "stratified")
    assert {name[:3] for name in found.features.load().ids[:2].tolist()} == {b"cat", b"dog"}
    assert place.run(folder)[0].features == found.features


def test_a_new_set_is_stratified_and_says_so(place: Place) -> None:
    (outcome,) = place.run(make(place, "a/pets", 0))
    assert outcome.features.manifest.provenance.order == "stratified"
    assert outcome.features.load().labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_a_mixed_set_of_an_older_version_becomes_known_as_mixed(tmp_path: Path) -> None:
    images = datasets.open_split("digits", "train", tmp_path)
    assert images.order == "mixed"
    assert images.in_order("unknown") is images


# ---- what a user calls it


def test_a_folder_is_known_by_its_features(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = make(place, "a/pets", 0), make(place, "b/pets", 1)
    place.run(one)
    place.run(other)
    monkeypatch.chdir(place.top)
    asked = {
        "folder-pets": ["folder-pets"],
        f"folder:{one}": ["folder-pets"],
        f"folder:{other}": ["folder-pets-2"],
        "folder:b/pets": ["folder-pets-2"],
        "./b/pets": ["folder-pets-2"],
        "classes:b/pets": ["folder-pets-2"],
        "pets": ["folder-pets"],
        "Folder-Pets": ["folder-pets"],
        "folder:pets": ["folder-pets", "folder-pets-2"],
    }
    assert {name: known_as(name, place.store) for name in asked} == asked
    shutil.rmtree(place.top / "a")
    one.parent.mkdir()
    other.rename(one)
    assert known_as("folder:a/pets", place.store) == ["folder-pets"]


def test_splits_are_known_by_their_folder(place: Place) -> None:
    for seed, split in enumerate(("train", "val", "test")):
        make(place, f"a/pets/{split}", seed)
    place.run(place.top / "a/pets")
    assert known_as(f"folder:{place.top}/a/pets", place.store) == ["folder-pets"]
    with pytest.raises(DataNotFound, match=r"no features of folder:.*train.*; there are features of folder-pets;"):
        known_as(f"folder:{place.top}/a/pets/train", place.store)


def test_what_is_not_known_is_answered_with_what_is_like_it(place: Place) -> None:
    with pytest.raises(DataNotFound, match="no features of pets; there are none yet; `headstart extract"):
        known_as("pets", place.store)
    place.run(make(place, "a/flowers", 0))
    with pytest.raises(DataNotFound, match=r"no features of folder-flower \(did you mean folder-flowers\?\); there are"):
        known_as("folder-flower", place.store)


def test_what_was_begun_is_said_to_be_not_complete(place: Place) -> None:
    place.run(make(place, "a/flowers", 0))
    (name,) = (path.name for path in place.store.root.iterdir() if path.is_dir() and not path.name.startswith("."))
    (place.store.root / name / "manifest.json").unlink()
    words = f"there are none yet, and {name} is not complete: the same `headstart extract` goes on; `headstart extract`"
    with pytest.raises(DataNotFound, match=words):
        known_as("folder-flowers", place.store)


def test_what_all_names_begin_with_makes_none_more_like(place: Place) -> None:
    place.run(make(place, "a/one", 0))
    with pytest.raises(DataNotFound, match=r"no features of folder:broken; there are features of folder-one;"):
        known_as("folder:broken", place.store)
    with pytest.raises(DataNotFound, match=r"no features of folder:onee \(did you mean folder-one\?\); "):
        known_as("folder:onee", place.store)


def test_a_folders_splits_and_its_classes_are_meant_apart(place: Place) -> None:
    for seed, split in enumerate(("train", "test")):
        make(place, f"a/pets/{split}", seed)
    top = place.top / "a/pets"
    assert splits_meant(f"folder:{top}") == ("train", "test")
    assert splits_meant(f"folder:{top}/train") == ("all",)
    assert splits_meant(f"classes:{top}") == ("all",)
    assert splits_meant("folder:nowhere") is splits_meant("digits") is splits_meant("folder-pets") is None
