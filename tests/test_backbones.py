"""The backbones by name, whatever source they are of; an unknown name is answered with the known ones."""

import pytest
from extract_samples import printed_by_python

from headstart.core.cache.errors import WeightsMismatch
from headstart.core.extract.backbones import get_backbone, names


def test_every_listed_backbone_is_found_under_its_own_name() -> None:
    assert [get_backbone(name).name for name in names()] == names()


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        WeightsMismatch,
        match=r"model 'resnet51' is unknown \(did you mean resnet.*\?\); there are vgg16, vgg19, resnet18, resnet50, ",
    ):
        get_backbone("resnet51")


def test_a_models_name_in_capital_letters_is_answered_with_the_model() -> None:
    with pytest.raises(WeightsMismatch, match=r"model 'ResNet18' is unknown \(did you mean resnet18 or"):
        get_backbone("ResNet18")


def test_naming_backbones_and_their_weights_imports_no_torch() -> None:
    code = (
        "import sys; from headstart.core.extract import backbones, config, weights; backbones.names(); "
        "print('torch' in sys.modules, 'torchvision' in sys.modules)"
    )
    assert printed_by_python(code) == "False False\n"
