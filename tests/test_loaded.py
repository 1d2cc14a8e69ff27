"""The network used last is taken again where it is the very same, and never where anything about it differs."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.interface import EngineConfig
from headstart.core.extract.network.loaded import Networks, NetworkSpec
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.weights import Weights

CPU = Device("cpu", "fp32", "this CPU")
LABELS = Weights("random:0", "0" * 64, "drawn")


@dataclasses.dataclass
class Loader:
    """Gives a small body, and counts how often."""

    count: int = 0

    def __call__(self) -> nn.Module:
        self.count += 1
        return nn.Sequential(nn.Conv2d(3, 4, 3))


SPEC = NetworkSpec(get_backbone("resnet18"), LABELS, Preprocessing(32), CPU)


def test_the_same_network_is_loaded_once_and_keeps_what_was_learnt_of_it() -> None:
    networks, load = Networks(), Loader()
    first = networks.get(SPEC, None, load)
    first.tuning.rates[EngineConfig("eager", 8)] = 5.0
    second = networks.get(dataclasses.replace(SPEC, weights=dataclasses.replace(LABELS, origin="elsewhere")), None, load)
    assert (load.count, second.body is first.body, second.tuning is first.tuning) == (1, True, True)


def test_it_runs_eagerly_in_the_batches_asked_for_else_in_the_usual_ones() -> None:
    networks, load = Networks(), Loader()
    sizes = [networks.get(SPEC, size, load).batch_size for size in (5, None, 3)]
    assert (sizes, load.count) == ([5, CPU.batch_size(None), 3], 1)


CHANGES: dict[str, Callable[[NetworkSpec], NetworkSpec]] = {
    "backbone": lambda spec: dataclasses.replace(spec, backbone=get_backbone("resnet50")),
    "weights' bytes": lambda spec: dataclasses.replace(spec, weights=dataclasses.replace(LABELS, sha256="1" * 64)),
    "weights' label": lambda spec: dataclasses.replace(spec, weights=dataclasses.replace(LABELS, label="random:1")),
    "image size": lambda spec: dataclasses.replace(spec, preprocessing=Preprocessing(64)),
    "precision": lambda spec: dataclasses.replace(spec, device=dataclasses.replace(CPU, precision="bf16")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_network_is_loaded_and_the_one_before_is_let_go(change: str) -> None:
    networks, load = Networks(), Loader()
    first = networks.get(SPEC, None, load)
    second = networks.get(CHANGES[change](SPEC), None, load)
    assert (load.count, second.body is first.body) == (2, False)
    assert networks.get(SPEC, None, load).body is not first.body
    assert load.count == 3


def test_a_network_that_somebody_changed_is_loaded_anew() -> None:
    networks, load = Networks(), Loader()
    first = networks.get(SPEC, None, load)
    with torch.no_grad():
        next(first.body.parameters()).add_(1)
    second = networks.get(SPEC, None, load)
    assert (load.count, second.body is first.body) == (2, False)
    first.body.train()
    second.body.train()
    assert networks.get(SPEC, None, load).body is not second.body


def test_what_must_be_said_of_a_device_is_said_of_this_choice_of_it() -> None:
    networks, load = Networks(), Loader()
    said = [dataclasses.replace(CPU, notes=notes) for notes in (("one of 2 GPUs",), (), ("in fp32",))]
    found = [networks.get(dataclasses.replace(SPEC, device=device), None, load).device.notes for device in said]
    assert (found, load.count) == ([device.notes for device in said], 1)


def test_a_loader_that_fails_leaves_none() -> None:
    networks, load = Networks(), Loader()

    def fail() -> nn.Module:
        raise OSError("no weights in this test")

    networks.get(SPEC, None, load)
    with pytest.raises(OSError, match="no weights in this test"):
        networks.get(dataclasses.replace(SPEC, backbone=get_backbone("resnet50")), None, fail)
    assert networks.get(SPEC, None, load).batch_size == CPU.batch_size(None)
    assert load.count == 2


def test_threads_that_ask_at_once_load_it_once() -> None:
    networks, load, found = Networks(), Loader(), list[nn.Module]()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: found.append(networks.get(SPEC, None, load).body), range(8)))
    assert (load.count, len(found), len({id(body) for body in found})) == (1, 8, 1)
