"""Whether a feature set is whole: everything is read, every digest compared, and what is wrong is named."""

from pathlib import Path

from cache.errors import FeaturesDamaged, FeaturesNotFound
from cache.manifest import NAME, read_manifest
from cache.store import FeatureSet, FeatureStore


def folders(store: FeatureStore) -> list[Path]:
    """Every folder that holds a manifest or shards, readable or not, by name."""
    found = {path.parent for pattern in (f"*/{NAME}", "*/shard-*.h5") for path in store.root.glob(pattern)}
    return sorted(found)


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
