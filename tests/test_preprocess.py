"""Our resizing and normalising give Pillow's and torchvision's numbers bit for bit."""

import math

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchvision
from extract_samples import noise
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from headstart.core.extract.backbones import names
from headstart.core.extract.network.devices import Device
from headstart.core.extract.pictures.preprocess import Preprocessing, is_exact, normalise, prepare, resize, resize_weights

sizes = st.integers(1, 320)
targets = st.integers(1, 256)
seeds = st.integers(0, 2**32 - 1)


def pillows(images: npt.NDArray[np.uint8], target: int) -> npt.NDArray[np.uint8]:
    """uint8 (N, H, W, 3) resized one by one by Pillow, as (N, 3, target, target)."""
    resized = [Image.fromarray(image).resize((target, target), Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(image) for image in resized]).transpose(0, 3, 1, 2)


def ours(images: npt.NDArray[np.uint8], target: int) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = resize(torch.from_numpy(images), target).numpy()
    return found


def torchvisions(images: npt.NDArray[np.uint8], preprocessing: Preprocessing) -> torch.Tensor:
    """torchvision's own chain on PIL pictures, (N, 3, S, S)."""
    size = (preprocessing.image_size, preprocessing.image_size)
    steps = [transforms.Resize(size), transforms.ToTensor(), transforms.Normalize(preprocessing.mean, preprocessing.std)]
    return torch.stack([transforms.Compose(steps)(Image.fromarray(image)) for image in images])


def extremes(size: int) -> npt.NDArray[np.uint8]:
    """White, black, a chess board and stripes: what drives sums and clipping to their bounds."""
    y, x = np.mgrid[0:size, 0:size]
    planes = np.stack([np.ones((size, size)), np.zeros((size, size)), (x + y) % 2, x % 2, y // 2 % 2])
    return np.repeat((planes * 255).astype(np.uint8)[..., np.newaxis], 3, axis=3)


def test_cifar_to_224_is_pillows_result_to_the_bit() -> None:
    images = np.concatenate([noise(16, 32), extremes(32)])
    assert np.array_equal(ours(images, 224), pillows(images, 224))


@hypothesis.given(sizes, targets, seeds)
@hypothesis.example(240, 16, 0)  # the strongest shrinking that is still exact
@hypothesis.example(1, 256, 0)
def test_square_pictures_are_pillows_result_to_the_bit_wherever_is_exact_says_so(size: int, target: int, seed: int) -> None:
    hypothesis.assume(is_exact(size, target))
    images = np.concatenate([noise(1, size, seed), extremes(size)])
    assert np.array_equal(ours(images, target), pillows(images, target))


@hypothesis.given(sizes, sizes, targets, seeds)
def test_pictures_that_are_not_square_are_within_one_step_of_pillows(
    width: int, height: int, target: int, seed: int
) -> None:
    hypothesis.assume(is_exact(width, target) and is_exact(height, target))
    images = np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    assert np.abs(ours(images, target) - pillows(images, target)).max() <= 1  # Pillow may take the height first


@hypothesis.given(sizes, sizes, targets, st.integers(0, 255))
def test_a_picture_of_one_colour_keeps_it(width: int, height: int, target: int, value: int) -> None:
    hypothesis.assume(is_exact(width, target) and is_exact(height, target))
    assert (ours(np.full((1, height, width, 3), value, dtype=np.uint8), target) == value).all()


@hypothesis.given(sizes, targets)
def test_the_weights_of_a_pixel_sum_to_one(size: int, target: int) -> None:
    weights = resize_weights(size, target)
    taps = (weights > 0).sum(axis=1)
    assert weights.shape == (target, size)
    assert (np.abs(weights.sum(axis=1) - 2**22) <= taps).all()  # each is rounded by half a unit at most
    assert (taps <= 2 * math.ceil(max(size / target, 1)) + 1).all()


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    images = noise(2, 48)
    assert np.array_equal(ours(images, 48), images.transpose(0, 3, 1, 2))


def test_a_picture_is_resized_alike_whatever_else_is_in_the_batch() -> None:
    images = noise(5, 32)
    assert np.array_equal(ours(images, 64)[3], ours(images[3:4], 64)[0])


@pytest.mark.parametrize(("height", "width"), [(400, 400), (8, 400), (400, 8)])
def test_shrinking_beyond_exact_sums_is_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"pictures of {width}x{height} px can't be resized to 8 px here; let Pillow"):
        resize(torch.zeros(1, height, width, 3, dtype=torch.uint8), 8)


@pytest.mark.parametrize(("size", "target"), [(32, 224), (28, 64), (224, 224), (300, 224), (96, 32)])
def test_the_whole_chain_is_torchvisions_to_the_bit(size: int, target: int) -> None:
    images, preprocessing = np.concatenate([noise(3, size), extremes(size)]), Preprocessing(target)
    found = normalise(resize(torch.from_numpy(images), target), preprocessing)
    assert torch.equal(found, torchvisions(images, preprocessing))


def test_mean_and_deviation_are_taken_from_the_arguments() -> None:
    images, preprocessing = noise(2, 32), Preprocessing(32, mean=(0.5, 0.25, 0.125), std=(0.5, 1.0, 2.0))
    found = normalise(resize(torch.from_numpy(images), 32), preprocessing)
    assert torch.equal(found, torchvisions(images, preprocessing))


@pytest.mark.parametrize("name", names())
def test_the_defaults_are_those_of_torchvisions_weights(name: str) -> None:
    published = torchvision.models.get_model_weights(name).IMAGENET1K_V1.transforms()
    ours = Preprocessing()
    assert [ours.image_size] == published.crop_size
    assert (ours.mean, ours.std) == (tuple(published.mean), tuple(published.std))
    assert ours.interpolation == published.interpolation.value


@pytest.mark.cuda
@pytest.mark.parametrize(("size", "target"), [(32, 224), (300, 224), (240, 16)])
def test_a_gpu_resizes_to_the_bit_as_pillow_does(cuda: Device, size: int, target: int) -> None:
    images = np.concatenate([noise(8, size), extremes(size)])
    found = resize(torch.from_numpy(images).to(cuda.name), target).cpu().numpy()
    assert np.array_equal(found, pillows(images, target))


# ---- prepared in chunks


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(("rows", "size", "target"), [(1, 1, 32), (1, 32, 224), (7, 32, 224), (16, 224, 224), (40, 20, 64)])
def test_a_batch_in_chunks_is_the_batch_at_once(
    rows: int, size: int, target: int, dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    images, preprocessing = torch.from_numpy(noise(rows, size)), Preprocessing(target)
    found = prepare(images, preprocessing, dtype, memory_format)
    whole = normalise(resize(images, target), preprocessing).to(dtype)
    assert (found.dtype, found.shape) == (dtype, (rows, 3, target, target))
    assert found.is_contiguous(memory_format=memory_format)
    assert torch.equal(found, whole)


@pytest.mark.cuda
def test_on_a_gpu_nothing_waits_while_a_batch_is_prepared(cuda: Device) -> None:
    images = torch.from_numpy(noise(8, 32)).to(cuda.name)
    expected = prepare(images.cpu(), Preprocessing(64), torch.float32, torch.contiguous_format)
    prepare(images, Preprocessing(64), torch.float32, torch.contiguous_format)  # brings the constants there
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = prepare(images, Preprocessing(64), torch.float32, torch.contiguous_format)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.allclose(found.cpu(), expected, rtol=1e-6, atol=1e-6)
