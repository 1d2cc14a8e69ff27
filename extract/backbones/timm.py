"""timm's models as `timm/NAME` or `timm/NAME.TAG`: timm's own pooling, transform and published weights.

The tag says which published weights are meant, and with them the transform and the licence; without one it is timm's
default. A backbone's name, as keys have it, is `timm/NAME`: the source is part of it, since timm's networks differ from
others of that name, and the tag is the name of the weights. timm is imported where a name begins with `timm/`, not before.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headstart.core.cache.errors import WeightsMismatch
from headstart.core.cache.text import did_you_mean, listed
from headstart.core.extract.backbones import OWN_HEAD, Backbone, HubFile, Preset, Sizes, Sketch, WeightFile

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.core.extract.architectures.timm_models import Shape, TimmBody

PREFIX = "timm/"
INSTALL = "pip install 'headstart[timm]'"
_HUB = "https://huggingface.co/"
_FILES = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")
"""Where the hub's repositories keep weights (timm 1.0.31, models/_hub.py), tensors alone before pickles."""


def names() -> Sequence[str]:
    """None of the short list: `known` has more than a thousand."""
    return []


def installed() -> bool:
    """Whether timm is there; it is not imported."""
    return importlib.util.find_spec("timm") is not None


def known() -> Sequence[str]:
    """Every model, with each of its tags; none where timm is not installed. Imports timm, which takes seconds."""
    return [f"{PREFIX}{name}" for name in _timm().list_models(include_tags=True)] if installed() else []


def find(name: str) -> Backbone | None:
    """The model called so. Raises WeightsMismatch where timm is not installed, or has no such model or tag."""
    if not name.startswith(PREFIX):
        return None
    if not installed():
        raise WeightsMismatch(f"model {name!r}: timm is not installed; {INSTALL}")
    architecture, _, tag = name.removeprefix(PREFIX).partition(".")
    _check(name, architecture, tag)
    return _backbone(architecture, tag or _default_tag(architecture))


def sketch(name: str) -> Sketch | None:
    """What timm's registry says of one of `known`."""
    if not name.startswith(PREFIX):
        return None
    architecture, _, tag = name.removeprefix(PREFIX).partition(".")
    config = _config(architecture, tag)
    _, height, width = config["input_size"]
    weights = (tag,) if _file(config) is not None else ()
    return Sketch(name, (width, height), _licence(config) if weights else "none", weights)


def _timm() -> Any:
    import timm

    return timm


def _check(name: str, architecture: str, tag: str) -> None:
    """Raise WeightsMismatch for a model or a tag that timm has not got."""
    there = _timm().list_models()
    if architecture not in there:
        from timm.models._registry import get_deprecated_models

        if now := get_deprecated_models().get(architecture):
            raise WeightsMismatch(f"model {name!r} is called {PREFIX}{now} in timm {_timm().__version__}")
        hint = did_you_mean(architecture, (f"{PREFIX}{one}" for one in there), without=PREFIX)
        many = f"`headstart models '{PREFIX}*'` lists all {len(there):,}"
        raise WeightsMismatch(f"model {name!r} is unknown to timm {_timm().__version__}{hint}; {many}")
    tags = list(_tags(architecture))
    if tag and tag not in tags:
        there = f"{did_you_mean(tag, tags)}; there are {listed(tags)}" if tags else ": it has none"
        raise WeightsMismatch(f"model {name!r}: timm's {architecture} has no tag {tag!r}{there}")


def _tags(architecture: str) -> list[str]:
    """The tags of an architecture, timm's default first."""
    from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg

    default = get_pretrained_cfg(architecture)
    tags = [name.partition(".")[2] for name in get_arch_pretrained_cfgs(architecture)]
    first = default.tag if default is not None and default.tag else ""
    return sorted((tag for tag in tags if tag), key=lambda tag: tag != first)


def _default_tag(architecture: str) -> str:
    return next(iter(_tags(architecture)), "")


def _config(architecture: str, tag: str) -> dict[str, Any]:
    """What timm's registry says of a model's weights, with all its defaults."""
    from timm.models import get_pretrained_cfg

    found = get_pretrained_cfg(f"{architecture}.{tag}" if tag else architecture)
    return dict(vars(found)) if found is not None else {"input_size": (3, 224, 224), "classifier": None}


def _licence(config: Mapping[str, Any]) -> str:
    return str(config.get("license") or "unknown")


def _file(config: Mapping[str, Any]) -> WeightFile | None:
    """Where the weights are: on the hub, else at an address whose file name may have digits of its SHA-256."""
    licence, url = _licence(config), config.get("url")
    if repository := config.get("hf_hub_id"):
        repository, _, revision = str(repository).partition("@")
        files = (config["hf_hub_filename"],) if config.get("hf_hub_filename") else _FILES
        return HubFile(f"{_HUB}{repository}", "", licence=licence, repository=repository, files=files, revision=revision)
    if not url:
        return None
    digits = re.search(r"-([0-9a-f]{8,64})\.", str(url).rpartition("/")[2])
    return WeightFile(str(url), digits[1] if digits else "", licence=licence)


def _preset(config: Mapping[str, Any]) -> Preset | None:
    """timm's own transform for evaluation, by value; None where a picture must not be a square."""
    from timm.data import resolve_data_config

    found = resolve_data_config(pretrained_cfg=dict(config))
    _, height, width = found["input_size"]
    if height != width:
        return None
    mean, std, mode, share = tuple(found["mean"]), tuple(found["std"]), found["crop_mode"], found["crop_pct"]
    resize = math.floor(height / share)  # timm 1.0.31, data/transforms_factory.py
    return Preset(resize, height, found["interpolation"], mean, std, mode, share)


