"""A model's file used without headstart: the program for one model, as short as that model allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.core.cache.errors import WeightsMismatch
from headstart.core.extract.architectures.torchvision_models import MODELS
from headstart.core.extract.backbones import get_backbone

if TYPE_CHECKING:
    from headstart.core.cache.key import FeatureKey
    from headstart.core.heads.checkpoint import Checkpoint
    from headstart.core.heads.kinds.base import Head

_AVERAGED = ("alexnet", "vgg", "squeezenet")
"""Networks whose features are the average of the last map of `features`."""
_OTHERS = ("googlenet", "inception", "mnasnet")
"""Networks that torchvision builds with further classifiers, or whose tensors need a version beside them to be loaded."""
_TIMM = "timm/"


def tensors(checkpoint: Checkpoint, file: str) -> str | None:
    """A program that prints the calibrated probabilities of a picture by the safetensors file called `file`; None for a
    backbone, a pooling or a transform that takes more than a few lines."""
    backbone, transform = _backbone(checkpoint.key), _transform(checkpoint.key)
    if backbone is None or transform is None:
        return None
    imported = "timm" if checkpoint.key.backbone.startswith(_TIMM) else "torchvision"
    return _PROGRAM.format(
        imported=f"{imported}\nfrom torchvision import transforms",
        file=_literal(file),
        backbone=backbone[0],
        features=backbone[1],
        transform=transform,
        picture=_PICTURE,
        head=_head(checkpoint.head),
    )


_PICTURE = """\
picture = ImageOps.exif_transpose(Image.open(sys.argv[1]))
if picture.has_transparency_data:  # what is transparent lies on white
    picture = picture.convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
picture = picture.convert("RGB")
"""
"""A picture as `predict` decodes it, but for grey of more than 8 bits."""

_PROGRAM = """\
import json
import sys

import torch
import {imported}
from PIL import Image, ImageOps
from safetensors import safe_open

with safe_open({file}, "pt") as file:
    facts = json.loads(file.metadata()["headstart"])
    tensors = {{name: file.get_tensor(name) for name in file.keys()}}
{backbone}
network.load_state_dict({{name: value for name, value in tensors.items() if not name.startswith("headstart.")}})
network.eval()
prefix = "headstart.head."
head = {{name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}}
shown = facts["transform"]
{transform}
{picture}with torch.inference_mode():
    pixels = transform(picture)[None]
    x = ({features} - head["mean"]) / head["std"]
{head}
    shares = (scores / facts["temperature"]).softmax(1)[0]
for share, name in sorted(zip(shares.tolist(), facts["classes"]), reverse=True)[:5]:
    print(f"{{share:.6f}} {{name}}")
"""


def onnx(file: str) -> str:
    """A program that does the same by the ONNX file called `file`, which takes pictures of any size."""
    return _ONNX.format(file=_literal(file), picture=_PICTURE)


_ONNX = """\
import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession({file})
facts = session.get_modelmeta().custom_metadata_map
assert facts["input"] == "pixels"  # else the picture must be resized first, as facts["transform"] says
{picture}(shares,) = session.run(None, {{"images": np.asarray(picture)[None]}})[0]
for share, name in sorted(zip(shares.tolist(), json.loads(facts["classes"])), reverse=True)[:5]:
    print(f"{{share:.6f}} {{name}}")
"""


def _literal(text: str) -> str:
    """A text as Python writes it, in double quotes where it has none itself."""
    found = ascii(text)
    return found if '"' in found else f'"{found[1:-1]}"'


def _backbone(key: FeatureKey) -> tuple[str, str] | None:
    """How the network is built, and the expression that gives features (1, D) of `pixels`."""
    try:
        own = get_backbone(key.backbone)
    except WeightsMismatch:  # timm is not here, or this version has no such model
        return None
    if key.pooling != own.pooling or key.layer is not None:
        return None
    if key.backbone.startswith(_TIMM):
        name = key.backbone.removeprefix(_TIMM)
        build = f'network = timm.create_model("{name}", num_classes=0{_any_size(name)})'
        return build, "network.forward_head(network.forward_features(pixels), pre_logits=True)"
    if key.backbone.startswith(_OTHERS):
        return None
    build = f'network = torchvision.models.get_model("{key.backbone}", weights=None)'
    if key.backbone.startswith(_AVERAGED):
        return f"{build}\nnetwork.classifier = torch.nn.Sequential()", "network.features(pixels).mean((2, 3))"
    parts = [prefix.removesuffix(".") for prefix in MODELS[key.backbone].classifier]
    cut = "".join(f'\nnetwork.set_submodule("{part}", torch.nn.Identity())' for part in parts)
    return f"{build}{cut}", "network(pixels)"


def _any_size(name: str) -> str:
    from headstart.core.extract.backbones.timm import options

    return "".join(f", {word}={value!r}" for word, value in options(name).items())


def _transform(key: FeatureKey) -> str | None:
    if key.crop == "border":
        return None
    size = '(shown["resize"], shown["resize"])' if key.crop == "squash" else 'shown["resize"]'
    return f"""\
transform = transforms.Compose(
    [
        transforms.Resize({size}, transforms.InterpolationMode(shown["interpolation"])),
        transforms.CenterCrop(shown["image_size"]),
        transforms.ToTensor(),
        transforms.Normalize(shown["mean"], shown["std"]),
    ]
)"""


def _head(head: Head) -> str:
    """From standardised features `x` (1, D) to `scores` (1, C)."""
    found = _SCORES.get(head.kind, ["scores = torch.nn.functional.linear(x, head['out.weight'], head['out.bias'])"])
    found = [line.replace("'", '"') for line in found]
    found += ["scores = scores.sigmoid()"] if head.config.sigmoid and head.config.trained_by_gradient else []
    found += ['scores[:, facts["head"]["absent"]] = -torch.inf'] if head.absent else []
    return "\n".join(f"    {line}" for line in found)


_SCORES = {
    "mlp": [
        "hidden = torch.nn.functional.linear(x, head['hidden.weight'], head['hidden.bias']).relu()",
        "scores = torch.nn.functional.linear(hidden, head['out.weight'], head['out.bias'])",
    ],
    "prototype": ["scores = torch.nn.functional.normalize(x) @ head['means'].T / 0.07"],
    "knn": [
        "near = torch.nn.functional.normalize(x) @ head['known'].T",
        "near, rows = near.topk(min(facts['head']['config']['neighbours'] or 20, near.shape[1]))",
        "votes = ((near - near[:, :1]) / 0.07).exp()",
        "votes = torch.zeros(1, len(facts['classes'])).scatter_add_(1, head['labels'][rows], votes)",
        "scores = (votes / votes.sum()).clamp_min(2.718281828459045**-30).log()",
    ],
}
"""What heads do that are not one linear layer, by their kind."""
