"""Views, which are other pictures made of each picture (`extract.pictures.views`): in keys, in commands and in words."""

import re
from collections.abc import Sequence

FLIP = "flip"
"""Pictures mirrored left to right."""
_CROP = "crop area=0.25-1 ratio=3/4-4/3 seed={seed} number={number}"
RANDOM_CROP = re.compile(re.escape(_CROP).replace(r"\{seed\}", "(0|[1-9][0-9]*)").replace(r"\{number\}", "([1-9][0-9]*)"))
"""Random crops: the seed and the number."""


def crop(seed: int | str, number: int | str) -> str:
    """The view of the `number`-th random crop, from 1 on."""
    return _CROP.format(seed=seed, number=number)


def asked_by(views: Sequence[str]) -> list[tuple[str, ...]]:
    """The options of `extract` that ask for some views, all that are known: one list for each command that it takes."""
    crops = dict[int, int]()
    for found in filter(None, map(RANDOM_CROP.fullmatch, views)):
        crops[int(found[1])] = max(int(found[2]), crops.get(int(found[1]), 0))
    numbered = [("--views", str(number), "--seed", str(seed)) for seed, number in sorted(crops.items())]
    return [*([("--views", FLIP)] if FLIP in views else []), *numbered]


def views_in_words(views: Sequence[str]) -> str:
    """Some views for people: `flip, crops 1 to 4 of seed 0`; those that this version does not know as keys have them."""
    crops, others = dict[str, list[int]](), list[str]()
    for view in views:
        found = RANDOM_CROP.fullmatch(view)
        if found:
            crops.setdefault(found[1], []).append(int(found[2]))
        else:
            others.append(view)
    for seed, numbers in sorted(crops.items(), key=lambda one: int(one[0])):
        first, last = min(numbers), max(numbers)
        if last - first + 1 == len(numbers) > 1:
            others.append(f"crops {first} to {last} of seed {seed}")
        else:
            others += [f"crop {number} of seed {seed}" for number in sorted(numbers)]
    return ", ".join(others)
