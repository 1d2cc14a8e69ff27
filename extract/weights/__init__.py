"""A backbone's weights: found or downloaded, hashed on every load, read without pickle's powers, and checked by name.

torchvision's own loader checks a hash only while it downloads and unpickles whatever lies in its folder afterwards.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.core.cache.errors import WeightsMismatch, WeightsNotFound
from headstart.core.cache.files import sha256, sha256_file
from headstart.core.extract.backbones import Backbone, HubFile, WeightFile, get_backbone, names
from headstart.core.extract.config import Download, ExtractConfig
from headstart.core.extract.weights import hub
from headstart.core.extract.weights.files import read_tensors
from headstart.core.extract.weights.state_dicts import COUNTER, Chosen, choose, some
from headstart.core.extract.weights.unwrapping import Unwrapped, taken_off

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclasses.dataclass(frozen=True)
class Weights:
    """Which weights: `label` (an enum name, `random:SEED`, `file` or `file#MEMBER`) and SHA-256 go into the key, `origin`
    tells people, and finds the file again: its path is absolute.

    For a file the SHA-256 is that of its bytes, and `member` says which of several weights in it; random weights are named
    by the recipe that draws them, which depends on torch's and torchvision's versions.
    """

    label: str
    sha256: str
    origin: str
    path: Path | None = None
    seed: int | None = None
    member: str | None = None


WAYS_OUT = (
    "three ways out: put the file there by hand; give a local state dict with --weights PATH; "
    "or use untrained weights with --weights random:0"
)


def locate(backbone: Backbone, request: str, ways_out: str = WAYS_OUT) -> Weights:
    """What `--weights REQUEST` means for this backbone. Published weights are downloaded where they are not here yet, and
    where that fails the message ends in `ways_out`.

    Raises WeightsNotFound where there is nothing of that name or no network, WeightsMismatch for a published file whose
    hash is not the published one.
    """
    if match := re.fullmatch(r"random(?::(\d{1,19}))?", request):
        return _random(backbone, int(match[1] or 0))
    name = _name(backbone, request)
    if name in backbone.checkpoints:
        return _published(name, backbone.checkpoints[name], ways_out)
    if found := find(request):
        path, member = found
        mark = "" if member is None else f"#{member}"
        return Weights(f"file{mark}", sha256_file(path), f"{path}{mark}", path, member=member)
    what = "is a folder, not a file" if Path(request).expanduser().is_dir() else "no such file"
    known = (*backbone.checkpoints, *(["DEFAULT"] if backbone.checkpoints else []), "random[:SEED]")
    choices = ", ".join(known)
    raise WeightsNotFound(f"--weights {request}: {what}, and {backbone.name} knows only {choices}")


def lacking(backbone: Backbone, request: str) -> Download | None:
    """The published file that `locate` would have to download; None where it is here, or where REQUEST means no such."""
    file = backbone.checkpoints.get(_name(backbone, request))
    if isinstance(file, HubFile):
        return None if hub.here(file) else Download(f"weights of {backbone.name}", file.url, hub.cache_folder())
    if file is None or (path := checkpoint_folder() / file.name).is_file():
        return None
    return Download(f"weights of {backbone.name}", file.url, path)


def usual(backbone: Backbone) -> str:
    """The weights that are meant where nobody says: a source's own default, else those of the published study."""
    return backbone.default or ("DEFAULT" if ExtractConfig.weights not in backbone.checkpoints else ExtractConfig.weights)


def _name(backbone: Backbone, request: str) -> str:
    newest = next(reversed(backbone.checkpoints), request)
    return (backbone.default or newest) if request == "DEFAULT" else request


def find(request: str) -> tuple[Path, str | None] | None:
    """The file that PATH or PATH#MEMBER names, as an absolute path, and the member; None where there is no such file."""
    path, _, member = request.rpartition("#")
    for name, part in ((request, None), (path, member)):
        if name and (file := Path(name).expanduser()).is_file():
            return file.parent.resolve() / file.name, part  # the name stays: in a cache of links it says what the file is
    return None


def _random(backbone: Backbone, seed: int) -> Weights:
    versions = " ".join(f"{name}=={importlib.metadata.version(name)}" for name in backbone.packages)
    recipe = f"random:{seed} drawn by {backbone.packages[-1]}'s initialisation, {versions}"
    return Weights(f"random:{seed}", sha256(recipe.encode()), recipe, seed=seed)


def checkpoint_folder() -> Path:
    """torch.hub's folder for checkpoints, by the same environment variables, without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(home).expanduser() / "hub" / "checkpoints"


def _published(label: str, file: WeightFile, ways_out: str) -> Weights:
    if isinstance(file, HubFile):
        path = hub.fetch(file, ways_out)
        return Weights(label, sha256_file(path), hub.address(file, path), path)
    path = checkpoint_folder() / file.name
    if not path.is_file():
        _download(file, path, ways_out)
    digest = sha256_file(path)
    if not digest.startswith(file.sha256):
        raise WeightsMismatch(f"{path}: SHA-256 is {digest}, expected {file.sha256}; remove the file to download it anew")
    return Weights(label, digest, file.url, path)


def _download(file: WeightFile, path: Path, ways_out: str) -> None:
    """Fetch a published file to `path`, checked against its hash. Raises WeightsNotFound with the ways out."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(file.url, str(path), hash_prefix=file.sha256, progress=False)
    except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors; a wrong hash is a RuntimeError
        reason = f"downloading {file.url} failed ({error})"
        raise WeightsNotFound(f"{path}: not there, and {reason}; {ways_out}") from error


