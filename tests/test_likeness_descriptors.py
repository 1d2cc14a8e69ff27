"""Descriptors of pictures from afar: what is kept otherwise is near, what shows nothing is nowhere."""

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_likeness import jpeg, scene

from headstart.core.extract.likeness.descriptors import descriptors, mirrored
from headstart.core.extract.likeness.pixels import flat, grey


def of(*pictures: Image.Image) -> np.ndarray:
    return descriptors(np.stack([grey(one) for one in pictures]))


@hypothesis.settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_neither_jpeg_nor_brightness_nor_size_changes_what_is_seen_from_afar(seed: int) -> None:
    own = scene(seed)
    dark = own.point(lambda value: value * 0.6)
    found = of(own, jpeg(own), dark, own.resize((61, 47)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    assert (found @ found[0] > 0.98).all()


@given(seed=st.integers(0, 1000))
@hypothesis.settings(max_examples=25, deadline=None)
def test_mirrored_descriptors_are_those_of_mirrored_pictures(seed: int) -> None:
    own = np.stack([grey(scene(seed))])
    np.testing.assert_allclose(mirrored(descriptors(own)), descriptors(own[:, :, ::-1]), atol=1e-6)
    np.testing.assert_array_equal(mirrored(mirrored(descriptors(own))), descriptors(own))


def test_others_are_far() -> None:
    found = of(*(scene(seed) for seed in range(30)))
    assert (found @ found.T - 2 * np.eye(30)).max() < 0.8


def test_what_shows_nothing_has_no_direction() -> None:
    fine = np.indices((32, 32)).sum(axis=0) % 2 * 200  # a pattern that fields of 4 x 4 pixels don't have
    pictures = np.stack([np.full((32, 32), 7), np.full((32, 32), 255), fine]).astype(np.uint8)
    assert not descriptors(pictures).any()
    assert flat(pictures).tolist() == [True, True, False]
    assert descriptors(pictures[:0]).shape == (0, 64)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (700, 3)])
def test_any_size_has_one(size: tuple[int, int]) -> None:
    assert np.isfinite(of(scene(0).resize(size))).all()
