"""The backbones' dimensions, names and checkpoints agree with torchvision's; on torch's meta device nothing is computed."""

import re

import pytest
import torch
import torchvision
from extract_samples import printed_by_python
from headstart.core.cache.errors import WeightsMismatch
from headstart.core.extract.backbones import BACKBONES, SHA256, get_backbone
from headstart.core.extract.weights import BASE_URL
from torch import nn

DIMENSIONS = {"vgg16": 512, "vgg19": 512, "resnet18": 512, "resnet50": 2048, "resnet152": 2048, "densenet169": 1664}


def meta_body(name: str) -> nn.Module:
    with torch.device("meta"):
        return get_backbone(name).body()


def test_every_backbone_is_tested_here() -> None:
    assert set(DIMENSIONS) == set(BACKBONES)


@pytest.mark.parametrize(("name", "dimension"), DIMENSIONS.items())
def test_pooled_features_have_the_published_dimension(name: str, dimension: int) -> None:
    with torch.device("meta"):
        feature_map = get_backbone(name).body()(torch.empty(2, 3, 64, 64))
        features = nn.functional.adaptive_avg_pool2d(feature_map, 1).flatten(1)
    assert features.shape == (2, dimension)
    assert get_backbone(name).feature_dim == dimension


@pytest.mark.parametrize("name", BACKBONES)
def test_the_feature_map_is_a_32nd_of_the_picture(name: str) -> None:
    with torch.device("meta"):
        assert get_backbone(name).body()(torch.empty(1, 3, 224, 224)).shape[2:] == (7, 7)


@pytest.mark.parametrize("name", BACKBONES)
def test_only_the_classifiers_parameters_are_left_out(name: str) -> None:
    with torch.device("meta"):
        whole = getattr(torchvision.models, name)(weights=None).state_dict()
    body, classifier = meta_body(name).state_dict(), get_backbone(name).classifier
    assert {key: value.shape for key, value in body.items()} == {
        key: value.shape for key, value in whole.items() if not key.startswith(classifier)
    }


@pytest.mark.parametrize("name", BACKBONES)
def test_checkpoints_are_those_of_torchvisions_enums(name: str) -> None:
    published = torchvision.models.get_model_weights(name)
    urls = {weights.name: weights.url for weights in published}
    ours = {label: BASE_URL + file for label, file in get_backbone(name).checkpoints.items()}
    assert ours.items() <= urls.items()
    assert {label for label in urls if label.startswith("IMAGENET1K_V")} == set(ours)
    assert list(ours)[-1] == published.DEFAULT.name


@pytest.mark.parametrize(("file", "digest"), SHA256.items())
def test_a_whole_digest_begins_with_the_digits_in_its_files_name(file: str, digest: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", digest)
    assert file.endswith(f"-{digest[:8]}.pth")
    assert file in {file for backbone in BACKBONES.values() for file in backbone.checkpoints.values()}


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        WeightsMismatch,
        match=r"model 'resnet51' is unknown \(did you mean resnet.*\?\); there are vgg16, vgg19, resnet18, resnet50, ",
    ):
        get_backbone("resnet51")


def test_naming_backbones_and_their_weights_imports_no_torch() -> None:
    code = "import sys, extract.backbones, extract.config, extract.images, extract.weights; print('torch' in sys.modules)"
    assert printed_by_python(code) == "False\n"


def test_a_models_name_in_capital_letters_is_answered_with_the_model() -> None:
    with pytest.raises(WeightsMismatch, match=r"model 'ResNet18' is unknown \(did you mean resnet18 or"):
        get_backbone("ResNet18")
