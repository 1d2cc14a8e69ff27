"""Whether a feature set is whole: everything is read, every digest compared, and what is wrong is named."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from headstart.core.cache.corrected_sets import FOLDER as CORRECTED_SETS
from headstart.core.cache.errors import FeaturesDamaged, FeaturesOfAnotherVersion
from headstart.core.cache.feature_set import MEND, REPLACED, FeatureSet
from headstart.core.cache.files import folder_bytes
from headstart.core.cache.manifest import NAME, read_manifest
from headstart.core.cache.store import FeatureStore, newest
from headstart.core.cache.text import set_words


def folders(store: FeatureStore) -> list[Path]:
    """Every folder that holds a manifest or shards, readable or not, by name."""
    found = {path.parent for pattern in (f"*/{NAME}", "*/shard-*.h5") for path in store.root.glob(pattern)}
    return sorted(found)


NOT_COMPLETE = "not complete"
"""A set that was begun and has no manifest yet: an interrupted run's, or one under way."""


COPY = "the command with --corrections that made this copy of the labels makes it anew"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A folder of the features directory. `state` is complete, not complete, of another version or damaged; `nbytes` are
    all its files', whatever the state; of a corrected copy those of the files that are not its source's too."""

    folder: Path
    features: FeatureSet | None
    state: str
    nbytes: int


def survey(store: FeatureStore) -> list[Entry]:
    """What is in the features directory, by name, from the manifests alone: no shard is read, nothing raises for damage."""
    return [_entry(folder) for folder in folders(store)]


def _entry(folder: Path) -> Entry:
    nbytes = folder_bytes(folder, own=folder.parent.name == CORRECTED_SETS)
    try:
        return Entry(folder, FeatureSet(folder, read_manifest(folder)), "complete", nbytes)
    except FileNotFoundError:
        return Entry(folder, None, NOT_COMPLETE, nbytes)
    except FeaturesOfAnotherVersion:
        return Entry(folder, None, "of another version", nbytes)
    except FeaturesDamaged:
        return Entry(folder, None, "damaged", nbytes)


def state(folder: Path, faults: Sequence[str]) -> str:
    """A set's state after its `problems` were looked for, in the words of `Entry`; `whole` where all was read and right."""
    found = _entry(folder).state
    return found if found != "complete" else "damaged" if faults else "whole"


def problems(folder: Path) -> list[str]:
    """What is wrong with the set in `folder`, a line for each fault; empty for a whole set. Raises FeaturesNotFound."""
    if not folder.is_dir():
        raise FeatureStore(folder.parent).no_such(folder.name)
    try:
        features = FeatureSet(folder, read_manifest(folder))
    except FileNotFoundError:
        goes_on = "the `headstart extract` that began it goes on from there"
        goes_on = COPY if folder.parent.name == CORRECTED_SETS else goes_on
        return [f"{folder / NAME}: missing, the set is {NOT_COMPLETE}; {goes_on}"]
    except FeaturesDamaged as error:
        return [str(error)]
    found = []
    for index in range(len(features.manifest.shards)):
        try:
            features.read(index)
        except FeaturesDamaged as error:
            if features.replaced():
                return [f"{folder}: {REPLACED}"]
            found.append(str(error))
    if folder.parent.name == CORRECTED_SETS:
        found = [text.replace(MEND, COPY) for text in found]
    elif found and _is_replaced(features):
        way_out = f"a later snapshot has replaced this one, `headstart cache rm {set_words(folder)}` removes it"
        found = [text.replace(MEND, way_out) for text in found]
    return found + [f"{path}: {NAME} does not list this file; move it out of the folder" for path in features.stray_files()]


def _is_replaced(features: FeatureSet) -> bool:
    """Whether a later snapshot of the same data set is complete: no extraction makes this one again."""
    there = [entry.features for entry in survey(FeatureStore(features.folder.parent)) if entry.features is not None]
    return features.folder not in [found.folder for found in newest(there)]
