"""The backbone that a trained head's features came from, found again so that new images get features of the same kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.core.cache.errors import WeightsMismatch, WeightsNotFound
from headstart.core.cache.key import FEATURE_VERSION, FeatureKey
from headstart.core.extract import weights
from headstart.core.extract.network.devices import resolve_like
from headstart.core.extract.network.loaded import NetworkSpec, load_network
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.pooling import of_key

if TYPE_CHECKING:
    from headstart.core.extract.network.extractor import FeatureExtractor


def restore(
    key: FeatureKey, weights_from: str, request: str | None, device: str, batch_size: int | None
) -> FeatureExtractor:
    """The backbone that features of `key` came from, so that new images get features of the same kind.

    Its weights are sought where they were (`weights_from`) unless `request` says where they are now. Raises
    WeightsMismatch, naming the field, where what is found would give other features; WeightsNotFound. A precision that the
    device has not got becomes fp32, and the device's notes say so.
    """
    backbone = of_key(key, key.image_size)
    for field, ours, theirs in (
        ("pooling", backbone.pooling, key.pooling),
        ("feature_version", FEATURE_VERSION, key.feature_version),
    ):
        _expect(field, ours, theirs, _OTHER_HEADSTART)
    try:
        preprocessing = Preprocessing.of_key(key)
    except ValueError as error:
        raise WeightsMismatch(f"{error}, in the head's features; {_OTHER_HEADSTART}") from error
    found = weights.locate(backbone, _recorded_weights(key, weights_from, request), "say where it is with --weights PATH")
    way_out = _OTHER_VERSIONS if key.untrained and found.label == key.weights else _OTHER
    _expect(f"weights_sha256 of {found.origin}", found.sha256, key.weights_sha256, way_out)
    if "#" in key.weights:
        _expect(f"the weights in {found.path}", found.label.partition("#")[2], key.weights.partition("#")[2], _OTHER)
    spec = NetworkSpec(backbone, found, preprocessing, resolve_like(device, key.precision))
    return load_network(spec, batch_size)


def _recorded_weights(key: FeatureKey, weights_from: str, request: str | None) -> str:
    """What to ask `weights.locate` for: the member of a file that a head needs is in its key. Raises WeightsNotFound."""
    kind, mark, member = key.weights.partition("#")
    if kind != "file":
        return request or key.weights
    if request is None and weights.find(weights_from) is None:
        raise WeightsNotFound(
            f"{weights_from}: not there; the head's weights were at this path (SHA-256 {key.weights_sha256[:12]}…); "
            f"say where they are with --weights PATH"
        )
    asked = request or weights_from
    found = weights.find(asked)
    return f"{asked}#{member}" if mark and found and found[1] is None else asked


_OTHER_HEADSTART = "use the headstart that made them, or extract again and train a head on that"
_OTHER = "give the right weights with --weights, or train a head on new features"
_OTHER_VERSIONS = "other versions of torch or torchvision drew those; extract again and train a head on that"


def _expect(field: str, found: object, expected: object, way_out: str) -> None:
    if found != expected:
        raise WeightsMismatch(f"{field} is {found}, the head's features were made with {expected}; {way_out}")
