"""Near-duplicates among real files: found by their pixels where features don't say so, and none is hidden by others."""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from cli_samples import Place
from PIL import Image, ImageEnhance, ImageOps
from test_likeness import jpeg, scene

from headstart.auditing import twins as auditing
from headstart.auditing.found import Twins
from headstart.auditing.pixels import opened as opening
from headstart.auditing.pixels import proposed as proposing
from headstart.auditing.pixels.looked import picture_faults
from headstart.auditing.pixels.opened import Opened, open_pictures, sampled
from headstart.auditing.pixels.proposed import proposed
from headstart.auditing.request import ALL, NONE
from headstart.auditing.rows import Rows, rows_of
from headstart.auditing.twins import candidates, look, twins
from headstart.core.cache.store import FeatureStore
from headstart.core.extract.likeness.pixels import grey
from headstart.core.heads.audit import duplicates
from headstart.core.heads.data import Pair
from headstart.observer import SILENT

CHANGES = {
    "jpeg": jpeg,
    "resized": lambda picture: picture.resize((360, 270)),
    "mirrored": ImageOps.mirror,
    "cropped": lambda picture: picture.crop((5, 12, 385, 297)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
}


def kept(root: Path, pictures: dict[str, Image.Image]) -> Rows:
    """The rows of a folder with these pictures, extracted by a small untrained network."""
    (root / "set").mkdir()
    for name, picture in pictures.items():
        picture.save(root / "set" / f"{name}.png", compress_level=1)
    words = ("-m", "squeezenet1_1", "--weights", "random:0", "--image-size", "32", "--dataset", f"folder:{root / 'set'}")
    Place(root).run("extract", *words)
    (found,) = FeatureStore(root / "features").sets()
    return rows_of([Pair(found, None)])


def searched(rows: Rows, features: npt.NDArray[np.float32] | None = None, pixels: str = ALL) -> tuple[Twins, Opened]:
    """What an audit does to find twins, by the kept features or by others."""
    same = duplicates.same_content(np.ascontiguousarray(rows.digests))
    seen = [look(rows, same, rows.features(0) if features is None else features)]
    pairs = candidates(seen)
    opened = open_pictures(rows, pairs.rows, sampled(len(rows), pixels, 0), rows.sets[0].folder.parent, SILENT)
    return twins(rows, same, seen, pairs, opened, SILENT), opened


def names(rows: Rows, pairs: npt.NDArray[np.int64]) -> set[frozenset[str]]:
    return {frozenset(Path(bytes(rows.ids[row]).decode()).stem for row in pair) for pair in pairs.tolist()}


def saying_nothing(rows: Rows) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((len(rows), 16)).astype(np.float32)


def in_memory(pictures: list[Image.Image]) -> Opened:
    greys = np.array([grey(one) for one in pictures], dtype=np.uint8).reshape(-1, 32, 32)
    return Opened(np.arange(len(greys)), np.ones(len(greys), dtype=np.bool_), greys, {}, {})


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Thirty pictures of 400 x 300 px, and each kind of change of three of them."""
    own = {str(seed): scene(seed, 400, 300) for seed in range(30)}
    changed = {f"{3 * i + j}-{name}": change for i, (name, change) in enumerate(CHANGES.items()) for j in range(3)}
    planted = {name: change(own[name.split("-")[0]]) for name, change in changed.items()}
    return kept(tmp_path_factory.mktemp("photographs"), {**own, **planted})


PLANTED = {frozenset({str(3 * i + j), f"{3 * i + j}-{name}"}) for i, name in enumerate(CHANGES) for j in range(3)}


def test_all_kinds_of_change_are_found_and_nothing_else(photographs: Rows) -> None:
    found, _ = searched(photographs)
    assert names(photographs, found.near) == PLANTED
    assert found.checked.all()
    assert (np.diff(found.scores) <= 0).all()
    assert found.why_unchecked is None
    assert found.unopened == 0


def test_pixels_propose_what_features_never_would(photographs: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "LOOKED_AT", 0)
    assert names(photographs, searched(photographs, saying_nothing(photographs))[0].near) == PLANTED
    monkeypatch.setattr(proposing, "MOST", 0)
    assert names(photographs, searched(photographs, saying_nothing(photographs))[0].near) == set()


def test_pictures_that_no_candidate_has_are_opened_only_when_asked_for(
    photographs: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "LOOKED_AT", 4)
    found, opened = searched(photographs, saying_nothing(photographs), NONE)
    assert 0 < len(opened.rows) <= 8
    assert found.unopened == len(photographs) - len(opened.rows)
    assert not opened.measured
    assert picture_faults(opened, sampled(len(photographs), NONE, 0)).looked_at == 0


def test_each_picture_is_opened_once(photographs: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    read, real = list[int](), opening.checked_picture

    def counting(images: object, row: int, *more: object) -> Image.Image:
        read.append(row)
        return real(images, row, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(opening, "checked_picture", counting)
    found, opened = searched(photographs)
    assert sorted(read) == list(range(len(photographs)))
    sample = sampled(len(photographs), "10", 0)
    assert picture_faults(opened, sample).looked_at == 10
    assert found.checked.all()


def test_many_blank_pictures_are_few_pairs_and_hide_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {f"blank{i}": Image.new("RGB", (20, 20), (i, 90, 90)) for i in range(120)}
    pictures.update({str(seed): scene(seed) for seed in range(12)})
    pictures.update({f"{seed}-jpeg": jpeg(scene(seed)) for seed in range(4)})
    rows = kept(tmp_path, pictures)
    blank = np.array([bytes(name).startswith(b"blank") for name in rows.ids])
    features = saying_nothing(rows)
    features[blank] = features[0] + 1e-4 * features[blank]
    monkeypatch.setattr(auditing, "LOOKED_AT", 400)  # of 7,140 pairs of blank pictures
    found, _ = searched(rows, features)
    assert {frozenset({str(seed), f"{seed}-jpeg"}) for seed in range(4)} == {
        pair for pair in names(rows, found.near) if not any(name.startswith("blank") for name in pair)
    }
    assert len(found.near) == 119 + 4
    assert found.checked.all()
    assert {len(group) for group in found.together} == {2, 120}


def test_blank_pictures_and_single_pixels_are_proposed_to_nobody() -> None:
    blank = [Image.new("RGB", (9, 9), (i, i, i)) for i in range(60)]
    dots = [Image.new("RGB", (1, 1), (3 * i, 0, 0)) for i in range(20)]
    pictures = in_memory([*blank, scene(0), *dots, jpeg(scene(0)), scene(1)])
    assert proposed(pictures, np.arange(83)).tolist() == [[60, 81]]
    assert pictures.blank(np.arange(83)).sum() == 80


def test_photographs_kept_otherwise_are_proposed_and_others_are_not(shared: Path) -> None:
    own = [Image.open(path).convert("RGB") for path in sorted((shared / "photos").glob("*.jpg"))]
    changed = [change(one.resize((400, 300))) for one in own for change in CHANGES.values()]
    found = proposed(in_memory([*own, *changed]), np.arange(len(own) + len(changed)))
    of = [*range(len(own)), *np.repeat(np.arange(len(own)), len(CHANGES)).tolist()]
    assert all(of[one] == of[other] for one, other in found.tolist())
    groups = duplicates.groups(found, len(of))
    assert [len(group) for group in groups] == [1 + len(CHANGES)] * len(own)


@pytest.mark.parametrize("count", range(3))
def test_few_pictures_propose_nothing(count: int) -> None:
    few = in_memory([Image.new("RGB", (9, 9)), scene(0)][:count])
    assert proposed(few, np.arange(count)).shape == (0, 2)
    assert few.blank(np.arange(2)).tolist() == [count > 0, False]


def test_a_picture_and_its_copy_are_looked_at_once_and_symmetric_ones_are_not_their_own_twins() -> None:
    half = scene(3)
    symmetric = Image.new("RGB", (240, 90))
    symmetric.paste(half, (0, 0))
    symmetric.paste(ImageOps.mirror(half), (120, 0))
    found = proposed(in_memory([scene(0), scene(0), symmetric, scene(0).rotate(180)]), np.array([0, 0, 2, 3]))
    assert found.tolist() == []
    both = proposed(in_memory([symmetric, jpeg(symmetric), ImageOps.mirror(jpeg(symmetric))]), np.arange(3))
    assert sorted(map(tuple, both.tolist())) == [(0, 1), (0, 2), (1, 2)]


def test_no_more_are_proposed_than_may_be_the_most_alike_first(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [scene(seed) for seed in range(6)] + [jpeg(scene(seed)) for seed in range(6)]
    far = [scene(9).crop((0, 0, 114, 86)), scene(9)]
    monkeypatch.setattr(proposing, "MOST", 6)
    found = proposed(in_memory([*far, *pictures]), np.arange(14))
    assert {tuple(pair) for pair in found.tolist()} == {(i + 2, i + 8) for i in range(6)}


def test_twenty_pictures_that_are_all_alike_are_one_group(tmp_path: Path) -> None:
    rows = kept(tmp_path, {f"p{i}": scene(0).point(lambda value, i=i: min(255, value + i)) for i in range(20)})
    found, _ = searched(rows)
    assert [len(group) for group in found.together] == [20]
    assert found.checked.all()


def test_pictures_that_cannot_be_read_any_more_are_told_and_others_compared(tmp_path: Path) -> None:
    pictures = {str(seed): scene(seed) for seed in range(10)}
    rows = kept(tmp_path, {**pictures, **{f"{seed}-jpeg": jpeg(scene(seed)) for seed in range(3)}})
    (tmp_path / "set" / "0.png").write_bytes(b"no picture")
    (tmp_path / "set" / "1.png").unlink()
    found, opened = searched(rows, saying_nothing(rows))
    assert names(rows, found.near) == {frozenset({"2", "2-jpeg"})}
    assert found.why_unchecked in opened.reasons.values()
    assert len(opened.reasons) == 2
    faults = picture_faults(opened, np.arange(len(rows)))
    assert (faults.looked_at, faults.unopened) == (11, 2)
    gone = dataclasses.replace(opened, there=np.zeros(len(rows), dtype=np.bool_), why="moved away")
    assert picture_faults(gone, np.arange(len(rows))).why == "moved away"
    assert (gone.places(np.arange(len(rows))) == -1).all()
