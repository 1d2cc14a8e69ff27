"""One graph for pictures of any size: Pillow's resizing to the bit, and every head as `predict` uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from export_samples import stored_rows, untrained_key
from heads_samples import make_config
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from headstart.core.extract.network.body import pooled
from headstart.core.extract.pictures.framing import framed
from headstart.core.extract.pictures.preprocess import Preprocessing, normalise
from headstart.core.extract.pictures.resampling import weights
from headstart.core.heads.checkpoint import Checkpoint
from headstart.core.heads.confidence import Confidence
from headstart.core.heads.kinds import NAMES, kind
from headstart.core.heads.predict import calibrated
from headstart.core.heads.training.train import scores
from headstart.export.files import onnx_file
from headstart.export.graph import lines
from headstart.export.graph.framing import Framing, pillow_takes_height_first
from headstart.export.graph.whole import Whole
from headstart.export.running.process import running

SIZES = (
    (1, 1), (1, 2), (2, 1), (1, 500), (500, 1), (3, 3), (7, 7), (31, 33), (64, 64), (63, 65), (64, 128), (65, 130),
    (33, 500), (3000, 20), (20, 3000), (97, 389), (117, 253), (253, 117), (448, 896),
)  # fmt: skip
"""Widths and heights: single pixels, lines, squares, odd beside even, a phone's screenshot, and long ones either way."""
TRANSFORMS = (
    Preprocessing(64),
    Preprocessing(64, "bicubic", resize=70),
    Preprocessing(64, resize=40),
    Preprocessing(64, resize=73, crop="center"),
    Preprocessing(65, "bicubic", resize=48, crop="center"),
    Preprocessing(64, "bicubic", crop="border"),
    Preprocessing(65, resize=50, crop="border", mean=(0.1, 0.5, 0.9)),
)


def picture(width: int, height: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Noise with edges from black to white, where rounding and clipping show, uint8 (H, W, 3)."""
    values = np.random.default_rng([width, height, seed]).integers(0, 256, (height, width, 3), dtype=np.uint8)
    values[: height // 2, : width // 2] = 255
    values[height // 2 :, width // 2 :] //= 255
    return values


@given(
    width=st.integers(1, 200),
    height=st.integers(1, 200),
    transform=st.sampled_from(TRANSFORMS),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=150)
def test_a_picture_is_framed_to_pillows_bits(width: int, height: int, transform: Preprocessing, seed: int) -> None:
    pixels = picture(width, height, seed)
    found = Framing(transform, pillow_takes_height_first())(torch.from_numpy(pixels)[None])[0].permute(1, 2, 0).numpy()
    assert np.array_equal(found, framed(Image.fromarray(pixels), transform))


@given(size=st.integers(1, 3000), target=st.integers(1, 300), filter_name=st.sampled_from(["bilinear", "bicubic"]))
def test_the_weights_of_a_line_are_the_integers_that_pillow_has(size: int, target: int, filter_name: str) -> None:
    rows = lines.places(target)
    found = lines.weights(lines.places(size), lines.doubles(target), rows, filter_name).numpy()
    first, expected = weights(size, target, filter_name, range(target))
    assert np.array_equal(found[:, first : first + expected.shape[1]], expected)
    assert not found[:, :first].any()
    assert not found[:, first + expected.shape[1] :].any()


@pytest.mark.parametrize("transform", TRANSFORMS[4:5], ids=lambda one: one.words)
def test_onnx_runtime_has_pillows_bits_for_any_size(transform: Preprocessing, tmp_path: Path) -> None:
    body = nn.Identity()
    whole = _Pixels(Framing(transform, pillow_takes_height_first()), body)
    program = onnx_file.traced(whole, transform.image_size)  # type: ignore[arg-type]  # has what is looked at
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_file.as_onnx(program).SerializeToString())
    with running(path) as run:
        for width, height in SIZES:
            pixels = picture(width, height)
            found = run(np.stack([pixels, pixels[::-1]]))
            for own, values in zip((pixels, pixels[::-1]), found, strict=True):
                expected = framed(Image.fromarray(np.ascontiguousarray(own)), transform)
                assert np.array_equal(values.reshape(expected.shape), expected), (width, height)


class _Pixels(nn.Module):
    """A framing that ends in its pixels (N, S * S * 3), where a model has probabilities."""

    def __init__(self, framing: Framing, body: nn.Module) -> None:
        super().__init__()
        self.framing, self.body = framing, body

    def forward(self, images: torch.Tensor) -> Any:
        return self.body(self.framing(images)).permute(0, 2, 3, 1).flatten(1)


def test_a_view_is_no_transform_of_a_file() -> None:
    with pytest.raises(ValueError, match="pictures are shown as they are, not by the view flip"):
        Framing(Preprocessing(64, view="flip"), True)


# ---- heads


class Strided(nn.Module):
    """A small backbone that ends in a map (N, 8, 4, 4), with the normalisation that low precision folds away."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 8, stride=8, bias=False), nn.BatchNorm2d(8)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.norm(self.conv(pixels)).relu()
        return found


def strided() -> nn.Module:
    """One of random numbers, the same each time."""
    body, drawn = Strided(), torch.Generator().manual_seed(5)
    body.norm.running_mean.uniform_(-1, 1, generator=drawn)  # type: ignore[union-attr]
    body.norm.running_var.uniform_(0.5, 2, generator=drawn)  # type: ignore[union-attr]
    for value in body.parameters():
        value.data.uniform_(-0.3, 0.3, generator=drawn)
    return body.eval().requires_grad_(False)


def small_head(name: str, *, calibrated_by: float | None = 1.75, absent: tuple[int, ...] = ()) -> Checkpoint:
    """A head of random numbers on 8 features."""
    head, drawn = kind(name)(8, 3, make_config(name), 40), torch.Generator().manual_seed(6)
    for value in head.parameters():
        value.data.copy_(torch.randn(value.shape, generator=drawn) / 2)
    head = stored_rows(head).eval().requires_grad_(False)
    if absent:
        head.never(absent)
    sure = None if calibrated_by is None else Confidence(calibrated_by, np.linspace(0.1, 1, 40, dtype=np.float32), 40)
    return Checkpoint(head, ("cat", "dog", "frog"), untrained_key(), "", sure)


def expected_of(body: nn.Module, head: Checkpoint, pixels: npt.NDArray[np.uint8], transform: Preprocessing) -> Any:
    """What `predict` does, by its own functions; the head's standardisation becomes that of these pictures first."""
    values = normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), transform)
    with torch.no_grad():
        features = pooled(body, body(values))
        head.head.mean.copy_(features.mean(0))
        head.head.std.copy_(features.std(0) + 0.1)
        return calibrated(head, scores(head.head, features.numpy(), "cpu").numpy())


