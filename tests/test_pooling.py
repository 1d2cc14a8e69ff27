"""Other ways of pooling and inner layers: what they give, what the key says, and what is refused."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from extract_samples import digits_jobs, noise
from test_architectures import filled, model_of, pixels_of
from torch import Tensor, nn

from headstart.core.cache.errors import ArgumentInvalid, WeightsMismatch
from headstart.core.cache.key import POOLINGS
from headstart.core.extract import plan, weights
from headstart.core.extract.backbones import Backbone, Sizes, get_backbone
from headstart.core.extract.config import POOLS
from headstart.core.extract.network.body import Body, Layout, pooled
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.extractor import build
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.pooling import Pooling, check_size, inner, of_key, pooled_by
from headstart.core.extract.restore import restore

FP32 = Device("cpu", "fp32", "this CPU")


class Tokens(Body):
    """A class token, a register and four places, of three channels each."""

    layout = Layout("tokens", 2, class_token=True)

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, 3, 2, stride=2, bias=False)
        self.norm = nn.LayerNorm(3)
        self.relu = nn.ReLU()

    def forward(self, pixels: Tensor) -> Tensor:
        places = self.relu(self.cut(pixels)).flatten(2).transpose(1, 2)
        tokens = self.norm(torch.cat([places[:, :2] + 1, self.relu(places)], dim=1))
        return torch.as_tensor(tokens)


TOKENS = Backbone("tokens", 3, Tokens, pooling=POOLINGS["cls"])


def features(backbone: Backbone, pixels: Tensor) -> Tensor:
    torch.manual_seed(0)
    body = backbone.body().eval()
    with torch.inference_mode():
        return pooled(body, body(pixels))


def test_every_way_is_an_option_and_has_words() -> None:
    assert ("auto", *POOLINGS) == POOLS


def test_each_way_of_pooling_tokens() -> None:
    pixels = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    tokens = Tokens().eval()(pixels)
    first, places = tokens[:, 0], tokens[:, 2:]
    expected = {
        "avg": places.mean(1),
        "max": places.amax(1),
        "cls+avg": torch.cat([first, places.mean(1)], 1),
    }
    for way, values in expected.items():
        backbone = pooled_by(TOKENS, Pooling(way), 4)
        assert (backbone.pooling, backbone.feature_dim) == (POOLINGS[way], values.shape[1])
        torch.testing.assert_close(features(backbone, pixels), values)


@pytest.mark.parametrize("way", ["auto", "avg"])
def test_a_networks_own_way_by_any_name_is_the_network_itself(way: str) -> None:
    backbone = get_backbone("resnet18")
    assert pooled_by(backbone, Pooling(way), 32) is backbone


@pytest.mark.parametrize("name", ["resnet18", "regnet_y_400mf", "swin_t"])
def test_the_maximum_of_a_map(name: str) -> None:
    backbone = get_backbone(name)
    model, pixels = model_of(name), pixels_of(backbone)
    other = pooled_by(backbone, Pooling("max"), 64)
    body = filled(name, model)
    with torch.device("meta"):
        repooled = other.body().eval()
    assert list(repooled.state_dict()) == list(body.state_dict())
    repooled.load_state_dict(body.state_dict(), assign=True)
    with torch.inference_mode():
        assert torch.equal(pooled(repooled, repooled(pixels)), body(pixels).flatten(2).amax(2))
    assert other.pooling == "global maximum"


# ---- layers


@dataclasses.dataclass(frozen=True)
class Inner:
    """A layer, and the shape of its output for two pictures of 64 px."""

    model: str
    layer: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.model} {self.layer}"


INNER = [
    Inner("resnet18", "layer3", (2, 256, 4, 4)),
    Inner("resnet18", "layer2.0.bn2", (2, 128, 8, 8)),
    Inner("resnet34", "layer3", (2, 256, 4, 4)),
    Inner("convnext_tiny", "features.3.2", (2, 192, 8, 8)),
    Inner("swin_t", "features.3", (2, 8, 8, 192)),
]


@pytest.mark.parametrize("inner", INNER, ids=str)
def test_a_layers_output_is_averaged(inner: Inner) -> None:
    backbone = get_backbone(inner.model)
    model, pixels = model_of(inner.model), pixels_of(backbone)
    found = pooled_by(backbone, Pooling(layer=inner.layer), 64)
    seen: list[Tensor] = []
    model.get_submodule(inner.layer).register_forward_hook(lambda *given: seen.append(given[2].clone()))
    body = found.body().eval()
    body.load_state_dict({name: model.state_dict()[name] for name in body.state_dict()})
    with torch.inference_mode():
        model(pixels)
        features = pooled(body, body(pixels))
    assert seen[0].shape == inner.shape
    channels_last = inner.shape[1] == inner.shape[2]
    torch.testing.assert_close(features, seen[0].mean((1, 2) if channels_last else (2, 3)))
    assert found.pooling == f"global average at {inner.layer}"
    assert found.feature_dim == features.shape[1]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_layer_is_the_same_by_workers_and_in_low_precision(precision: str) -> None:
    found = pooled_by(get_backbone("resnet18"), Pooling(layer="layer2.0.bn2"), 64)
    device = dataclasses.replace(FP32, precision=precision)
    torch.manual_seed(0)
    ours, images = build(found.body(), Preprocessing(64), device, 2), noise(4, 40)
    expected = ours(images)
    pending = [ours.submit(images[i : i + 2]) for i in (0, 2)]
    assert np.array_equal(np.concatenate([one.result() for one in pending]), expected)
    torch.manual_seed(0)
    exact = build(found.body(), Preprocessing(64), FP32, 2)(images)
    np.testing.assert_allclose(expected, exact, atol=0 if precision == "fp32" else 0.05 * np.abs(exact).max())


def test_auto_at_a_layer_of_tokens_is_the_networks_own_way() -> None:
    assert pooled_by(TOKENS, Pooling(layer="norm"), 4).pooling == "class token at norm"


# ---- what is refused


@dataclasses.dataclass(frozen=True)
class Refused:
    """A way that a network has not got."""

    backbone: Backbone
    pooling: Pooling
    words: str

    def __str__(self) -> str:
        return f"{self.backbone.name} {self.pooling.way} {self.pooling.layer}"


RESNET18 = get_backbone("resnet18")
REFUSED = [
    Refused(RESNET18, Pooling("cls"), "pool is cls, and resnet18 has no class token, expected auto, avg or max"),
    Refused(
        RESNET18,
        Pooling("cls+avg", "layer2"),
        r"layer2 of resnet18 has no class token, expected avg or max",
    ),
    Refused(
        RESNET18,
        Pooling(layer="layer5"),
        r"layer is 'layer5', which resnet18 has not got before its head \(did you mean layer\d.*\?\); "
        "`headstart models show resnet18` lists them",
    ),
    Refused(RESNET18, Pooling(layer="fc"), "layer is 'fc', which resnet18 has not got before its head"),
    Refused(RESNET18, Pooling(layer="layer1.0.relu"), "layer is 'layer1.0.relu', which runs more than once in resnet18"),
    Refused(get_backbone("resnet34"), Pooling(layer="layer1.0.relu"), "which runs more than once in resnet34"),
    Refused(TOKENS, Pooling(layer="relu"), "layer is 'relu', which runs more than once in tokens"),
]


@pytest.mark.parametrize("refused", REFUSED, ids=str)
def test_what_a_network_has_not_got_is_refused_by_name(refused: Refused) -> None:
    size = 4 if refused.backbone is TOKENS else 64
    with pytest.raises(ArgumentInvalid, match=refused.words):
        pooled_by(refused.backbone, refused.pooling, size)


@pytest.mark.parametrize("backbone", [RESNET18, TOKENS], ids=lambda backbone: backbone.name)
def test_the_layers_that_are_listed_are_those_that_can_be_pooled(backbone: Backbone) -> None:
    size = 4 if backbone is TOKENS else 32
    with torch.device("meta"):
        modules = [name for name, _ in backbone.body().named_modules() if name]
    found = {layer.name: layer for layer in inner.layers(backbone.body, size)}
    assert found
    for name in modules:
        if name in found:
            pooled_by(backbone, Pooling("avg", name), size)
        else:
            with pytest.raises(ArgumentInvalid, match="layer is"):
                pooled_by(backbone, Pooling("avg", name), size)
    if backbone is RESNET18:
        assert found["layer2"] == inner.Inner("layer2", "Sequential", (128, 4, 4))
        assert len(found) == 57


def scalar(*shape: int) -> nn.Module:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Identity()

        def forward(self, pixels: Tensor) -> Tensor:
            return torch.as_tensor(self.inner(pixels.new_zeros(1, *shape)))

    return Odd()


@pytest.mark.parametrize("shape", [(5,), (3, 4, 5), (7, 8)])
def test_an_output_that_is_no_map_is_refused(shape: tuple[int, ...]) -> None:
    odd = Backbone("odd", 3, functools.partial(scalar, *shape))
    with pytest.raises(ArgumentInvalid, match=r"layer is 'inner', whose output in odd has the shape \(.*expected a map"):
        pooled_by(odd, Pooling(layer="inner"), 32)


@pytest.mark.parametrize(
    ("sizes", "size", "words"),
    [
        (Sizes(63), 62, "image_size is 62, expected 63 or more for odd"),
        (Sizes(only=224), 256, "image_size is 256, and odd takes pictures of 224 px only"),
        (Sizes(32, 16), 100, "image_size is 100, expected a multiple of 16 for odd: 96 or 112"),
    ],
)
def test_pictures_that_a_network_does_not_take(sizes: Sizes, size: int, words: str) -> None:
    odd = Backbone("odd", 3, Tokens, sizes=sizes)
    with pytest.raises(ArgumentInvalid, match=words):
        check_size(odd, size)


def test_pictures_that_a_network_takes() -> None:
    for sizes, size in ((Sizes(63), 63), (Sizes(only=224), 224), (Sizes(32, 16), 96)):
        check_size(Backbone("odd", 3, Tokens, sizes=sizes), size)


def test_a_plan_refuses_them() -> None:
    with pytest.raises(ArgumentInvalid, match="image_size is 32, expected 63 or more for alexnet"):
        digits_jobs("alexnet")
    with pytest.raises(ArgumentInvalid, match="pool is cls, and resnet18 has no class token"):
        digits_jobs("resnet18", pool="cls")


# ---- the key, and back


@pytest.mark.parametrize(
    ("config", "words", "dim"),
    [
        ({}, "global average", 512),
        ({"pool": "avg"}, "global average", 512),
        ({"pool": "max"}, "global maximum", 512),
        ({"layer": "layer2"}, "global average at layer2", 128),
        ({"pool": "max", "layer": "layer1.1"}, "global maximum at layer1.1", 64),
    ],
)
def test_the_key_says_how_and_gives_the_same_features_back(config: dict[str, str], words: str, dim: int) -> None:
    job = digits_jobs("resnet18", split="test", precision="fp32", **config)[0]
    assert (job.key.pooling, job.backbone.feature_dim) == (words, dim)
    images = noise(3, 32)
    expected = plan.load(job)(images)
    restored = restore(job.key, "", None, "cpu", 4)
    assert expected.shape == (3, dim)
    assert np.array_equal(restored(images), expected)


def test_a_key_of_a_way_that_we_have_not_got_is_refused() -> None:
    key = digits_jobs("resnet18", split="test")[0].key
    for pooling in ("class token", "global average at layer9"):
        with pytest.raises(WeightsMismatch, match=f"pooling is '{pooling}' in the head's features: "):
            of_key(dataclasses.replace(key, pooling=pooling), 32)


def test_pools_of_one_network_are_different_networks_to_this_process() -> None:
    jobs = [digits_jobs("resnet18", split="test", pool=pool, layer="layer2")[0] for pool in ("avg", "max")]
    assert not jobs[0].network.is_same(jobs[1].network)
    first, second = (plan.load(job)(noise(2, 32)) for job in jobs)
    assert (first < second).any()


def test_weights_of_a_file_are_taken_for_another_pool(tmp_path: Path) -> None:
    backbone = pooled_by(get_backbone("resnet18"), Pooling("max", "layer4"), 32)
    torch.save(get_backbone("resnet18").body().state_dict(), tmp_path / "w.pth")
    body = weights.load(backbone, weights.locate(backbone, str(tmp_path / "w.pth")))
    assert not any(value.is_meta for value in body.state_dict().values())
