"""A feature set in one piece for other tools: one HDF5 file, a pair of .npy files, or a Parquet table."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np

from cache.errors import FeaturesInvalid
from cache.files import canonical_json, write_durably
from cache.shard import Rows
from cache.store import FeatureSet


def export(features: FeatureSet, path: Path) -> list[Path]:
    """Write the whole set, checked, to `path`; its suffix chooses the form. Returns the files written.

    `.h5` holds features, labels and ids as a shard does, with the key as an attribute; `.npy` becomes two files,
    NAME.features.npy (N, D) and NAME.labels.npy (N,); `.parquet` has the columns id, label, f0 … and needs pyarrow.
    Raises FeaturesInvalid for another suffix or a missing pyarrow, FeaturesDamaged, OSError.
    """
    write = _FORMS.get(path.suffix)
    if write is None:
        raise FeaturesInvalid(f"{path}: the suffix is {path.suffix!r}, expected one of {', '.join(_FORMS)}")
    contents = write(features, features.load(), path)
    for name, content in contents.items():
        write_durably(name, content)
    return list(contents)


def _hdf5(features: FeatureSet, rows: Rows, path: Path) -> Mapping[Path, bytes]:
    with h5py.File.in_memory() as file:
        for name in ("features", "labels", "ids"):
            data = getattr(rows, name)
            file.create_dataset(name, data=data, chunks=(min(len(data), 1024), *data.shape[1:]), fletcher32=True)
        file.attrs["key"] = np.bytes_(canonical_json(features.manifest.key.to_json()))
        file.flush()
        return {path: file.id.get_file_image()}


def _npy(features: FeatureSet, rows: Rows, path: Path) -> Mapping[Path, bytes]:
    contents = {}
    for name in ("features", "labels"):
        buffer = io.BytesIO()
        np.save(buffer, getattr(rows, name), allow_pickle=False)
        contents[path.with_suffix(f".{name}.npy")] = buffer.getvalue()
    return contents


def _parquet(features: FeatureSet, rows: Rows, path: Path) -> Mapping[Path, bytes]:
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
    pq.write_table(pa.table({"id": names, "label": rows.labels, **values}), sink)
    return {path: sink.getvalue().to_pybytes()}


_FORMS: Mapping[str, Callable[[FeatureSet, Rows, Path], Mapping[Path, bytes]]] = {
    ".h5": _hdf5,
    ".npy": _npy,
    ".parquet": _parquet,
}