@pytest.mark.parametrize("name", NAMES)
def test_every_head_is_exported_with_its_temperature(name: str, tmp_path: Path) -> None:
    body, head, transform = strided(), small_head(name, absent=(1,)), Preprocessing(32)
    pixels = np.stack([picture(32, 32, seed) // (seed + 1) for seed in range(5)])
    expected = expected_of(body, head, pixels, transform)
    whole = Whole(body, head, transform, resized=True, half=False).eval()
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_file.as_onnx(onnx_file.traced(whole, 32)).SerializeToString())
    with running(path) as run:
        for found, wanted in ((run(pixels), expected), (run(pixels[:1]), expected[:1])):
            assert np.abs(found - wanted).max() <= 1e-5
            assert (found[:, 1] == 0).all()
    assert expected.std(axis=0).max() > 0.01  # pictures are told apart


def test_a_head_without_calibration_has_the_temperature_1() -> None:
    assert (
        Whole(strided(), small_head("linear", calibrated_by=None), Preprocessing(32), resized=True, half=False).temperature
        == 1
    )


def test_in_half_precision_the_body_alone_is_cast_and_the_given_one_stays() -> None:
    body, transform = strided(), Preprocessing(32)
    before = {name: value.clone() for name, value in body.state_dict().items()}
    whole = Whole(body, small_head("linear"), transform, resized=False, half=True).eval()
    kinds = {name: value.dtype for name, value in whole.state_dict().items()}
    assert kinds["body.conv.weight"] == torch.float16
    assert {value for name, value in kinds.items() if name.startswith("head.")} == {torch.float32}
    assert all(torch.equal(value, body.state_dict()[name]) for name, value in before.items())
    assert isinstance(whole.body.norm, nn.Identity)  # folded before the cast
    assert isinstance(body.norm, nn.BatchNorm2d)


@pytest.fixture(scope="module")
def graph() -> Any:
    """A small model from pixels of any size."""
    whole = Whole(strided(), small_head("linear"), Preprocessing(32), resized=False, half=False).eval()
    return onnx_file.as_onnx(onnx_file.traced(whole, 32))


def test_a_graph_says_nothing_of_the_machine_that_made_it(graph: Any) -> None:
    content = graph.SerializeToString()
    assert b".py" not in content
    assert str(Path(__file__).parents[1]).encode() not in content


def test_the_axes_have_names(graph: Any) -> None:
    both = (graph.graph.input[0], graph.graph.output[0])
    shapes = [[axis.dim_param or axis.dim_value for axis in one.type.tensor_type.shape.dim] for one in both]
    assert shapes == [["batch", "height", "width", 3], ["batch", 3]]
