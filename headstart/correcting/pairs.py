"""The feature sets that a command means, with the labels as a file of corrections has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headstart.core.cache import corrected_sets, corrections
from headstart.core.cache.corrections import Corrections
from headstart.core.cache.text import listed, safe
from headstart.core.heads import data
from headstart.core.heads.data import Pair
from headstart.observer import Observer


def corrected_pairs(pairs: Sequence[Pair], path: Path, observer: Observer) -> list[Pair]:
    """The pairs with corrected sets, which are made where they are not there yet; as they are where no decision stands.

    Raises DataNotFound, DataInvalid for a file that can't be read, as `corrected_sets.make`, and FeaturesStale where the
    sets of a pair have other classes.
    """
    found = corrections.read(path)
    if found.torn:
        observer.note(f"{path}: its last line was broken off while it was written; that decision is not kept")
    if not found.stands:
        observer.note(f"{path}: no decision stands; the labels are as they were given")
        return list(pairs)
    return [_corrected(pair, found, path, observer) for pair in pairs]


def _corrected(pair: Pair, found: Corrections, path: Path, observer: Observer) -> Pair:
    data.check_names(pair)
    name = safe(path.name)
    made, numbers = corrected_sets.make(pair.sets, pair.views, found, name)
    about = f"{pair.key.backbone} {safe(pair.key.dataset)}"
    observer.note(f"{about}: {numbers.words(name)}")
    if numbers.elsewhere:
        are = "is on a picture that is" if numbers.elsewhere == 1 else "are on pictures that are"
        of = f"{numbers.elsewhere:,} of {len(found.stands):,} decisions in {name}"
        observer.note(f"{about}: {of} {are} not in this data set")
    if numbers.emptied:
        classes = f"class{'es' * (len(numbers.emptied) > 1)} {listed(numbers.emptied)}"
        observer.note(f"{about}: no picture is left of the {classes}")
    by_folder = {source.folder: copy for source, copy in zip((*pair.sets, *pair.views), made, strict=True)}
    test, val = (None if one is None else by_folder[one.folder] for one in (pair.test, pair.val))
    return Pair(by_folder[pair.train.folder], test, val, tuple(made[len(pair.sets) :]))
