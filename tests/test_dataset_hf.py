"""`hf:OWNER/NAME` with a stand-in for the hub's library: what is fetched, where it lies, and what is refused."""

import dataclasses
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from dataset_samples import read, samples, write_parquet

from headstart.core.cache.errors import ArgumentInvalid, DataInvalid, DataNotFound
from headstart.core.extract import datasets
from headstart.core.extract.datasets import hf

pytest.importorskip("pyarrow", reason="needs pyarrow")


@dataclasses.dataclass
class Hub:
    """A hub with one data set, whose files lie in `root`. `asked` are the files that were fetched; `loses` never come."""

    root: Path
    asked: list[str] = dataclasses.field(default_factory=list)
    revisions: list[str | None] = dataclasses.field(default_factory=list)
    loses: str = ""
    fails: Exception | None = None

    def HfApi(self) -> "Hub":  # noqa: N802  # the library's name for it
        return self

    def list_repo_files(self, name: str, *, repo_type: str, revision: str | None) -> list[str]:
        assert (name, repo_type) == ("ann/pets", "dataset")
        if self.fails is not None:
            raise self.fails
        self.revisions.append(revision)
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())

    def snapshot_download(
        self, name: str, *, repo_type: str, revision: str | None, allow_patterns: Sequence[str], local_dir: Path
    ) -> str:
        assert (name, repo_type) == ("ann/pets", "dataset")
        for path in allow_patterns:
            if path != self.loses:
                self.asked.append(path)
                (local_dir / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.root / path, local_dir / path)
        return str(local_dir)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    found = Hub(tmp_path / "hub")
    for number, name in enumerate(("train", "test")):
        write_parquet(
            found.root / f"data/{name}-00000-of-00001.parquet", samples(4, "a", "b", seed=10 * number), ("a", "b")
        )
    (found.root / "pets.py").write_text("raise SystemExit('a script of strangers ran')")
    monkeypatch.setattr(hf, "_hub", lambda: found)
    return found


def test_its_parquet_files_are_fetched_once_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    there = datasets.lacking("hf:ann/pets", tmp_path)
    assert there is not None
    assert (there.url, there.path) == ("https://huggingface.co/datasets/ann/pets", tmp_path / "hf/ann--pets")
    assert datasets.splits("hf:ann/pets", None, tmp_path) == ("train", "test")
    images = datasets.open_split("hf:ann/pets", "test", tmp_path)
    assert hub.asked == ["data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"]
    assert (images.name, images.classes, images.top) == ("hf-ann--pets", ("a", "b"), None)
    assert read(images).skipped == []
    assert datasets.lacking("hf:ann/pets", tmp_path) is None
    assert datasets.kind_of(images.name) is None


@pytest.mark.parametrize(
    "asked",
    ["ann/pets", "ann/pets#label", "ann/pets@v1.0", "ann/pets/data", "ann/pets/data@refs/convert/parquet#image,label"],
)
def test_a_name_leads_back_to_its_data_set(hub: Hub, tmp_path: Path, asked: str) -> None:
    images = datasets.open_split(f"hf:{asked}", "train", tmp_path)
    again = datasets.open_split(images.name, "train", tmp_path)
    assert (again.name, again.source) == (images.name, images.source)
    revision = re.search(r"@([^#]+)", asked)
    assert hub.revisions == [revision[1] if revision else None]


def test_one_of_several_sets_must_be_named(hub: Hub, tmp_path: Path) -> None:
    for name in ("dogs", "cats"):
        write_parquet(hub.root / name / "train.parquet", samples(2, "a", "b"))
    shutil.rmtree(hub.root / "data")
    with pytest.raises(DataInvalid, match=r"hf:ann/pets: holds cats, dogs; say which one: hf:ann/pets/cats"):
        datasets.splits("hf:ann/pets", None, tmp_path)
    assert datasets.splits("hf:ann/pets/dogs", None, tmp_path) == ("all",)
    assert hub.asked == ["dogs/train.parquet"]


def test_a_part_of_a_set_is_refused(hub: Hub, tmp_path: Path) -> None:
    write_parquet(hub.root / "default/partial-train/0000.parquet", samples(2, "a", "b"))
    with pytest.raises(DataInvalid, match=r"hf:ann/pets: default/partial-train/0000\.parquet is a part of the set only"):
        datasets.splits("hf:ann/pets", None, tmp_path)


def test_a_set_without_parquet_files_is_told_where_there_may_be_some(hub: Hub, tmp_path: Path) -> None:
    shutil.rmtree(hub.root / "data")
    with pytest.raises(DataNotFound, match=r"has no Parquet files among 1; hf:ann/pets@refs/convert/parquet may have"):
        datasets.splits("hf:ann/pets", None, tmp_path)


@pytest.mark.parametrize("error", [OSError("no\nnetwork"), RuntimeError("no network"), ValueError("no network")])
def test_a_download_that_fails_is_one_line_and_starts_again(hub: Hub, tmp_path: Path, error: Exception) -> None:
    hub.fails = error
    with pytest.raises(
        DataNotFound, match=r"^hf:ann/pets: can't be downloaded to .* \(no network\); put its Parquet files"
    ):
        datasets.splits("hf:ann/pets", None, tmp_path)
    hub.fails, hub.loses = None, "data/test-00000-of-00001.parquet"
    with pytest.raises(DataNotFound, match=r"test-00000-of-00001\.parquet did not come with the download; start it again"):
        datasets.splits("hf:ann/pets", None, tmp_path)
    hub.loses = ""
    assert datasets.splits("hf:ann/pets", None, tmp_path) == ("train", "test")


@pytest.mark.parametrize("name", ["", "../x", "/x", "a/../b", "a/b/c/d", "a/.b", "a b", "a/b@", "-x"])
def test_what_can_be_no_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentInvalid, match=r"no name of a data set; expected hf:OWNER/NAME"):
        datasets.lacking(f"hf:{name}", tmp_path)
