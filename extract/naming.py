"""Which data set in the features directory a folder of pictures is, or another data set of a user's own.

Features of a folder are called by the last part of its path, which stays when a parent is moved or renamed, those of a
file by its name. Two folders may have the same last part: the second is `folder-NAME-2`, and so on. Which of them a folder
is, is told by the place that features were made from, else by the pictures themselves.
"""

import dataclasses
import itertools
import os
import re
from collections.abc import Container, Iterator, Sequence
from pathlib import Path, PurePath

from headstart.core.cache.errors import ArgumentInvalid, DataInvalid, DataNotFound, FeaturesDamaged, FeaturesStale
from headstart.core.cache.execution import read_execution
from headstart.core.cache.files import read_regular
from headstart.core.cache.foreign import ForeignReader
from headstart.core.cache.key import FeatureKey
from headstart.core.cache.manifest import Manifest, Order, read_manifest
from headstart.core.cache.places import is_url, place
from headstart.core.cache.shard import MOST_BYTES
from headstart.core.cache.shard_plan import Part
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.text import did_you_mean, listed, safe
from headstart.core.cache.verify import NOT_COMPLETE, survey
from headstart.core.extract.datasets import given, splits
from headstart.core.extract.images import Images, rows_digest
from headstart.core.extract.images.arrays import ArrayImages
from headstart.core.extract.images.files import FileImages
from headstart.core.extract.images.packed import PackedImages
from headstart.core.extract.images.patterns import is_there
from headstart.core.extract.images.ranged.images import RangedImages
from headstart.core.extract.job import Job
from headstart.core.extract.pictures.layout import kind, layout


def as_kept(jobs: Sequence[Job], store: FeatureStore) -> list[Job]:
    """The jobs of one data set under the name that its features have."""
    top = jobs[0].images.top if jobs else None
    return list(jobs) if top is None else _called(_name(jobs, top, store), jobs, top)


def known_as(dataset: str, store: FeatureStore) -> list[str]:
    """The names by which features know the data set that a user names: as `cache ls` shows it, or as `extract --dataset`
    takes it. Raises DataNotFound where there are no features of it, with the names that are most like it."""
    there = sorted({found.dataset for found in _manifests("", store)})
    if dataset in there:
        return [dataset]
    word, colon, argument = dataset.partition(":")
    path = argument if colon and word.lower() in ("folder", "classes") else dataset
    if (own := given(dataset) if colon else None) is not None:
        path, names = own.path.stem, _of_place(own.name, Path(own.origin), store)
    elif path != dataset or "/" in dataset or dataset in (".", ".."):
        top = place(path).expanduser().resolve()
        names = _of_place(f"folder-{top.name}", top, store)
    else:
        wanted = dataset.replace(":", "-", 1).lower()
        names = [name for name in there if name.lower() in (wanted, f"folder-{wanted}")]
    if not names:
        others = f"there are features of {listed(there)}" if there else "there are none yet"
        raise DataNotFound(
            f"{store.root}: no features of {safe(dataset)}{_hint(dataset, path, there)}; {others}{_incomplete(store)}; "
            f"`headstart extract` with it as --dataset makes them"
        )
    return names


def _incomplete(store: FeatureStore) -> str:
    """What must be said of sets that were begun and are not complete."""
    found = [entry.folder.name for entry in survey(store) if entry.state == NOT_COMPLETE]
    are = "is not complete" if len(found) == 1 else "are not complete"
    return f", and {listed(found, 3)} {are}: the same `headstart extract` goes on" if found else ""


def _hint(dataset: str, path: str, there: Sequence[str]) -> str:
    """The names like the one given. Those of folders are compared without the word before them, which all have."""
    bare = re.sub("^(folder|classes)[:-]", "", dataset) if path == dataset else Path(path).name
    if bare == dataset:
        return did_you_mean(dataset.replace(":", "-"), there)
    return did_you_mean(bare, (name for name in there if name.startswith("folder-")), without="folder-")


