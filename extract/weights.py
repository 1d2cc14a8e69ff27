"""A backbone's weights: found or downloaded, hashed on every load, read without pickle's powers, and checked by name.

torchvision's own loader checks a hash only while it downloads and unpickles whatever lies in its folder afterwards.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache.errors import HeadstartError, WeightsMismatch, WeightsNotFound
from cache.files import sha256, sha256_file
from extract.backbones import SHA256, Backbone

if TYPE_CHECKING:
    from torch import Tensor, nn

BASE_URL = "https://download.pytorch.org/models/"
"""Where torchvision's weights enums point to; a test holds this against the enums."""


@dataclasses.dataclass(frozen=True)
class Weights:
    """Which weights: `label` (an enum name, `random:SEED` or `file`) and SHA-256 go into the key, `origin` tells people.

    For a file the SHA-256 is that of its bytes; random weights are named by the recipe that draws them, which depends on
    torch's and torchvision's versions.
    """

    label: str
    sha256: str
    origin: str
    path: Path | None = None
    seed: int | None = None


def locate(backbone: Backbone, request: str) -> Weights:
    """What `--weights REQUEST` means for this backbone; downloads torchvision's where they are not here yet.

    Raises WeightsNotFound where there is nothing of that name or no network, WeightsMismatch for a file of torchvision's
    whose hash is not the published one.
    """
    if match := re.fullmatch(r"random(?::(\d{1,19}))?", request):
        return _random(int(match[1] or 0))
    name = list(backbone.checkpoints)[-1] if request == "DEFAULT" else request
    if name in backbone.checkpoints:
        return _published(backbone, name)
    path = Path(request).expanduser()
    if path.is_file():
        return Weights("file", sha256_file(path), str(path), path)
    choices = ", ".join((*backbone.checkpoints, "DEFAULT", "random[:SEED]"))
    raise WeightsNotFound(f"--weights {request}: no such file, and {backbone.name} knows only {choices}")


def _random(seed: int) -> Weights:
    versions = " ".join(f"{name}=={importlib.metadata.version(name)}" for name in ("torch", "torchvision"))
    recipe = f"random:{seed} drawn by torchvision's initialisation, {versions}"
    return Weights(f"random:{seed}", sha256(recipe.encode()), recipe, seed=seed)


def checkpoint_folder() -> Path:
    """torch.hub's folder for checkpoints, by the same environment variables, without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(home).expanduser() / "hub" / "checkpoints"


def _published(backbone: Backbone, name: str) -> Weights:
    file = backbone.checkpoints[name]
    path = checkpoint_folder() / file
    if not path.is_file():
        download(BASE_URL + file, path)
    digest, published = sha256_file(path), _published_sha256(file)
    if not digest.startswith(published):
        raise WeightsMismatch(f"{path}: SHA-256 is {digest}, expected {published}; remove the file to download it anew")
    return Weights(name, digest, BASE_URL + file, path)


def _published_sha256(file: str) -> str:
    """The SHA-256 of a file of torchvision's, or the eight digits of it in the name where the rest is not known."""
    return SHA256.get(file, file.rpartition("-")[2].partition(".")[0])


def download(url: str, path: Path) -> None:
    """Fetch `url` to `path`, checked against the published hash. Raises WeightsNotFound with the ways out."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=_published_sha256(path.name), progress=False)
    except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors; a wrong hash is a RuntimeError
        raise WeightsNotFound(
            f"{path}: not there, and downloading {url} failed ({error}). Three ways out: put the file there by hand; "
            f"give a local state dict with --weights PATH; or use untrained weights with --weights random:0"
        ) from error


def load(backbone: Backbone, weights: Weights) -> nn.Module:
    """The backbone's body in float32 with these weights, frozen and in `eval()`.

    Raises WeightsMismatch for a file that changed since `locate`, can't be read without executing code, or whose
    parameters are not the backbone's.
    """
    body = _draw(backbone, weights.seed) if weights.path is None else _fill(backbone, weights, weights.path)
    return body.eval().requires_grad_(False)


def _draw(backbone: Backbone, seed: int | None) -> nn.Module:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        return backbone.body()


def _fill(backbone: Backbone, weights: Weights, path: Path) -> nn.Module:
    import torch

    state = _feature_state(backbone, path, _read(path, weights.sha256))
    with torch.device("meta"):  # no time is spent on drawing numbers that are overwritten
        body = backbone.body()
    wanted = body.state_dict()
    for name in wanted:  # a counter that eval() doesn't read, and that old checkpoints lack
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, torch.zeros((), dtype=torch.int64))
    _check(state, wanted, path, backbone.name)
    floats = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    body.load_state_dict(floats, assign=True)
    return body


def _read(path: Path, expected: str) -> Mapping[str, Any]:
    """The state dict in a file, hashed and parsed from the same bytes."""
    content = path.read_bytes()
    if (found := sha256(content)) != expected:
        raise WeightsMismatch(f"{path}: SHA-256 is {found[:12]}…, expected {expected[:12]}…; it changed while we ran")
    try:
        return _parse(path, content)
    except HeadstartError:
        raise
    except Exception as error:  # safetensors and torch raise many kinds for bytes that are not theirs
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsMismatch(
            f"{path}: can't be read as plain weights ({reason}); expected a .safetensors or a .pth state dict "
            f"that torch.load accepts with weights_only=True"
        ) from error


def _parse(path: Path, content: bytes) -> Mapping[str, Any]:
    if path.suffix == ".safetensors":
        import safetensors.torch

        return safetensors.torch.load(content)
    import torch

    found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    for wrapper in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not isinstance(found, Mapping):
        raise WeightsMismatch(f"{path}: holds a {type(found).__name__}, expected a state dict")
    return found


_DENSENET_OLD = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)")
"""torchvision's published DenseNet files still carry names from before 0.3: norm.1 for norm1."""


def _feature_state(backbone: Backbone, path: Path, found: Mapping[str, Any]) -> dict[str, Tensor]:
    if odd := [name for name, value in found.items() if not (isinstance(name, str) and hasattr(value, "shape"))]:
        raise WeightsMismatch(f"{path}: holds {odd[0]!r}, which is no named tensor")
    named = {name.removeprefix("module."): value for name, value in found.items()}
    renamed = {_DENSENET_OLD.sub(r"\1\2", name): value for name, value in named.items()}
    return {name: value for name, value in renamed.items() if not name.startswith(backbone.classifier)}


def _check(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path, name: str) -> None:
    if missing := [key for key in wanted if key not in state]:
        raise WeightsMismatch(f"{path}: lacks {_some(missing)} of {name}")
    if extra := [key for key in state if key not in wanted]:
        raise WeightsMismatch(f"{path}: has {_some(extra)}, which {name} has not")
    for key, value in wanted.items():
        if state[key].shape != value.shape:
            raise WeightsMismatch(
                f"{path}: {key} has the shape {tuple(state[key].shape)}, expected {tuple(value.shape)} for {name}"
            )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
