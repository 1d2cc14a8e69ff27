"""Whether a feature set is whole: everything is read, every digest compared, and what is wrong is named."""

import dataclasses
from pathlib import Path

from cache.errors import FeaturesDamaged, FeaturesNotFound
from cache.manifest import NAME, read_manifest
from cache.store import FeatureSet, FeatureStore


def folders(store: FeatureStore) -> list[Path]:
    """Every folder that holds a manifest or shards, readable or not, by name."""
    found = {path.parent for pattern in (f"*/{NAME}", "*/shard-*.h5") for path in store.root.glob(pattern)}
    return sorted(found)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A folder of the features directory. `state` is complete, not complete or damaged; `nbytes` are all its files',
    whatever the state."""

    folder: Path
    features: FeatureSet | None
    state: str
    nbytes: int


def survey(store: FeatureStore) -> list[Entry]:
    """What is in the features directory, by name, from the manifests alone: no shard is read, nothing raises for damage."""
    return [_entry(folder) for folder in folders(store)]


def _entry(folder: Path) -> Entry:
    nbytes = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    try:
        return Entry(folder, FeatureSet(folder, read_manifest(folder)), "complete", nbytes)
    except FileNotFoundError:
        return Entry(folder, None, "not complete", nbytes)
    except FeaturesDamaged:
        return Entry(folder, None, "damaged", nbytes)


def problems(folder: Path) -> list[str]:
    """What is wrong with the set in `folder`, a line for each fault; empty for a whole set. Raises FeaturesNotFound."""
    if not folder.is_dir():
        raise FeaturesNotFound(f"{folder}: no such feature set; `headstart cache ls` lists them")
    try:
        features = FeatureSet(folder, read_manifest(folder))
    except FileNotFoundError:
        return [
            f"{folder / NAME}: missing, the set is not complete; the `headstart extract` that began it goes on from there"
        ]
    except FeaturesDamaged as error:
        return [str(error)]
    found = []
    for index in range(len(features.manifest.shards)):
        try:
            features.read(index)
        except FeaturesDamaged as error:
            found.append(str(error))
    return found + [f"{path}: {NAME} does not list this file; move it out of the folder" for path in features.strangers()]
