"""A feature set in one piece for other tools: one HDF5 file, a pair of .npy files, or a Parquet table."""

import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.files import canonical_json, write_durably
from headstart.core.cache.shard import Rows, narrowed

_BOUNDS = ("earliest", "v108")
"""The oldest format that can say it: with plain contiguous data, HDF5 1.8, pyfive, HDFView and MATLAB read it."""


def export(features: FeatureSet, path: Path, dtype: str | None = None) -> list[Path]:
    """Write the whole set, checked, to `path`; its suffix chooses the form. Returns the files written.

    `.h5` holds features (N, D), labels (N,) and ids (N,), with the key and the weights' licence as attributes; `.npy`
    becomes two files, NAME.features.npy (N, D) and NAME.labels.npy (N,); `.parquet` has the columns id, label, f0 … in
    float32, the licence in its schema, and needs pyarrow. `dtype` is that of the features, the set's own by default. Raises
    FeaturesInvalid for another suffix, a missing pyarrow or values that `dtype` can't hold, FeaturesDamaged, OSError.
    """
    write = _FORMS.get(path.suffix.lower())
    if write is None:
        raise FeaturesInvalid(f"{path}: the suffix is {path.suffix!r}, expected one of {', '.join(_FORMS)}")
    if write is _parquet and dtype == "float16":
        raise FeaturesInvalid(
            f"{path}: few readers of Parquet know float16, so it is written as float32; leave --dtype out"
        )
    rows = _as(features.load(), dtype or features.manifest.dtype, path)
    written = []
    for name, content in write(features, rows, path):
        write_durably(name, content)
        written.append(name)
    return written


def _as(rows: Rows, dtype: str, path: Path) -> Rows:
    if rows.features.dtype == dtype:
        return rows
    converted, bad = narrowed(rows.features, dtype)
    if bad is not None:
        name = rows.ids[bad].decode("utf-8", "backslashreplace")
        raise FeaturesInvalid(f"{path}: the features of {name} are beyond the range of {dtype}; leave --dtype out")
    return Rows(converted, rows.labels, rows.ids, rows.digests)


Contents = Iterator[tuple[Path, bytes | memoryview]]
"""The files to write, one after the other, so that no two of them are in memory."""


def _hdf5(features: FeatureSet, rows: Rows, path: Path) -> Contents:
    with h5py.File.in_memory(libver=_BOUNDS) as file:
        for name in ("features", "labels", "ids"):
            file.create_dataset(name, data=getattr(rows, name))
        file.attrs["key"] = np.bytes_(canonical_json(features.manifest.named.to_json()))
        if licence := features.manifest.provenance.licence:
            file.attrs["licence"] = np.bytes_(licence.encode())
        file.flush()
        image = file.id.get_file_image()
    yield path, image


def _npy(features: FeatureSet, rows: Rows, path: Path) -> Contents:
    for name in ("features", "labels"):
        buffer = io.BytesIO()
        np.save(buffer, getattr(rows, name), allow_pickle=False)
        yield path.with_suffix(f".{name}.npy"), buffer.getbuffer()


def _parquet(features: FeatureSet, rows: Rows, path: Path) -> Contents:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise FeaturesInvalid(
            f"{path}: writing Parquet needs pyarrow; `pip install pyarrow`, or export to .h5 or .npy"
        ) from error
    names = [name.decode("utf-8", "backslashreplace") for name in rows.ids.tolist()]
    values = {f"f{i}": rows.features[:, i].astype(np.float32) for i in range(rows.features.shape[1])}
    sink = pa.BufferOutputStream()
    told = {"headstart.licence": features.manifest.provenance.licence}
    table = pa.table({"id": names, "label": rows.labels, **values})
    pq.write_table(table.replace_schema_metadata({name: text for name, text in told.items() if text}), sink)
    yield path, memoryview(sink.getvalue())


_FORMS: Mapping[str, Callable[[FeatureSet, Rows, Path], Contents]] = {
    ".h5": _hdf5,
    ".npy": _npy,
    ".parquet": _parquet,
}
