"""Whether images are those of a feature set is told by their content."""

import dataclasses
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import cache_samples
import pytest
from extract_samples import array_images, file_images, noise, write_picture

from headstart.core.cache.digests import inputs_digest
from headstart.core.cache.manifest import Manifest, ShardRecord
from headstart.core.cache.shard_plan import Part
from headstart.core.extract.images import Images
from headstart.core.extract.images.contents import same_images


def manifest_of(images: Images, edges: tuple[int, ...] = (0, 3, 6)) -> Manifest:
    """What an extraction of these images wrote down."""
    records = []
    for index, (start, stop) in enumerate(itertools.pairwise(edges)):
        inputs = inputs_digest(images.ids(start, stop), images.labels(start, stop), images.fingerprints(start, stop))
        file, stat = Part(index, start, stop).file, images.stat(start, stop)
        records.append(ShardRecord(file, start, stop, stop - start, "01" * 32, inputs, stat, 1.0))
    key = cache_samples.make_key().feature_key
    return Manifest(
        key, images.name, images.classes, images.split, 4, "float32", tuple(records), cache_samples.make_provenance()
    )


EXCHANGED = (("01.png", "x"), ("02.png", "01.png"), ("x", "02.png"))
CHANGES: dict[str, Callable[[Path], object]] = {
    "another picture": lambda root: write_picture(root / "04.png", seed=99),
    "two exchanged": lambda root: [(root / a).rename(root / b) for a, b in EXCHANGED],
    "one gone": lambda root: (root / "00.png").unlink(),
}  # fmt: skip


def test_the_same_files_are_the_same_and_stay_so_when_touched(tmp_path: Path) -> None:
    images = file_images(tmp_path, 7)
    found = manifest_of(images)
    assert same_images(images, found)
    os.utime(tmp_path / "01.png", (1, 1))  # told by reading it
    assert same_images(images, found)


@pytest.mark.parametrize("change", CHANGES)
def test_changed_files_are_not_the_same(change: str, tmp_path: Path) -> None:
    images = file_images(tmp_path, 7)
    found = manifest_of(images)
    CHANGES[change](tmp_path)
    assert not same_images(images, found)


def test_arrays_are_told_by_their_pixels() -> None:
    found = manifest_of(array_images(noise(8, 4)))
    assert same_images(array_images(noise(8, 4)), found)
    assert not same_images(array_images(noise(8, 4, seed=1)), found)


def test_a_split_that_is_too_short_or_another_or_of_other_classes_is_not_the_same() -> None:
    images = array_images(noise(8, 4))
    found = manifest_of(images)
    assert not same_images(array_images(noise(8, 4)[:5]), found)
    assert not same_images(dataclasses.replace(images, split="test"), found)
    assert not same_images(dataclasses.replace(images, classes=("a", "b", "d")), found)
