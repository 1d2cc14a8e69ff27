"""Every classification model of torchvision is cut by a rule: its features are what its own last linear layer gets."""

import copy
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from extract_samples import noise
from safetensors.torch import save_file
from test_extractor import draw, worst
from torch import Tensor, nn

from headstart.core.extract import weights
from headstart.core.extract.architectures.torchvision_models import FAMILIES, MODELS
from headstart.core.extract.architectures.traced import Traced, Unallocated, taken_apart
from headstart.core.extract.backbones import OWN_HEAD, Backbone, get_backbone
from headstart.core.extract.backbones.torchvision import BACKBONES, SIZE, cut_by_rule, find, known, preset
from headstart.core.extract.network.body import pooled, without_numbers
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.extractor import build
from headstart.core.extract.network.summary import summarise
from headstart.core.extract.pictures.preprocess import Preprocessing

FP32 = Device("cpu", "fp32", "this CPU")
ONE_EACH = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3"),
    *("maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet18"),
    *("resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vgg11_bn", "vit_b_32"),
)
"""A small member of each family, and of each kind in it."""
PLACES_MIXED = ("alexnet", "vgg11", "vgg11_bn")
"""Those whose head is linear layers over all places: their features are an average, as in the published study."""


def model_of(name: str) -> nn.Module:
    """torchvision's own model, built as for its published weights, every parameter and statistic drawn from a seed."""
    with Unallocated():
        model: nn.Module = torchvision.models.get_model(name, weights=None, **MODELS[name].options).eval()
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        for place, value in module._parameters.items():
            if value is not None:
                module._parameters[place] = nn.Parameter(drawn(value, generator), requires_grad=False)
        for place, buffer in module._buffers.items():
            if buffer is not None and buffer.is_meta:
                module._buffers[place] = torch.ones(buffer.shape, dtype=buffer.dtype)
    draw(model, generator)
    return model


def drawn(value: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers that keep a signal's size: near 1 for a vector, as scales are, small for a matrix."""
    if value.ndim < 2:
        return torch.empty(value.shape).normal_(0.5, 0.1, generator=generator)
    return torch.empty(value.shape).normal_(0, (1 / value[0].numel()) ** 0.5, generator=generator)


def size_of(backbone: Backbone) -> int:
    return backbone.sizes.only or max(64, backbone.sizes.least)


def pixels_of(backbone: Backbone, rows: int = 2) -> Tensor:
    size = size_of(backbone)
    return torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(1))


def before_last_linear(model: nn.Module, pixels: Tensor) -> Tensor:
    """What the last linear layer of a model gets; where that is a map, which is pooled after, its average."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    seen: dict[int, Tensor] = {}
    for number, module in enumerate(linear):
        module.register_forward_pre_hook(lambda _, inputs, number=number: seen.__setitem__(number, inputs[0]))
    with torch.inference_mode():
        model(pixels)
    last = list(seen.values())[-1]
    return last.mean((2, 3)) if last.ndim == 4 else last


def filled(name: str, model: nn.Module) -> nn.Module:
    """Our body with copies of a model's parameters."""
    with torch.device("meta"):
        body = get_backbone(name).body()
    ours = body.state_dict().keys()
    state = {key: value.clone() for key, value in model.state_dict().items() if key in ours}
    body.load_state_dict(state, assign=True)
    return body.eval().requires_grad_(False)


@pytest.mark.parametrize("name", ONE_EACH)
def test_features_are_what_the_models_own_last_linear_layer_gets(name: str) -> None:
    model, backbone = model_of(name), get_backbone(name)
    body, pixels = filled(name, model), pixels_of(backbone)
    with torch.inference_mode():
        found = pooled(body, body(pixels))
        expected = before_last_linear(model, pixels)
        if name in PLACES_MIXED:
            expected = model.features(pixels).mean((2, 3))
    assert found.shape == (2, backbone.feature_dim)
    assert np.isfinite(found.numpy()).all()
    assert float(found.std(0).max()) > 0  # two pictures have not the same features
    assert worst(found.numpy(), expected.numpy()) <= 1e-5


