"""A head and its backbone as one safetensors file: rebuilt from it alone, by us and by torchvision or timm alone."""

import copy
import dataclasses
import io
import json
import random
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from export_samples import (
    ODD_NAMES,
    extractor_of,
    noise,
    stored_rows,
    untrained_head,
    untrained_key,
)
from extract_samples import picture
from heads_samples import ROOT, make_config
from heads_samples import one_thread as one_thread
from PIL import Image

from headstart.core.cache.errors import ArgumentInvalid, RunDamaged, RunNotFound
from headstart.core.cache.files import canonical_json, sha256
from headstart.core.extract import weights
from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.network.extractor import FeatureExtractor, state_digest
from headstart.core.extract.pictures.decode import decode_at
from headstart.core.heads.kinds import kind
from headstart.export.card.lines import tensors as lines
from headstart.export.tensors import FORMAT, HEAD, probabilities, read_safetensors, write_safetensors
from headstart.inference.trained import TrainedHead


@pytest.fixture(scope="module")
def head() -> TrainedHead:
    return untrained_head(untrained_key())


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return extractor_of(untrained_key())


@pytest.fixture(scope="module")
def written(head: TrainedHead, extractor: FeatureExtractor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    write_safetensors(head, extractor, path)
    return path


def header(path: Path) -> dict[str, Any]:
    with safetensors.safe_open(path, "pt") as file:
        found: dict[str, Any] = json.loads(file.metadata()["headstart"])
    return found


def test_what_is_read_back_gives_the_same_probabilities(
    written: Path, head: TrainedHead, extractor: FeatureExtractor
) -> None:
    found, images = read_safetensors(written, batch_size=2), noise(5)
    assert np.array_equal(found.probabilities(images), probabilities(head.checkpoint, extractor, images))
    assert found.checkpoint.key == head.checkpoint.key
    assert state_digest(found.extractor.body) == extractor.parameters


def test_the_header_says_all_that_is_needed(written: Path, head: TrainedHead, extractor: FeatureExtractor) -> None:
    facts = header(written)
    assert (facts["format"], facts["architecture"], facts["classes"]) == (FORMAT, "resnet18", ["cat", "dog", "frog"])
    assert (facts["temperature"], facts["calibrated"], facts["licence"]) == (1.75, True, head.checkpoint.licence)
    assert facts["transform"]["words"] == "resized to 32 x 32 px (bilinear)"
    assert facts["transform"]["mean"] == [0.485, 0.456, 0.406]
    assert facts["digests"]["backbone"] == extractor.parameters


def test_the_backbone_has_the_names_of_its_source(written: Path) -> None:
    found = {name for name in safetensors.torch.load_file(written) if not name.startswith("headstart.")}
    theirs = torchvision.models.resnet18(weights=None).state_dict().keys()
    assert found == {name for name in theirs if not name.startswith("fc.")}


def test_the_parameters_are_those_loaded_whatever_the_precision_of_the_features(tmp_path: Path) -> None:
    key = untrained_key(precision="bf16")
    exact = extractor_of(key)
    write_safetensors(untrained_head(key), exact, tmp_path / "m.safetensors")
    assert {value.dtype for value in safetensors.torch.load_file(tmp_path / "m.safetensors").values()} <= {
        torch.float32,
        torch.int64,
    }
    assert header(tmp_path / "m.safetensors")["precision"] == {"parameters": "float32", "features_learned_from": "bf16"}


def test_a_network_in_low_precision_is_refused(head: TrainedHead, extractor: FeatureExtractor, tmp_path: Path) -> None:
    folded = dataclasses.replace(extractor, frozen="0" * 64, device=dataclasses.replace(extractor.device, precision="bf16"))
    with pytest.raises(ArgumentInvalid, match="the backbone is in bf16, expected fp32"):
        write_safetensors(head, folded, tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_another_backbone_or_transform_is_refused(head: TrainedHead, extractor: FeatureExtractor, tmp_path: Path) -> None:
    with pytest.raises(ArgumentInvalid, match="the backbone is not resnet18"):
        write_safetensors(head, dataclasses.replace(extractor, body=torch.nn.Sequential()), tmp_path / "m.safetensors")
    with pytest.raises(ArgumentInvalid, match=r"transform is .* the head's is another"):
        write_safetensors(head, extractor_of(untrained_key(size=64)), tmp_path / "m.safetensors")


def test_a_network_whose_numbers_changed_leaves_no_file(head: TrainedHead, tmp_path: Path) -> None:
    found = extractor_of(untrained_key())
    changed = copy.deepcopy(found.body)
    with torch.no_grad():
        next(changed.parameters()).add_(1)
    with pytest.raises(RunDamaged, match="the backbone's SHA-256 is"):
        write_safetensors(head, dataclasses.replace(found, body=changed), tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_odd_class_names_come_back_as_they_were(extractor: FeatureExtractor, tmp_path: Path) -> None:
    key = untrained_key(classes=ODD_NAMES)
    write_safetensors(untrained_head(key), extractor, tmp_path / "m.safetensors")
    assert read_safetensors(tmp_path / "m.safetensors").checkpoint.classes == ODD_NAMES
    assert tuple(header(tmp_path / "m.safetensors")["classes"]) == ODD_NAMES


def test_further_facts_stand_in_the_header(head: TrainedHead, extractor: FeatureExtractor, tmp_path: Path) -> None:
    write_safetensors(head, extractor, tmp_path / "m.safetensors", {"proof": [1, (2, 3)]})
    assert read_safetensors(tmp_path / "m.safetensors").facts["proof"] == [1, [2, 3]]
    with pytest.raises(ArgumentInvalid, match="further facts are called classes, which the format has already"):
        write_safetensors(head, extractor, tmp_path / "m.safetensors", {"classes": []})


def test_what_is_no_file_of_ours_is_refused(tmp_path: Path, written: Path) -> None:
    with pytest.raises(RunNotFound, match="can't be read"):
        read_safetensors(tmp_path / "none.safetensors")
    other = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(1)}, other)
    with pytest.raises(RunDamaged, match="not a model of ours, or altered"):
        read_safetensors(other)
    other.write_bytes(b"\x80\x04K\x01.")  # a pickle
    with pytest.raises(RunDamaged, match="not a model of ours, or altered"):
        read_safetensors(other)


@pytest.mark.parametrize("field", ["classes", "temperature", "transform", "licence"])
def test_what_is_said_for_others_must_be_what_the_head_says(written: Path, tmp_path: Path, field: str) -> None:
    facts = {name: value for name, value in header(written).items() if name != "sha256"}
    facts[field] = {"classes": ["dog", "cat", "frog"], "temperature": 1.0}.get(field, "another")
    facts["sha256"] = sha256(canonical_json(facts))
    path = tmp_path / "m.safetensors"
    safetensors.torch.save_file(safetensors.torch.load_file(written), path, {"headstart": json.dumps(facts)})
    with pytest.raises(RunDamaged, match=f"{field} is"):
        read_safetensors(path)


def test_no_changed_bit_goes_unseen(written: Path, tmp_path: Path) -> None:
    content, rng, path = written.read_bytes(), random.Random(0), tmp_path / "m.safetensors"
    size = int.from_bytes(content[:8], "little")
    places = [rng.randrange(8, 8 + size) for _ in range(4)] + [rng.randrange(8 + size, len(content)) for _ in range(4)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        # a bit of a weight, of the header's layout or of its text: each has its own words
        with pytest.raises(Exception, match=r"altered|SHA-256|lacks|NaN|shape|negative") as caught:
            read_safetensors(path)
        assert type(caught.value).__module__.endswith("cache.errors")


@pytest.mark.parametrize(
    ("model", "crop"),
    [("resnet18", "center"), ("vgg11", "squash"), ("mobilenet_v3_small", "squash"), ("timm/test_vit", "center")],
)
def test_the_lines_of_the_card_need_nothing_of_ours(model: str, crop: str, tmp_path: Path) -> None:
    """Without headstart: the source's own network, the file's tensors, and the transform by value."""
    if model.startswith("timm/"):
        pytest.importorskip("timm")
    resize = None if crop == "squash" else 73
    key = untrained_key(model, 64 if model != "timm/test_vit" else 160, crop=crop, resize=resize)
    head, extractor = untrained_head(key), extractor_of(key)
    write_safetensors(head, extractor, tmp_path / "m.safetensors")
    shares = printed(head, tmp_path, tmp_path / "m.safetensors")
    images = decode_at((tmp_path / "p.png").read_bytes(), "p.png", extractor.preprocessing)[None]
    expected = probabilities(head.checkpoint, extractor, images)[0]
    assert shares == pytest.approx(dict(zip(key.classes, expected.tolist(), strict=True)), abs=2e-6)


def test_the_lines_lay_what_is_transparent_on_white(written: Path, head: TrainedHead, tmp_path: Path) -> None:
    shown = picture(90, 70)
    shown.putalpha(Image.linear_gradient("L").resize(shown.size))
    shares = printed(head, tmp_path, written, shown)
    content = (tmp_path / "p.png").read_bytes()
    extractor = extractor_of(head.checkpoint.key)
    images = decode_at(content, "p.png", extractor.preprocessing)[None]
    expected = probabilities(head.checkpoint, extractor, images)[0]
    assert shares == pytest.approx(dict(zip(head.checkpoint.classes, expected.tolist(), strict=True)), abs=2e-6)
    plain = printed(head, tmp_path, written)
    assert shares != pytest.approx(plain, abs=1e-4)  # its alpha makes a difference


def printed(head: TrainedHead, folder: Path, file: Path, shown: Image.Image | None = None) -> dict[str, float]:
    """What the card's program prints for a picture, run here: a process of its own would take seconds."""
    (shown or picture(90, 70)).save(folder / "p.png")
    program, text = lines(head.checkpoint, str(file)), io.StringIO()
    assert program is not None
    assert "headstart." in program  # names of tensors
    assert "import headstart" not in program
    before, sys.argv = sys.argv, ["program", str(folder / "p.png")]
    try:
        with redirect_stdout(text):
            exec(program, {})
    finally:
        sys.argv = before
    found = [line.split(" ", 1) for line in text.getvalue().splitlines()]
    return {name: float(share) for share, name in found}


@pytest.mark.parametrize(
    ("name", "absent"), [("mlp", ()), ("linear", (1,)), ("ridge", ()), ("svm", (0, 2)), ("knn", (1,)), ("prototype", (2,))]
)
def test_the_lines_know_every_kind_of_head(
    name: str, absent: tuple[int, ...], extractor: FeatureExtractor, tmp_path: Path
) -> None:
    key = untrained_key()
    config = make_config(name, sigmoid=name in ("mlp", "linear"))
    made = stored_rows(kind(name)(512, 3, config, 9, torch.Generator().manual_seed(0))).eval().requires_grad_(False)
    made.never(absent)
    head = untrained_head(key)
    head = dataclasses.replace(head, checkpoint=dataclasses.replace(head.checkpoint, head=made))
    write_safetensors(head, extractor, tmp_path / "m.safetensors")
    images = decode_at(png(tmp_path), "p.png", extractor.preprocessing)[None]
    expected = probabilities(head.checkpoint, extractor, images)[0]
    found = printed(head, tmp_path, tmp_path / "m.safetensors")
    assert found == pytest.approx(dict(zip(key.classes, expected.tolist(), strict=True)), abs=2e-6)


def png(folder: Path) -> bytes:
    picture(90, 70).save(folder / "p.png")
    return (folder / "p.png").read_bytes()


def test_the_lines_run_in_a_process_of_their_own(written: Path, head: TrainedHead, tmp_path: Path) -> None:
    program = lines(head.checkpoint, str(written))
    assert program is not None
    png(tmp_path)
    code = f"{program}\nassert not [name for name in sys.modules if name.startswith('headstart')]"
    command = [sys.executable, "-I", "-c", code, str(tmp_path / "p.png")]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert sorted(line.split()[1] for line in found.stdout.splitlines()) == ["cat", "dog", "frog"]


def test_what_takes_more_lines_has_none() -> None:
    key = untrained_key()
    for other in (
        dataclasses.replace(key, pooling="global maximum"),
        dataclasses.replace(key, pooling="global average at layer3"),
        dataclasses.replace(key, crop="border", resize=40),
        dataclasses.replace(key, backbone="a-network-to-come"),
        dataclasses.replace(key, backbone="inception_v3"),
        dataclasses.replace(key, backbone="mnasnet1_0"),
    ):
        checkpoint = dataclasses.replace(untrained_head(key).checkpoint, key=other)
        assert lines(checkpoint, "m.safetensors") is None


def test_the_file_is_one_of_weights_too(written: Path) -> None:
    """`extract --weights model.safetensors` goes on with the same backbone."""
    backbone = get_backbone("resnet18")
    body = weights.load(backbone, weights.locate(backbone, str(written)))
    assert state_digest(body) == header(written)["digests"]["backbone"]


def test_tensors_of_the_head_have_names_that_no_backbone_has(written: Path) -> None:
    found = {name for name in safetensors.torch.load_file(written) if name.startswith(HEAD)}
    assert {f"{HEAD}mean", f"{HEAD}std", f"{HEAD}out.weight", f"{HEAD}out.bias"} <= found


def test_the_documentation_has_the_program_itself() -> None:
    text = (ROOT / "docs/export-safetensors.md").read_text(encoding="utf-8")
    head = untrained_head(untrained_key(crop="center", resize=256, size=224))
    assert f"```python\n{lines(head.checkpoint, 'model.safetensors')}```" in text
