"""Pictures in tar archives as WebDataset lays them out: `tar:GLOB`, whose members KEY.jpg and KEY.cls make up a row.

A label is in KEY.cls or KEY.txt as text, or in KEY.json below the key `label` (or what else it may be called); `#jpg,cls`
after the path says which members count. Splits are told by the files' names. Nothing is unpacked: an index of each member's
offset and size gives any picture directly. https://github.com/webdataset/webdataset#the-webdataset-format
"""

import collections
import functools
from pathlib import Path

from headstart.core.cache.errors import DataInvalid, DataNotFound
from headstart.core.cache.text import listed
from headstart.core.extract.images import Images
from headstart.core.extract.images.archives import Archives, Index, index
from headstart.core.extract.images.files import facts_of
from headstart.core.extract.images.labels import class_names, indices, spelled, summary
from headstart.core.extract.images.packed import PackedImages
from headstart.core.extract.images.patterns import Argument, argument, files
from headstart.core.extract.images.splits import Kind, Splits, by_kind, splits_of

ARGUMENT = "GLOB"
SUFFIXES = (".tar",)
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def given(text: str) -> Argument:
    """What the argument names. Raises DataNotFound where it is empty."""
    return argument("tar", text, "'shards/train-*.tar'")


def splits(argument: str, data_dir: Path) -> tuple[str, ...]:
    """`train` and `test` as far as files are named so, or `all`. Raises DataNotFound, DataInvalid."""
    return tuple(_parts(given(argument)).splits)


def lacking(argument: str, data_dir: Path) -> None:
    """Nothing is downloaded."""


def open_split(argument: str, split: str, data_dir: Path) -> Images:
    """The pictures of one split; members' heads and labels are read, no picture. Raises DataNotFound, DataInvalid."""
    place = given(argument)
    found, kinds = _parts(place), _by_kind(place)
    indexed = {
        kind: [(path, _index(path, place.columns, facts_of(path))) for path in kinds[kind]]
        for kind in dict.fromkeys((found.splits[split], *found.training))
    }
    labels = spelled([row.label for kind in indexed for _, one in indexed[kind] for row in one.rows])
    counts = {kind: sum(len(one.rows) for _, one in indexed[kind]) for kind in indexed}
    of_kind, done = dict[Kind, list[str]](), 0
    for kind, count in counts.items():
        of_kind[kind], done = labels[done : done + count], done + count
    classes = class_names((label for kind in found.training for label in of_kind[kind]), place.path)
    own = of_kind[found.splits[split]]
    if not own:
        raise DataNotFound(_nothing_there(place, split, [one for kind in indexed for _, one in indexed[kind]]))
    archives = indexed[found.splits[split]]
    targets = indices(own, classes, place.path, f"the {split} split")
    left_out = sum((one.left_out for _, one in archives), collections.Counter[str]())
    more = f"; left out: {listed(f'{kind} {count:,}' for kind, count in left_out.most_common())}" if left_out else ""
    return PackedImages(
        name=place.name,
        split=split,
        classes=classes,
        source=str(place.root),
        origin=place.origin,
        names=tuple(f"{path.relative_to(place.root)}#{row.name}" for path, one in archives for row in one.rows),
        targets=tuple(targets),
        pack=Archives.of(archives),
        top=Path(place.origin),
        remarks=(*summary(split, targets, classes, more), *found.remarks),
    ).sampled()


def _by_kind(place: Argument) -> dict[Kind, list[Path]]:
    """The archives of each kind of rows. Raises DataNotFound, DataInvalid for compressed ones."""
    found = files(place, (*SUFFIXES, *_COMPRESSED))
    for path in found:
        if path.name.lower().endswith(_COMPRESSED):
            raise DataInvalid(
                f"{path}: a compressed archive, in which no picture can be found without unpacking all before it; unpack "
                f"the compression alone (gunzip, unxz, unzstd), pictures hardly shrink by it"
            )
    return by_kind(found, place.root)


def _parts(place: Argument) -> Splits:
    return splits_of(_by_kind(place), place.path)


@functools.lru_cache(maxsize=4096)
def _index(path: Path, members: tuple[str, ...], facts: tuple[int, ...]) -> Index:
    """An archive's index, read again only where the file has changed."""
    return index(path, members)


def _nothing_there(place: Argument, split: str, indexes: list[Index]) -> str:
    left_out = sum((one.left_out for one in indexes), collections.Counter[str]())
    seen = listed(f"{kind} {count:,}" for kind, count in left_out.most_common()) or "nothing"
    which = "" if split == "all" else f" of the {split} split"
    return f"{place.path}: no picture in the archives{which}, which hold {seen}; expected KEY.jpg and KEY.cls for each"