def test_every_family_has_a_member_above() -> None:
    assert [family for family in FAMILIES if not {*family.dimensions} & {*ONE_EACH}] == []


def test_the_names_are_torchvisions() -> None:
    assert sorted(known()) == sorted(torchvision.models.list_models(module=torchvision.models))
    assert {*BACKBONES} <= {*known()}
    assert find("resnet51") is None


@pytest.mark.parametrize("name", known())
def test_the_table_has_the_width_and_the_name_of_each_last_linear_layer(name: str) -> None:
    with Unallocated():
        model = torchvision.models.get_model(name, weights=None, **MODELS[name].options)
    linear = [(place, one) for place, one in model.named_modules() if isinstance(one, nn.Linear | nn.Conv2d)]
    place, last = linear[-1]
    family = MODELS[name]
    if isinstance(model, torchvision.models.VGG | torchvision.models.AlexNet):
        last = [one for one in model.features if isinstance(one, nn.Conv2d)][-1]
        assert family.dimensions[name] == last.out_channels
    else:
        width = last.in_features if isinstance(last, nn.Linear) else last.in_channels
        assert family.dimensions[name] == width
    assert f"{place}.".startswith(family.classifier)


@pytest.mark.parametrize("name", ONE_EACH)
def test_the_table_says_how_a_family_is_cut(name: str) -> None:
    with torch.device("meta"):
        body = cut_by_rule(name)
    family = MODELS[name]
    assert (body.pooling, body.left_out) == (family.pooling, family.classifier)
    assert bool(body.float32) == (family.pooling == OWN_HEAD)


@pytest.mark.parametrize("name", [name for name in ONE_EACH if MODELS[name].sizes.only is None])
def test_the_table_says_the_least_picture(name: str) -> None:
    with torch.device("meta"):
        body, least = get_backbone(name).body().eval(), get_backbone(name).sizes.least
    assert without_numbers(body, least).numel() > 0
    if least > 32:
        with pytest.raises(RuntimeError, match=r"[Oo]utput size|[Kk]ernel size"):
            without_numbers(body, least - 1)


@pytest.mark.parametrize("name", ["maxvit_t", "vit_b_32"])
def test_a_network_for_one_size_takes_no_other(name: str) -> None:
    with torch.device("meta"):
        body = cut_by_rule(name)
    with pytest.raises((AssertionError, RuntimeError)):  # torchvision's own words
        without_numbers(body, SIZE + 32)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_old_six_are_cut_as_the_rule_would(name: str) -> None:
    with torch.device("meta"):
        old, new = BACKBONES[name].body(), cut_by_rule(name)
    assert list(old.state_dict()) == list(new.state_dict())
    assert new.pooling == BACKBONES[name].pooling


@pytest.mark.parametrize("name", ["resnet18", "densenet169", "vgg16"])
def test_the_rule_gives_the_old_ones_features_to_the_bit(name: str) -> None:
    model = model_of(name)
    old, pixels = filled(name, model), pixels_of(BACKBONES[name])
    new = Traced(model, taken_apart(model, SIZE))
    with torch.inference_mode():
        assert torch.equal(pooled(old, old(pixels)), pooled(new, new(pixels)))


# ---- weights


@pytest.mark.parametrize("name", [name for name in ONE_EACH if name not in ("maxvit_t",)])
def test_a_models_own_state_dict_is_taken_whatever_its_classifiers_width(name: str, tmp_path: Path) -> None:
    model, backbone, said = model_of(name), get_backbone(name), list[str]()
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    last = [key for key in state if key.startswith(backbone.classifier)][-2:]
    other = {key: torch.zeros(7, *state[key].shape[1:]) for key in last}
    save_file({**state, **other}, tmp_path / "w.safetensors")
    located = weights.locate(backbone, str(tmp_path / "w.safetensors"))
    body, pixels = weights.load(backbone, located, said.append), pixels_of(backbone, 1)
    with torch.inference_mode():
        found, expected = pooled(body, body(pixels)), pooled(mine := filled(name, model), mine(pixels))
    assert torch.equal(found, expected)
    assert said == []


