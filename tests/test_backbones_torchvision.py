"""The backbones' dimensions, names and checkpoints agree with torchvision's; on torch's meta device nothing is computed."""

import multiprocessing.reduction
import re

import pytest
import torch
import torchvision
from torch import nn

from headstart.core.extract.backbones import WeightFile
from headstart.core.extract.backbones.torchvision import BACKBONES, find, names

FILES = [file for backbone in BACKBONES.values() for file in backbone.checkpoints.values()]
DIMENSIONS = {"vgg16": 512, "vgg19": 512, "resnet18": 512, "resnet50": 2048, "resnet152": 2048, "densenet169": 1664}


def meta_body(name: str) -> nn.Module:
    with torch.device("meta"):
        return BACKBONES[name].body()


def test_every_backbone_is_tested_here() -> None:
    assert tuple(DIMENSIONS) == tuple(names())


@pytest.mark.parametrize(("name", "dimension"), DIMENSIONS.items())
def test_pooled_features_have_the_published_dimension(name: str, dimension: int) -> None:
    with torch.device("meta"):
        feature_map = BACKBONES[name].body()(torch.empty(2, 3, 64, 64))
        features = nn.functional.adaptive_avg_pool2d(feature_map, 1).flatten(1)
    assert features.shape == (2, dimension)
    assert BACKBONES[name].feature_dim == dimension


@pytest.mark.parametrize("name", names())
def test_the_feature_map_is_a_32nd_of_the_picture(name: str) -> None:
    with torch.device("meta"):
        assert BACKBONES[name].body()(torch.empty(1, 3, 224, 224)).shape[2:] == (7, 7)


@pytest.mark.parametrize("name", names())
def test_only_the_classifiers_parameters_are_left_out(name: str) -> None:
    with torch.device("meta"):
        whole = getattr(torchvision.models, name)(weights=None).state_dict()
    body, classifier = meta_body(name).state_dict(), BACKBONES[name].classifier
    assert {key: value.shape for key, value in body.items()} == {
        key: value.shape for key, value in whole.items() if not key.startswith(classifier)
    }


@pytest.mark.parametrize("name", names())
def test_weights_and_their_accuracies_are_those_of_torchvisions_enums(name: str) -> None:
    published = torchvision.models.get_model_weights(name)
    theirs = {
        weights.name: (weights.url, weights.meta["_metrics"]["ImageNet-1K"]["acc@1"])
        for weights in published
        if weights.name.startswith("IMAGENET1K_V")
    }
    ours = BACKBONES[name].checkpoints
    assert {label: (file.url, file.top1) for label, file in ours.items()} == theirs
    assert list(ours)[-1] == published.DEFAULT.name


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_digest_is_whole_or_the_digits_in_its_files_name(file: WeightFile) -> None:
    assert re.fullmatch(r"[0-9a-f]{8}([0-9a-f]{56})?", file.sha256)
    assert file.name.endswith(f"-{file.sha256[:8]}.pth")


def test_all_but_two_digests_are_whole() -> None:
    assert [file.name[:-13] for file in FILES if len(file.sha256) == 8] == ["resnet152", "densenet169"]


def test_a_name_that_is_not_in_the_table_is_not_torchvisions() -> None:
    assert find("resnet51") is None


def test_a_backbone_can_be_sent_to_another_process() -> None:
    sent = multiprocessing.reduction.ForkingPickler.dumps(BACKBONES["resnet18"])
    assert multiprocessing.reduction.ForkingPickler.loads(sent) == BACKBONES["resnet18"]