@functools.lru_cache(maxsize=64)
def _backbone(architecture: str, tag: str) -> Backbone:
    """The model, described by running it once on torch's meta device, where nothing is computed."""
    tags = dict.fromkeys([*(one for one in _tags(architecture) if one != tag), tag])  # the one that is meant last
    configs = {one: _config(architecture, one) for one in tags}
    files = {one: file for one, config in configs.items() if (file := _file(config)) is not None}
    name, config = f"{PREFIX}{architecture}", configs[tag]
    shape, sizes = _measured(architecture, tag)
    presets = {one: _preset(config) for one, config in configs.items()}
    return Backbone(
        name,
        shape.feature_dim,
        functools.partial(body, architecture, tag),
        tuple(f"{one}." for one in _classifiers(config)),
        files,
        pooling=OWN_HEAD,
        sizes=sizes,
        preset=functools.partial(_of_label, presets, tag),
        convert=functools.partial(convert, architecture, tag),
        default=tag if tag in files else None,
        packages=("torch", "timm"),
    )


def _of_label(presets: Mapping[str, Preset | None], tag: str, label: str) -> Preset | None:
    """The transform of weights by their name, of a file and of random ones that of the tag."""
    return presets.get(label, presets[tag])


def _classifiers(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the last linear layers."""
    found = config.get("classifier") or ()
    return (found,) if isinstance(found, str) else tuple(found)


# ---- networks


def _model(architecture: str, tag: str, **more: Any) -> Any:
    """The whole model with random numbers, where torch's default device is."""
    name = f"{architecture}.{tag}" if tag else architecture
    return _timm().create_model(name, **_any_size(architecture, tag), **more).eval()


def options(architecture: str) -> Mapping[str, Any]:
    """The arguments, beside its name, that the model is built with; timm's own defaults for all others."""
    return _any_size(architecture, _default_tag(architecture))


def body(architecture: str, tag: str) -> TimmBody:
    """The model without its classifier, as an `extract.network.body.Body`."""
    from headstart.core.extract.architectures.timm_models import TimmBody, without_classifier

    shape, _ = _measured(architecture, tag)
    return TimmBody(without_classifier(_model(architecture, tag), _classifiers(_config(architecture, tag))), shape)


@functools.lru_cache(maxsize=64)
def _any_size(architecture: str, tag: str) -> Mapping[str, Any]:
    """The argument with which a model that has one size takes others too: position embeddings are then resampled in
    `forward`, as timm does it when it loads weights for another size. Nothing for a model that has no such argument."""
    import inspect

    import torch

    if not _config(architecture, tag).get("fixed_input_size"):
        return {}
    with torch.device("meta"):
        model = _timm().create_model(f"{architecture}.{tag}" if tag else architecture)
    makers = [vars(kind)["__init__"] for kind in type(model).__mro__ if "__init__" in vars(kind) and kind is not object]
    taken = {name for maker in makers for name in inspect.signature(maker).parameters}
    return {"dynamic_img_size": True} if "dynamic_img_size" in taken else {}


@functools.lru_cache(maxsize=64)
def _measured(architecture: str, tag: str) -> tuple[Shape, Sizes]:
    """What the model gives, and which sizes of pictures it takes. Raises WeightsMismatch for one that gives no features."""
    import torch

    from headstart.core.extract.architectures.timm_models import shape_of

    config = _config(architecture, tag)
    with torch.device("meta"):
        model = _model(architecture, tag)
    _, height, width = config["input_size"]
    if height != width:
        raise WeightsMismatch(
            f"model {PREFIX}{architecture} takes pictures of {width}x{height} px, and ours are squares; choose another"
        )
    try:
        shape = shape_of(model, height)
    # torch.nn.Module raises it for a class without a forward, as some of timm's encoders are
    except NotImplementedError as error:
        raise WeightsMismatch(f"model {PREFIX}{architecture} gives no features ({error}); choose another") from error
    least = config.get("min_input_size") or (3, 32, 32)
    if not config.get("fixed_input_size") and not hasattr(model, "patch_embed"):
        return shape, Sizes(least=least[1])
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None) or 32
    patch = patch if isinstance(patch, int) else patch[0]
    step = next((step for step in dict.fromkeys((1, patch, 32)) if _takes(model, height + step)), None)
    return shape, Sizes(only=height) if step is None else Sizes(max(step, 32 // step * step), step)


def _takes(model: Any, size: int) -> bool:
    """Whether a model on the meta device takes pictures of that size."""
    from headstart.core.extract.architectures.timm_models import shape_of

    try:
        shape_of(model, size)
    except (RuntimeError, AssertionError, ValueError):  # shapes that don't fit, and timm's own checks
        return False
    return True


def convert(architecture: str, tag: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A file of the model's authors, whose names are others, under timm's names: by timm's own rules for that model.

    timm lets some models begin from files that lack a part, which is drawn then; so all is done twice, from different
    random numbers, and what differs was not in the file. Raises WeightsMismatch where the file is none of that model.
    """
    first, second = (_converted(architecture, tag, tensors, seed) for seed in (0, 1))
    if lacking := [name for name, value in first.items() if not _equal(value, second[name])]:
        raise WeightsMismatch(f"lacks {listed(lacking)} of {PREFIX}{architecture}")
    return first


def _converted(architecture: str, tag: str, tensors: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            given = {"state_dict": dict(tensors)}
            found = _model(architecture, tag, pretrained=True, pretrained_cfg_overlay=given)
        except (RuntimeError, KeyError, ValueError, AttributeError, TypeError, IndexError, AssertionError) as error:
            raise WeightsMismatch(f"timm can't read it as {PREFIX}{architecture}") from error
    state: dict[str, Tensor] = found.state_dict()
    return state


def _equal(one: Tensor, other: Tensor) -> bool:
    import torch

    return torch.equal(one, other)