@pytest.mark.parametrize("name", ["convnext_tiny", "vit_b_32", "efficientnet_b1", "regnet_y_16gf", "vit_h_14"])
def test_published_weights_are_those_of_torchvisions_enums(name: str) -> None:
    enum, ours = torchvision.models.get_model_weights(name), get_backbone(name).checkpoints
    fitting = [one for one in enum if MODELS[name].sizes.only in (None, one.transforms().crop_size[0])]
    assert {label: file.url for label, file in ours.items()} == {one.name: one.url for one in fitting}
    assert all(file.name.endswith(f"-{file.sha256}.pth") and len(file.sha256) == 8 for file in ours.values())
    assert enum.DEFAULT not in fitting or list(ours)[-1] == enum.DEFAULT.name
    assert all(file.top1 is None or not math.isnan(file.top1) for file in ours.values())


def test_a_preset_is_that_of_its_weights() -> None:
    found = preset("efficientnet_b1", "IMAGENET1K_V1")
    assert (found.resize, found.crop, found.interpolation) == (256, 240, "bicubic")
    assert preset("efficientnet_b1", "IMAGENET1K_V2").interpolation == "bilinear"
    assert preset("inception_v3", "random:0") == preset("inception_v3", "IMAGENET1K_V1")
    assert preset("inception_v3", "file").crop == 299


# ---- how they run


@pytest.mark.parametrize("name", ["convnext_tiny", "mobilenet_v3_small", "shufflenet_v2_x0_5", "vit_b_32"])
def test_the_extraction_gives_plain_forwards_features(name: str) -> None:
    backbone = get_backbone(name)
    body, images = filled(name, model_of(name)), noise(4, 40)
    ours = build(body, Preprocessing(size_of(backbone)), FP32, 2)
    with torch.inference_mode():
        expected = [pooled(body, body(ours.preprocess(ours.to_device(images[i : i + 2])))) for i in (0, 2)]
    found = [pending.result() for pending in [ours.submit(images[:2]), ours.submit(images[2:])]]
    assert np.array_equal(np.concatenate(found), torch.cat(expected).numpy())
    assert np.array_equal(ours(images), torch.cat(expected).numpy())
    ours.check_frozen()


@pytest.mark.parametrize("name", ["convnext_tiny", "efficientnet_b0", "maxvit_t", "swin_v2_t", "vit_b_32"])
def test_low_precision_runs_and_points_the_same_way(name: str) -> None:
    backbone = get_backbone(name)
    model, images = model_of(name), noise(2, 40)
    low = dataclasses.replace(FP32, precision="bf16")
    exact, rounded = (
        build(filled(name, model), Preprocessing(size_of(backbone)), device, 2)(images) for device in (FP32, low)
    )
    cosines = (exact * rounded).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rounded, axis=1)
    assert cosines.min() > 0.97  # random weights round worse than trained ones


def test_a_copy_is_a_network_of_its_own() -> None:
    body = filled("convnext_tiny", model_of("convnext_tiny"))
    other, pixels = copy.deepcopy(body), torch.randn(1, 3, 64, 64)
    before = body(pixels)
    next(iter(other.parameters())).zero_()
    assert torch.equal(body(pixels), before)
    assert not torch.equal(other(pixels), before)


@pytest.mark.parametrize("name", ONE_EACH)
def test_a_summary_accounts_for_every_parameter_and_operation(name: str) -> None:
    backbone = get_backbone(name)
    found = summarise(backbone, size_of(backbone))
    assert sum(layer.parameters for layer in found.layers) == found.parameters > 0
    assert sum(layer.flops for layer in found.layers) == found.flops > 0