def load(backbone: Backbone, weights: Weights, say: Callable[[str], None] = lambda _: None) -> nn.Module:
    """The backbone's body in float32 with these weights, frozen and in `eval()`. `say` is told what else a file holds.

    Raises WeightsMismatch for a file that changed since `locate`, can't be read without executing code, or whose
    parameters are not the backbone's or are no numbers to compute with.
    """
    body = _draw(backbone, weights.seed) if weights.path is None else _fill(backbone, weights, weights.path, say)
    return body.eval().requires_grad_(False)


def _draw(backbone: Backbone, seed: int | None) -> nn.Module:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        return backbone.body()


def _fill(backbone: Backbone, weights: Weights, path: Path, say: Callable[[str], None]) -> nn.Module:
    import torch

    with torch.device("meta"):  # no time is spent on drawing numbers that are overwritten
        body = backbone.body()
    wanted = body.state_dict()
    unwrapped = read_tensors(_read(path, weights.sha256), str(path))
    chosen, said = _chosen(backbone, unwrapped, wanted, weights)
    if said:
        say(f"{path}: {said}")
    zeros = {name: torch.zeros((), dtype=torch.int64) for name in wanted if name.endswith(COUNTER)}
    own = {name: value.detach() for name, value in chosen.state.items()}
    state = {name: value.float() if value.is_floating_point() else value for name, value in own.items()}
    _check_numbers(state, chosen.prefix, path)
    body.load_state_dict(zeros | state, assign=True)
    return _with_constants(body, backbone)


def _chosen(backbone: Backbone, unwrapped: Unwrapped, wanted: Mapping[str, Tensor], weights: Weights) -> tuple[Chosen, str]:
    """The tensors that the backbone needs, by its source's names or else by its authors', and what is to be said of it.
    Raises WeightsMismatch."""
    tensors, rest = unwrapped.tensors, (backbone.name, backbone.classifier, str(weights.path))
    try:
        chosen = choose(tensors, wanted, *rest, weights.member)
        return chosen, _said(unwrapped, chosen, backbone)
    except WeightsMismatch as error:
        if backbone.convert is not None:
            below = "" if weights.member is None else f"{weights.member}."
            own = {name.removeprefix(below): value for name, value in tensors.items() if name.startswith(below)}
            with contextlib.suppress(WeightsMismatch):
                chosen = choose(backbone.convert(own), wanted, *rest, None)
                return chosen, f"its authors' names of parameters were turned into those of {backbone.name}"
        raise WeightsMismatch(f"{error}{_whose(tensors, backbone)}") from error


def _with_constants(body: nn.Module, backbone: Backbone) -> nn.Module:
    """The body with the numbers that no file has, such as the places of a window's pixels: building it computes them."""
    if not any(
        _is_empty(value) for module in body.modules() for value in (*vars(module).values(), *module._buffers.values())
    ):
        return body
    built = _draw(backbone, 0)
    built.load_state_dict(body.state_dict(), assign=True)
    return built


def _is_empty(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.is_meta


def _said(unwrapped: Unwrapped, chosen: Chosen, backbone: Backbone) -> str:
    """What was taken off and what was left, in a line; nothing for the plain state dict of a model."""
    places = ((name, unwrapped.places[f"{chosen.prefix}{name}"]) for name in chosen.state)
    unused = f"not used: {some(chosen.left_out)}" if chosen.left_out else ""
    news = [text for text in (taken_off(places, chosen.prefix), unused) if text]
    return "; ".join([f"took the {len(chosen.state)} tensors of {backbone.name}", *news]) if news else ""


def _whose(tensors: Mapping[str, Tensor], backbone: Backbone) -> str:
    """The first of our backbones that the tensors fit, for a message; nothing where they fit none or this one."""
    import torch

    for name in names():
        other = get_backbone(name)
        with torch.device("meta"):
            wanted = other.body().state_dict()
        with contextlib.suppress(WeightsMismatch):
            choose(tensors, wanted, name, other.classifier, "", None)
            return "" if name == backbone.name else f"; these look like weights of {name}, which -m {name} takes"
    return ""


def _read(path: Path, expected: str) -> bytes:
    """The bytes of a file, which are hashed and parsed, both the same ones."""
    content = path.read_bytes()
    if (found := sha256(content)) != expected:
        raise WeightsMismatch(
            f"{path}: SHA-256 is {found[:12]}…, expected {expected[:12]}…; it changed while we ran, run again"
        )
    return content


def _check_numbers(state: Mapping[str, Tensor], prefix: str, path: Path) -> None:
    for name, value in state.items():
        numbers, what = value.numpy(), ""  # torch would wake its threads for each of a thousand small tensors
        if bad := np.count_nonzero(~np.isfinite(numbers)):
            what = f"{bad:,} of its {value.numel():,} values are NaN or infinite in float32"
        elif name.endswith("running_var") and (numbers < 0).any():
            what = "it has negative values, which no variance can have"
        if what:
            raise WeightsMismatch(f"{path}: {prefix}{name} is damaged: {what}; give other weights with --weights")
