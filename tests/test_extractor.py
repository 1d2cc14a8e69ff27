"""Pooled features are torchvision's own, whatever the batch, and the backbone stays as it was."""

import dataclasses
import functools
from pathlib import Path

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchvision
from extract_samples import noise
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

from headstart.core.cache.errors import FeaturesInvalid, OutOfMemory
from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.datasets.cifar10 import open_split
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.extractor import FeatureExtractor, build, state_digest
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.weights import load, locate

FP32, BF16 = Device("cpu", "fp32", "this CPU"), Device("cpu", "bf16", "this CPU")
TRAINED = {
    "resnet18": "resnet18-pqf.safetensors",
    "resnet50": "resnet50-pqf.safetensors",
    "densenet169": "densenet169-features.safetensors",
}
Features = npt.NDArray[np.float32]


def untrained(name: str, seed: int = 0) -> nn.Module:
    """torchvision's own model that ends in its pooling, in eval(), with every parameter and statistic drawn from a seed."""
    with torch.device("meta"):
        model = getattr(torchvision.models, name)(weights=None)
    if hasattr(model, "fc"):
        model.fc = nn.Identity()
    else:
        model.classifier = nn.Identity()
    if name.startswith("vgg"):
        model.avgpool = nn.AdaptiveAvgPool2d(1)
    model.to_empty(device="cpu").requires_grad_(False)
    draw(model, torch.Generator().manual_seed(seed))
    return model.eval()


def draw(model: nn.Module, generator: torch.Generator) -> None:
    """Convolutions that keep the signal's size, and BatchNorm layers that do something: no two channels alike."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.normal_(0, (2 / module.weight[0].numel()) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.normal_(0, 0.1, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked.zero_()
            for values in (module.weight, module.running_var):
                values.uniform_(0.5, 1.5, generator=generator)
            for values in (module.bias, module.running_mean):
                values.normal_(0, 0.2, generator=generator)


def body_of(model: nn.Module, name: str) -> nn.Module:
    """Our body with copies of a torchvision model's parameters."""
    with torch.device("meta"):
        body = get_backbone(name).body()
    body.load_state_dict({key: value.clone() for key, value in model.state_dict().items()}, assign=True)
    return body


def trained(name: str, folder: Path) -> nn.Module:
    """Our body with the weights that are really trained."""
    backbone = get_backbone(name)
    return load(backbone, locate(backbone, str(folder / "weights" / TRAINED[name])))


@functools.cache
def extractor(device: Device = FP32, batch_size: int = 4) -> FeatureExtractor:
    """An untrained ResNet18 for pictures of 32 px."""
    return build(body_of(untrained("resnet18"), "resnet18"), Preprocessing(32), device, batch_size)


