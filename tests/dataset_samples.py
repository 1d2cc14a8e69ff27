"""What the tests of a user's own data sets share: the same small pictures in a folder, a list, archives and tables."""

import csv
import dataclasses
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from extract_samples import encoded, picture

from headstart.core.extract.images import Batch, Images
from headstart.core.extract.pictures.preprocess import Preprocessing


@dataclasses.dataclass(frozen=True)
class Sample:
    """A picture as the bytes of a PNG file, its name without a suffix, and its label; None has none."""

    name: str
    content: bytes
    label: str | None


def samples(count: int, *classes: str, seed: int = 0) -> list[Sample]:
    """`count` different pictures, those of a class together."""
    return [
        Sample(f"{place:04d}", encoded(picture(seed=seed + place), "PNG"), classes[place * len(classes) // count])
        for place in range(count)
    ]


def write_folder(root: Path, given: Sequence[Sample]) -> Path:
    """A folder for each class."""
    for one in given:
        path = root / str(one.label) / f"{one.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.content)
    return root


def write_csv(path: Path, header: Sequence[str], *lines: Sequence[object], delimiter: str = ",") -> Path:
    """A table of text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *lines])
    return path


def write_list(path: Path, given: Sequence[Sample]) -> Path:
    """A list of pictures, which are written into a folder beside it."""
    write_folder(path.parent / "pictures", given)
    return write_csv(path, ("path", "label"), *((f"pictures/{one.label}/{one.name}.png", one.label) for one in given))


def write_members(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
    """A tar archive of some members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            head = tarfile.TarInfo(name)
            head.size = len(content)
            tar.addfile(head, io.BytesIO(content))
    return path


def write_tar(path: Path, given: Sequence[Sample]) -> Path:
    """An archive as WebDataset lays it out."""
    members: dict[str, bytes] = {}
    for one in given:
        members[f"{one.name}.png"] = one.content
        if one.label is not None:
            members[f"{one.name}.cls"] = one.label.encode()
    return write_members(path, members)


def write_parquet(path: Path, given: Sequence[Sample], names: Sequence[str] = (), group: int = 3) -> Path:
    """A table as Hugging Face stores it, in row groups of `group` rows; with class `names` the labels are numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pictures = pa.array([{"bytes": one.content, "path": f"{one.name}.png"} for one in given], struct)
    labels = [one.label if one.label is None or not names else names.index(one.label) for one in given]
    table = pa.table({"image": pictures, "label": pa.array(labels, pa.int64() if names else pa.string())})
    if names:
        label = {"names": list(names), "_type": "ClassLabel"}
        features = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)
    return path


def labelled(images: Images) -> dict[bytes, str]:
    """Class names by id; an empty one where there is none."""
    names = [*images.classes, ""]
    return dict(zip(images.ids(0, images.rows), (names[i] for i in images.labels(0, images.rows)), strict=True))


def read(images: Images, start: int = 0, stop: int | None = None) -> Batch:
    """Some rows, all by default, at 16 px."""
    return images.read(start, images.rows if stop is None else stop, Preprocessing(16), 2)
