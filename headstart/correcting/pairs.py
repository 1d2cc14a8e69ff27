"""The feature sets that a command means, with the labels as a file of corrections has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headstart.core.cache import corrected_sets, corrections
from headstart.core.cache.corrections import Corrections
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.key import FeatureKey
from headstart.core.cache.text import listed, safe
from headstart.core.heads import data
from headstart.core.heads.data import Pair
from headstart.observer import Observer


def corrected_pairs(pairs: Sequence[Pair], path: Path, observer: Observer) -> list[Pair]:
    """The pairs with corrected sets, which are made where they are not there yet; as they are where no decision stands.

    Raises DataNotFound, DataInvalid for a file that can't be read, as `corrected_sets.make`, and FeaturesStale where the
    sets of a pair have other classes.
    """
    return by_decisions(pairs, decisions(path, observer), path, observer)


def by_decisions(pairs: Sequence[Pair], found: Corrections, path: Path, observer: Observer) -> list[Pair]:
    """The same by the decisions that were read from a file."""
    return [_corrected(pair, found, path, observer) for pair in pairs] if found.stands else list(pairs)


def decisions(path: Path, observer: Observer) -> Corrections:
    """The decisions of a file, and what must be said of it. Raises DataNotFound, DataInvalid, OSError."""
    found = corrections.read(path)
    if found.torn:
        observer.note(f"{path}: its last line was broken off while it was written; that decision is not kept")
    if not found.stands:
        observer.note(f"{path}: no decision stands; the labels are as they were given")
    return found


def copies(sets: Sequence[FeatureSet], found: Corrections, path: Path, observer: Observer) -> list[FeatureSet]:
    """The corrected copies of sets that an extraction has made, and of the views among them, in their order. Raises as
    `corrected_sets.make`."""
    groups: dict[tuple[FeatureKey, str], list[FeatureSet]] = {}
    for one in sets:
        groups.setdefault((one.manifest.key.plain, one.manifest.dataset), []).append(one)
    made = dict[Path, FeatureSet]()
    for own in groups.values():
        plain, views = ([one for one in own if bool(one.manifest.key.view) is view] for view in (False, True))
        for source, copy in zip((*plain, *views), _made(plain, views, found, path, observer), strict=True):
            made[source.folder] = copy
    return [made[one.folder] for one in sets]


def _corrected(pair: Pair, found: Corrections, path: Path, observer: Observer) -> Pair:
    data.check_names(pair)
    made = _made(pair.sets, pair.views, found, path, observer)
    by_folder = {source.folder: copy for source, copy in zip((*pair.sets, *pair.views), made, strict=True)}
    test, val = (None if one is None else by_folder[one.folder] for one in (pair.test, pair.val))
    return Pair(by_folder[pair.train.folder], test, val, tuple(made[len(pair.sets) :]))


def _made(
    sets: Sequence[FeatureSet], views: Sequence[FeatureSet], found: Corrections, path: Path, observer: Observer
) -> list[FeatureSet]:
    """The corrected copies of the splits of one data set and their views, and what was changed, said."""
    name, key = safe(path.name), sets[0].manifest.named
    made, numbers = corrected_sets.make(sets, views, found, name)
    about = f"{key.backbone} {safe(key.dataset)}"
    observer.note(f"{about}: {numbers.words(name)}")
    if numbers.elsewhere:
        are = "is on a picture that is" if numbers.elsewhere == 1 else "are on pictures that are"
        of = f"{numbers.elsewhere:,} of {len(found.stands):,} decisions in {name}"
        observer.note(f"{about}: {of} {are} not in this data set")
    if numbers.emptied:
        classes = f"class{'es' * (len(numbers.emptied) > 1)} {listed(numbers.emptied)}"
        observer.note(f"{about}: no picture is left of the {classes}")
    return made