def torchvisions(model: nn.Module, images: npt.NDArray[np.uint8], size: int) -> Features:
    """Features (N, D) by PIL's resize, ToTensor, Normalize and the model itself, picture by picture."""
    steps = [
        transforms.Resize((size, size)),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
    with torch.inference_mode():
        rows = [model(transforms.Compose(steps)(Image.fromarray(image)).unsqueeze(0)) for image in images]
    found: Features = torch.cat(rows).numpy()
    return found


def worst(found: Features, expected: Features) -> float:
    """The largest difference, relative to the largest feature."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype == np.float32
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def least_cosine(found: Features, expected: Features) -> float:
    products = (found * expected).sum(axis=1)
    return float((products / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)).min())


# ---- parity with torchvision


@pytest.mark.parametrize("name", ["vgg16", "vgg19", "resnet18", "resnet50", "resnet152", "densenet169"])
def test_features_are_torchvisions_own(name: str) -> None:
    model, images = untrained(name), noise(2, 32)
    ours = build(body_of(model, name), Preprocessing(64), FP32, 2)
    assert worst(ours(images), torchvisions(model, images, 64)) <= 1e-4


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_features_of_real_images_with_trained_weights_are_torchvisions_own(name: str, shared: Path) -> None:
    model = untrained(name)
    model.load_state_dict(trained(name, shared).state_dict())
    images = real_images(shared, 4)
    ours = build(trained(name, shared), Preprocessing(224), FP32, 4)
    assert worst(ours(images), torchvisions(model, images, 224)) <= 1e-4


def real_images(folder: Path, rows: int) -> npt.NDArray[np.uint8]:
    return open_split("", "train", folder).read(0, rows, Preprocessing(224), 1).pixels


@pytest.mark.parametrize("name", TRAINED)
def test_bf16_features_point_where_fp32_features_do(name: str, shared: Path) -> None:
    images = real_images(shared, 4)
    exact, low = (build(trained(name, shared), Preprocessing(224), device, 4)(images) for device in (FP32, BF16))
    assert low.dtype == np.float32
    assert least_cosine(low, exact) >= 0.998


# ---- batches


@hypothesis.given(rows=st.integers(1, 9), batch_size=st.integers(1, 6))
@hypothesis.settings(max_examples=15)
def test_rows_do_not_depend_on_the_batch_size(rows: int, batch_size: int) -> None:
    images = noise(rows, 32)
    found = dataclasses.replace(extractor(), batch_size=batch_size)(images)
    assert worst(found, extractor()(images)) <= 1e-5


@pytest.mark.parametrize("device", [FP32, BF16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("position", [0, 3])
def test_a_row_does_not_depend_on_what_else_is_in_the_batch(device: Device, position: int) -> None:
    some, others = noise(4, 32, seed=1), noise(4, 32, seed=2)
    others[position] = some[position]
    assert np.array_equal(extractor(device)(some)[position], extractor(device)(others)[position])


@pytest.mark.parametrize("rows", [1, 3, 5, 6])
def test_rows_of_a_short_batch_are_bit_for_bit_those_of_a_full_one(rows: int) -> None:
    images = noise(8, 32)
    assert np.array_equal(extractor()(images[:rows]), extractor()(images)[:rows])


def test_a_short_batch_is_padded_to_one_shape_and_its_padding_cut_off() -> None:
    shapes: list[torch.Size] = []

    class Recorder(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            shapes.append(pixels.shape)
            return pixels

    recorder = dataclasses.replace(extractor(), network=Recorder())
    assert [len(recorder(noise(rows, 32))) for rows in (1, 4, 7)] == [1, 4, 7]
    assert set(shapes) == {(4, 3, 32, 32)}


def test_pooling_averages_over_the_picture() -> None:
    found = dataclasses.replace(extractor(), network=nn.Identity()).pool(torch.arange(24.0).reshape(2, 3, 2, 2))
    assert found.tolist() == [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]


def test_the_stages_one_by_one_give_what_the_call_gives() -> None:
    images, ours = noise(4, 32), extractor()
    with torch.inference_mode():
        found = ours.pool(ours.preprocess(ours.to_device(images))).numpy()
    assert np.array_equal(found, ours(images))


@pytest.mark.parametrize(("precision", "last"), [("fp32", False), ("tf32", True), ("bf16", True)])
def test_channels_lie_last_but_in_fp32(precision: str, last: bool) -> None:
    ours = build(body_of(untrained("resnet18"), "resnet18"), Preprocessing(32), Device("cpu", precision, "this CPU"), 2)
    with torch.inference_mode():
        pixels = ours.preprocess(ours.to_device(noise(2, 40)))
    for tensor in (pixels, ours.body.conv1.weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def test_the_pictures_given_are_not_written_to() -> None:
    images = noise(5, 32)
    before = images.copy()
    extractor()(images)
    assert np.array_equal(images, before)


def test_pictures_that_are_read_only_are_taken_without_a_warning() -> None:
    images = noise(4, 32)
    images.flags.writeable = False  # as np.asarray of a PIL picture, a memory map or an HDF5 buffer gives them
    assert extractor()(images).shape == (4, 512)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.0 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
        RuntimeError("could not create a memory object"),
        RuntimeError("std::bad_alloc"),
        MemoryError("Unable to allocate 9 bytes"),
    ],
    ids=str,
)
def test_memory_running_out_names_a_smaller_batch(error: Exception) -> None:
    class Greedy(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            raise error

    greedy = dataclasses.replace(extractor(), network=Greedy(), batch_size=8)
    with pytest.raises(OutOfMemory, match="cpu: out of memory with 8 images at once; use --batch-size 4"):
        greedy(noise(1, 32))


def test_another_error_is_not_taken_for_memory() -> None:
    class Broken(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        dataclasses.replace(extractor(), network=Broken())(noise(1, 32))


# ---- the backbone stays as it was


def test_running_leaves_every_parameter_and_buffer_as_it_was() -> None:
    ours = build(body_of(untrained("resnet18"), "resnet18"), Preprocessing(32), FP32, 4)
    assert state_digest(ours.body) == ours.parameters
    ours(noise(5, 32))
    assert state_digest(ours.body) == ours.parameters


@pytest.mark.parametrize("device", [FP32, BF16], ids=["fp32", "bf16"])
def test_a_module_left_in_training_mode_is_noticed_after_a_run(device: Device) -> None:
    ours = build(body_of(untrained("densenet169"), "densenet169"), Preprocessing(32), device, 4)
    ours(noise(4, 32))
    ours.check_frozen()
    norm = next(module for module in ours.body.modules() if isinstance(module, nn.BatchNorm2d))
    norm.train()
    with pytest.raises(FeaturesInvalid, match=r"features\.\S*norm\S* is in training mode; run it again"):
        ours.check_frozen()
    ours(noise(4, 32))
    norm.eval()
    with pytest.raises(FeaturesInvalid, match="its parameters or buffers changed; run it again"):
        ours.check_frozen()


@pytest.mark.parametrize("device", [FP32, BF16], ids=["fp32", "bf16"])
def test_the_recorded_parameters_are_those_before_folding_and_casting(device: Device) -> None:
    body = body_of(untrained("resnet18"), "resnet18")
    expected = state_digest(body)
    assert build(body, Preprocessing(32), device, 4).parameters == expected


def test_the_digest_changes_with_any_value_and_name() -> None:
    model = untrained("resnet18")
    digests = {state_digest(model), state_digest(nn.Sequential(model))}
    model.bn1.running_var[0] += 1
    digests.add(state_digest(model))
    model.layer4[1].conv2.weight[0, 0, 0, 0] += 1
    assert len({*digests, state_digest(model)}) == 4


@pytest.mark.parametrize("name", ["resnet18", "densenet169"])
@pytest.mark.parametrize("device", [FP32, BF16], ids=["fp32", "bf16"])
def test_a_body_given_in_training_mode_is_frozen_throughout(name: str, device: Device) -> None:
    body = body_of(untrained(name), name).train().requires_grad_(True)
    ours = build(body, Preprocessing(32), device, 2)
    assert [key for key, module in ours.body.named_modules() if module.training] == []
    assert [key for key, value in ours.body.named_parameters() if value.requires_grad] == []


# ---- on a GPU


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["vgg16", "resnet50", "densenet169"])
def test_a_gpu_gives_torchvisions_features_too(cuda: Device, name: str) -> None:
    model, images = untrained(name), noise(3, 32)
    ours = build(body_of(model, name), Preprocessing(64), cuda, 4)
    assert worst(ours(images), torchvisions(model, images, 64)) <= 1e-4


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_a_gpus_low_precisions_point_where_fp32_features_do(cuda: Device, precision: str, shared: Path) -> None:
    images = real_images(shared, 16)
    devices = (cuda, dataclasses.replace(cuda, precision=precision))
    exact, low = (build(trained("resnet50", shared), Preprocessing(224), device, 16)(images) for device in devices)
    assert least_cosine(low, exact) >= 0.998


@pytest.mark.cuda
def test_on_a_gpu_a_row_does_not_depend_on_what_else_is_in_the_batch(cuda: Device) -> None:
    some, others = noise(4, 32, seed=1), noise(4, 32, seed=2)
    others[2] = some[2]
    assert np.array_equal(extractor(cuda)(some)[2], extractor(cuda)(others)[2])