def splits_meant(dataset: str) -> tuple[str, ...] | None:
    """The splits of the folder that a user names as `folder:PATH`, which has those of its sub-folders, or `classes:PATH`,
    which has none, or of another data set of one's own; None for other names, and where it is not there to tell."""
    word, colon, argument = dataset.partition(":")
    if word.lower() == "classes":
        return ("all",)
    try:
        top = place(argument).expanduser()
        if word.lower() == "folder":
            return tuple(layout(top).splits) if top.is_dir() else None
        return splits(dataset, None, Path()) if colon and given(dataset) else None
    except (ArgumentInvalid, DataInvalid, DataNotFound):
        return None


def _of_place(name: str, top: Path, store: FeatureStore) -> list[str]:
    """The names of what was made from the folder, file or pattern `top`; of what has its `name`, where that or what it was
    made from is not there."""
    own = re.compile(rf"{re.escape(name)}(-\d+)?")
    named = [found for found in _manifests(name, store) if own.fullmatch(found.dataset)]
    made = [found for found in named if _is_from(found, top)]
    moved = [found for found in named if not is_there(str(top)) or not is_there(found.provenance.data_from)]
    return sorted({found.dataset for found in made or moved})


# ---- the name


def _name(jobs: Sequence[Job], top: Path, store: FeatureStore) -> str:
    """The first of NAME, NAME-2, … whose features were made from `top`; else that holds its pictures; else that is free.
    Raises FeaturesStale with `frozen`, where another has NAME: who wants no change does not mean one more data set."""
    plain = jobs[0].images.name
    by_name: dict[str, list[Manifest]] = {}
    for found in _manifests(plain, store):
        by_name.setdefault(found.dataset, []).append(found)
    numbered = re.compile(rf"{re.escape(plain)}(-[1-9]\d{{0,5}})?")
    there = sorted((name for name in by_name if numbered.fullmatch(name)), key=lambda name: (len(name), name))
    for name in there:
        if any(_is_from(found, top) for found in by_name[name]):
            return name
    for name in itertools.takewhile(lambda name: name in by_name or _folders(name, jobs, store), _numbered(plain)):
        records = (read_execution(folder) for folder in _folders(name, jobs, store))
        if any(_is_place(found.data_from, top) for found in records if found is not None and found.data_from):
            return name  # a run of it was killed before its manifest came
    for name in there:
        alike = [found for found in by_name[name] if _may_be_the_same(found, jobs[0].images.classes, top)]
        if any(_holds(first, images) for first, images in _firsts(alike, jobs)):
            return name
    free = _free(plain, by_name, jobs, store)
    if any(job.config.frozen for job in jobs) and (there or free != plain):
        held = there[0] if there else plain
        raise FeaturesStale(
            f"{store.root}: the features of {safe(held)} are not of what {safe(top)} has now; leave out --frozen to make "
            f"features of that"
        )
    return free


def _free(plain: str, taken: Container[str], jobs: Sequence[Job], store: FeatureStore) -> str:
    """The first of NAME, NAME-2, … under which nothing is complete, nor begun with other pictures."""
    for name in (name for name in _numbered(plain) if name not in taken):
        begun = list(_begun(name, jobs, store))  # by a run that was ended before it wrote where it read from
        if not begun or any(_holds(first, images) for first, images in begun):
            return name
    raise AssertionError("numbers do not end")


def _numbered(plain: str) -> Iterator[str]:
    return itertools.chain([plain], (f"{plain}-{number}" for number in itertools.count(2)))


def _called(name: str, jobs: Sequence[Job], top: Path) -> list[Job]:
    if name == jobs[0].images.name:
        return list(jobs)
    plain = jobs[0].images.name
    other = "folder" if plain.startswith("folder-") else "place"
    remark = f"features of {safe(top)} are called {safe(name)}: {safe(plain)} is of another {other}"
    renamed = {id(images): called(images, name, remark) for images in (job.images for job in jobs)}
    return [dataclasses.replace(job, images=renamed[id(job.images)]) for job in jobs]


