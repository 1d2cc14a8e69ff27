"""A user's own data sets of every kind: rows are shared by content, changes cost what changed, and no two mix."""

import dataclasses
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from dataset_samples import Sample, labelled, read, samples, write_folder, write_list, write_parquet, write_tar
from extract_samples import QuarterMeans, RecordingObserver, no_body, noise

from headstart.core.cache.errors import ArgumentInvalid, DataNotFound, FeaturesStale
from headstart.core.cache.store import FeatureStore
from headstart.core.extract import datasets
from headstart.core.extract.backbones import Backbone
from headstart.core.extract.config import ExtractConfig
from headstart.core.extract.images.contents import Contents
from headstart.core.extract.job import Job
from headstart.core.extract.naming import as_kept, known_as, splits_meant
from headstart.core.extract.network.devices import Device
from headstart.core.extract.pictures import thumbnails
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.run import Outcome, extract
from headstart.core.extract.weights import Weights

NOWHERE = Path("unused")
QUARTERS = Backbone("quarters", 4, no_body)

Write = Callable[[Path, Sequence[Sample]], Path]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of data set: its word, the file or folder that `write` makes, and how."""

    word: str
    file: str
    write: Write

    def __str__(self) -> str:
        return self.word

    def make(self, top: Path, given: Sequence[Sample]) -> str:
        """A data set below `top`, as `--dataset` names it."""
        if self.word == "parquet":
            pytest.importorskip("pyarrow", reason="needs pyarrow")
        return f"{self.word}:{self.write(top / self.file, given)}"


KINDS = [
    Kind("folder", "pets", write_folder),
    Kind("list", "pets.csv", write_list),
    Kind("tar", "pets.tar", write_tar),
    Kind("parquet", "pets.parquet", write_parquet),
]
FILES = KINDS[1:]


@dataclasses.dataclass(frozen=True)
class Place:
    """A features directory, and runs into it."""

    store: FeatureStore

    def jobs(self, spec: str, **config: object) -> list[Job]:
        made = [
            Job(
                images=datasets.open_split(spec, split, NOWHERE),
                backbone=QUARTERS,
                weights=Weights("file", "0" * 64, "nowhere"),
                preprocessing=Preprocessing(16),
                device=Device("cpu", "fp32", "this CPU"),
                config=ExtractConfig(**{"shard_rows": 4, **config}),  # type: ignore[arg-type]
            )
            for split in datasets.splits(spec, None, NOWHERE)
        ]
        return as_kept(made, self.store)

    def run(self, spec: str, **config: object) -> list[Outcome]:
        return [
            extract(job, lambda _: QuarterMeans(), self.store, RecordingObserver()) for job in self.jobs(spec, **config)
        ]

    def one(self, spec: str, **config: object) -> Outcome:
        (outcome,) = self.run(spec, **config)
        return outcome


@pytest.fixture
def place(store: FeatureStore) -> Place:
    return Place(store)


def name(outcome: Outcome) -> str:
    return outcome.features.manifest.dataset


# ---- rows by content


@pytest.mark.parametrize("second", KINDS, ids=str)
@pytest.mark.parametrize("first", KINDS, ids=str)
def test_the_same_pictures_share_their_rows_whatever_they_are_in(
    tmp_path: Path, place: Place, first: Kind, second: Kind
) -> None:
    given = samples(9, "a", "b", "c")
    made = place.one(first.make(tmp_path / "one", given))
    assert made.computed == 9
    again = place.one(second.make(tmp_path / "two", given))
    assert again.computed == 0
    ours, theirs = (dict(zip(map(bytes, rows.digests), rows.features, strict=True))  # type: ignore[arg-type]
                    for rows in (made.features.load(), again.features.load()))  # fmt: skip
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[mark], theirs[mark]) for mark in ours)


@pytest.mark.parametrize("kind", FILES, ids=str)
def test_what_did_not_change_is_not_read_again(tmp_path: Path, place: Place, kind: Kind) -> None:
    spec = kind.make(tmp_path, samples(9, "a", "b", "c"))
    place.one(spec)
    (job,) = place.jobs(spec)
    known = Contents(job.images, lambda: place.store.known_files(job.named, "all"))
    monitored = dataclasses.replace(job, images=dataclasses.replace(job.images))  # type: ignore[type-var]
    assert len(known.known_files(9).ids) == 9
    assert known.marks(0, 9) == job.images.fingerprints(0, 9)
    assert extract(monitored, pytest.fail, place.store, RecordingObserver()).computed == 0


@pytest.mark.parametrize("kind", FILES, ids=str)
def test_a_change_costs_what_changed(tmp_path: Path, place: Place, kind: Kind) -> None:
    given = samples(9, "a", "b", "c")
    spec = kind.make(tmp_path, given)
    place.one(spec)
    changed = [*given[1:], *samples(2, "a", "c", seed=50)]
    changed[-2:] = [dataclasses.replace(one, name=f"new{number}") for number, one in enumerate(changed[-2:])]
    again = place.one(kind.make(tmp_path, changed))
    assert (again.computed, name(again), again.features.manifest.rows) == (2, f"{kind.word}-pets", 10)
    assert labelled(place.jobs(spec)[0].images)
    with pytest.raises(FeaturesStale, match="is no longer what it was made from: "):
        place.one(kind.make(tmp_path, given), frozen=True)


@pytest.mark.parametrize("kind", FILES, ids=str)
def test_a_limit_is_a_sample_that_grows(tmp_path: Path, place: Place, kind: Kind) -> None:
    spec = kind.make(tmp_path, samples(12, "a", "b", "c"))
    few = place.one(spec, limit=3)
    assert sorted(few.features.load().labels.tolist()) == [0, 1, 2]
    assert place.one(spec).computed == 9


@pytest.mark.parametrize("kind", FILES, ids=str)
def test_a_broken_picture_is_skipped_when_asked(tmp_path: Path, place: Place, kind: Kind) -> None:
    given = samples(6, "a", "b")
    given[3] = dataclasses.replace(given[3], content=given[3].content[:40])
    outcome = place.one(kind.make(tmp_path, given), on_error="skip")
    assert (outcome.features.manifest.rows, outcome.features.manifest.skipped) == (5, 1)


@pytest.mark.parametrize("kind", FILES, ids=str)
@pytest.mark.parametrize("count", [1, 2, 20])
def test_few_pictures_and_a_class_of_one_are_no_exception(tmp_path: Path, place: Place, kind: Kind, count: int) -> None:
    given = [*samples(count, "a"), dataclasses.replace(samples(1, "b", seed=90)[0], name="one")]
    outcome = place.one(kind.make(tmp_path, given))
    assert (outcome.features.manifest.rows, outcome.features.manifest.classes) == (count + 1, ("a", "b"))


# ---- names


@pytest.mark.parametrize("kind", FILES, ids=str)
def test_two_of_one_name_are_two_data_sets(tmp_path: Path, place: Place, kind: Kind) -> None:
    first = kind.make(tmp_path / "one", samples(4, "a", "b"))
    second = kind.make(tmp_path / "two", samples(4, "a", "b", seed=50))
    assert (name(place.one(first)), name(place.one(second))) == (f"{kind.word}-pets", f"{kind.word}-pets-2")
    (job,) = place.jobs(second)
    assert f"are called {kind.word}-pets-2" in job.images.remarks[-1]
    for spec, expected in ((first, f"{kind.word}-pets"), (second, f"{kind.word}-pets-2")):
        assert known_as(spec, place.store) == [expected]
        assert splits_meant(spec) == ("all",)
    with pytest.raises(DataNotFound, match=r"no features of .*others"):
        known_as(kind.make(tmp_path / "three", samples(2, "a", "b")).replace("pets", "others"), place.store)


def test_other_columns_of_one_file_are_other_data_sets(tmp_path: Path, place: Place) -> None:
    """Even where the labels have the same numbers: a, b as 0, 1 and x, y as 0, 1."""
    write_folder(tmp_path / "photos", samples(4, "a", "b"))
    pictures = sorted((tmp_path / "photos").rglob("*.*"))
    lines = [f"{path.relative_to(tmp_path)},{path.parent.name},{'xy'['ab'.index(path.parent.name)]}" for path in pictures]
    (tmp_path / "pets.csv").write_text("\n".join(["path,label,breed", *lines]))
    specs = [f"list:{tmp_path}/pets.csv{columns}" for columns in ("#label", "#breed", "")]
    outcomes = [place.one(spec) for spec in specs]
    assert [name(one) for one in outcomes] == ["list-pets", "list-pets-2", "list-pets-3"]
    assert [one.computed for one in outcomes] == [4, 0, 0]
    for spec, one, classes in zip(specs, outcomes, [("a", "b"), ("x", "y"), ("a", "b")], strict=True):
        assert known_as(spec, place.store) == [name(one)]
        assert one.features.manifest.classes == classes
    assert [name(place.one(spec)) for spec in specs] == [name(one) for one in outcomes]


def test_equal_pictures_of_classes_with_other_names_are_another_data_set_elsewhere(tmp_path: Path, place: Place) -> None:
    given = samples(4, "a", "b")
    first = KINDS[0].make(tmp_path / "one", given)
    second = KINDS[0].make(tmp_path / "two", given)
    (tmp_path / "two" / "pets" / "b").rename(tmp_path / "two" / "pets" / "c")
    assert [name(place.one(spec)) for spec in (first, second, first)] == ["folder-pets", "folder-pets-2", "folder-pets"]


@pytest.mark.parametrize("kind", FILES, ids=str)
def test_a_moved_one_is_found_by_its_pictures(tmp_path: Path, place: Place, kind: Kind) -> None:
    place.one(kind.make(tmp_path / "one", samples(4, "a", "b")))
    shutil.move(tmp_path / "one", tmp_path / "two")
    spec = f"{kind.word}:{tmp_path}/two/{kind.file}"
    assert known_as(spec, place.store) == [f"{kind.word}-pets"]
    again = place.one(spec)
    assert (name(again), again.computed) == (f"{kind.word}-pets", 0)
    assert again.features.manifest.provenance.data_from == f"{tmp_path}/two/{kind.file}"


@pytest.mark.parametrize("kind", FILES, ids=str)
def test_an_unknown_data_set_is_answered_with_the_kind_that_its_file_is_of(kind: Kind) -> None:
    with pytest.raises(ArgumentInvalid, match=rf"did you mean --dataset {kind.word}:here/{kind.file}\?"):
        datasets.splits(f"here/{kind.file}", None, NOWHERE)
    with pytest.raises(DataNotFound, match=rf"no such folder \(did you mean --dataset {kind.word}:here/{kind.file}\?\)"):
        datasets.splits(f"folder:here/{kind.file}", None, NOWHERE)
    what = rf"{kind.word}-pets is what features of a {kind.word} data set are called: .* --dataset {kind.word}:"
    with pytest.raises(ArgumentInvalid, match=what):
        datasets.splits(f"{kind.word}-pets", None, NOWHERE)
    assert datasets.kind_of(f"{kind.word}-pets") == kind.word
    with pytest.raises(DataNotFound, match=r"--no-splits: .* has splits of its own"):
        datasets.undivided(f"{kind.word}:pets")


@pytest.mark.parametrize("known", ["cifar10", "torchvision-MNIST", "digits", "list", "classes-x"])
def test_other_names_are_of_no_kind(known: str) -> None:
    assert datasets.kind_of(known) is None


@pytest.mark.parametrize("kind", KINDS[2:], ids=str)
def test_a_packed_picture_is_shown_at_its_own_size(tmp_path: Path, kind: Kind) -> None:
    images = datasets.open_split(kind.make(tmp_path, samples(2, "a", "b")), "all", NOWHERE)
    ((_, first), *_) = thumbnails.figure_1(images, 0, Preprocessing(16))
    assert first.startswith(b"\x89PNG")
    assert thumbnails.thumbnail(images, 0, 24) != thumbnails.thumbnail(images, 1, 24)


def test_an_archives_images_can_be_sent_to_another_process(tmp_path: Path) -> None:
    images = datasets.open_split(f"tar:{write_tar(tmp_path / 'a.tar', samples(4, 'a', 'b'))}", "all", NOWHERE)
    sent = pickle.loads(pickle.dumps(images))  # how multiprocessing sends them; the bytes are this test's own
    assert np.array_equal(read(sent).pixels, read(images).pixels)


def test_an_npz_files_rows_are_kept_and_found(tmp_path: Path, place: Place) -> None:
    np.savez(tmp_path / "a.npz", images=noise(6, 8), labels=np.arange(6) % 2)
    assert place.one(f"npz:{tmp_path}/a.npz").computed == 6
    assert place.one(f"npz:{tmp_path}/a.npz").computed == 0
    np.savez(tmp_path / "a.npz", images=noise(7, 8), labels=np.arange(7) % 2)
    again = place.one(f"npz:{tmp_path}/a.npz")
    assert (again.computed, name(again)) == (1, "npz-a")