def called(images: Images, name: str, *remarks: str) -> Images:
    """The same images under another name, with remarks on that."""
    if name == images.name:
        return images
    assert isinstance(images, FileImages | PackedImages | ArrayImages | RangedImages)
    return dataclasses.replace(images, name=name, remarks=(*images.remarks, *remarks))


def _manifests(name: str, store: FeatureStore) -> Iterator[Manifest]:
    """Of the complete sets of `name` and of names that begin so; a damaged one says nothing."""
    for path in sorted(store.root.glob(f"{store.prefix(name)}*/manifest.json")):
        try:
            yield read_manifest(path.parent)
        except (FileNotFoundError, FeaturesDamaged):
            continue


def _is_from(found: Manifest, top: Path) -> bool:
    """Whether a set was made from the folder `top`, or from a split in it."""
    return _is_place(found.provenance.data_from, top)


def _is_place(path: str, top: Path) -> bool:
    place, whole = _real(path), _real(str(top))
    return place == whole or (place.parent == whole and kind(place.name) is not None)


def _real(path: str) -> PurePath:
    """A path without links; a URL as it is."""
    return PurePath(path) if is_url(path) else Path(os.path.realpath(path))


def _may_be_the_same(found: Manifest, classes: Sequence[str], top: Path) -> bool:
    """Whether a set of the same pictures and label numbers may be this data set at another place: not where it is still
    where it was and has other classes, or is of other columns of the same file."""
    place = found.provenance.data_from
    other_columns = "#" in f"{place}{top}" and place != str(top) and place.partition("#")[0] == str(top).partition("#")[0]
    return not is_there(place) or (found.classes == tuple(classes) and not other_columns)


# ---- the contents


@dataclasses.dataclass(frozen=True)
class _First:
    """What is known of a set's first shard, and the order of its rows; None where that is our images' own."""

    inputs: str
    inputs_stat: str | None
    start: int
    stop: int
    order: Order | None


def _firsts(there: Sequence[Manifest], jobs: Sequence[Job]) -> Iterator[tuple[_First, Images]]:
    """The first shards of some sets, beside our images of that split; each content once."""
    ours = {id(job.images): job.images for job in jobs}.values()
    firsts = dict.fromkeys(
        (found.split, _First(shard.inputs, shard.inputs_stat, shard.start, shard.stop, found.provenance.order))
        for found in there
        for shard in found.shards[:1]
    )
    for (split, first), images in itertools.product(firsts, ours):
        if split == images.split:
            yield first, images


def _begun(name: str, jobs: Sequence[Job], store: FeatureStore) -> Iterator[tuple[_First, Images]]:
    """The first shards of sets that our jobs would go on with, beside their images."""
    for folder, job in _folders(name, jobs, store).items():
        if first := _unlisted(folder, job.key):
            yield first, job.images


def _folders(name: str, jobs: Sequence[Job], store: FeatureStore) -> dict[Path, Job]:
    """The folders of our jobs' sets under a name, complete or begun."""
    return {
        folder: job
        for job in jobs
        for folder in store.folders(dataclasses.replace(job.named, dataset=name), job.images.split)
    }


def _unlisted(folder: Path, key: FeatureKey) -> _First | None:
    """The first shard of a set without a manifest. Anyone may have put it there, so another process reads it."""
    path = folder / Part(0, 0, 0).file
    try:
        content = read_regular(path, MOST_BYTES)
        with ForeignReader() as reader:
            facts = reader.read(content, str(path))
    except (OSError, FeaturesDamaged):
        return None
    return _First(facts.inputs, None, facts.start, facts.stop, None) if facts.key == key.digest else None


def _holds(first: _First, images: Images) -> bool:
    """Whether our images give a shard's rows."""
    if first.stop > images.rows:
        return False
    span, own = (first.start, first.stop), images.in_order(first.order or images.order)
    if first.inputs_stat is not None and own.stat(*span) == first.inputs_stat:
        return True
    return rows_digest(own, span) == first.inputs
