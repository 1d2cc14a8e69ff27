"""The kinds of exported files: resized pictures, half precision, 8 bits, torch's own, tensors; and what is refused."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from api_samples import pets
from cli_samples import Place
from export_samples import extractor_of, untrained_head, untrained_key
from extract_samples import write_picture
from PIL import Image

import headstart as hs
from headstart.core.cache.errors import ArgumentInvalid, ImageUnreadable, ModelFileDiffers
from headstart.export.exporting import export
from headstart.export.files.facts import Facts
from headstart.export.measuring.agreement import TOLERANCES
from headstart.export.measuring.reference import exact, own
from headstart.export.measuring.rows import CROSS_VALIDATED
from headstart.inference.trained import TrainedHead
from headstart.observer import Observer
from headstart.requests import CheckRequest, ExportRequest
from headstart.workspace import Workspace

HERE = Path("nowhere")
WORKSPACE = Workspace(HERE, HERE, HERE, "cpu")


@pytest.fixture(scope="module")
def head() -> TrainedHead:
    """A head of random numbers behind an untrained ResNet18 at 32 px, whose features are standardised."""
    key = untrained_key(precision="fp32")
    found = untrained_head(key, weights_from="random:0")
    own = found.checkpoint.head
    for value in own.parameters():
        value.data.mul_(30)
    features = extractor_of(key)(np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8))
    own.mean.copy_(torch.from_numpy(features.mean(axis=0)))
    own.std.copy_(torch.from_numpy(features.std(axis=0) + 0.1))
    return found


def made(head: TrainedHead, path: Path, pictures: tuple[Path, ...] = (), **options: Any) -> Any:
    """What is exported, without measuring on a data set."""
    own = {"limit": 0, "card": False, **options}
    return export(WORKSPACE, head, ExportRequest(path, tuple(map(str, pictures)), **own), Observer())


def facts_of(path: Path) -> Facts:
    model = onnx.load(path, load_external_data=False)
    return Facts.of_texts({one.key: one.value for one in model.metadata_props})


def test_a_file_for_resized_pictures_takes_the_backbones_size(head: TrainedHead, tmp_path: Path) -> None:
    photo = write_picture(tmp_path / "a.png")
    found = made(head, tmp_path / "model.onnx", (photo,), input="resized", embed=True)
    assert found.checked.agreement.largest <= 1e-4
    facts = facts_of(tmp_path / "model.onnx")
    (own,) = facts.pictures
    assert (facts.input, facts.made_from, own.name) == ("resized", "pictures given", "1.png")
    assert Image.open(io.BytesIO(own.content)).size == (32, 32)
    axes = onnx.load(tmp_path / "model.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_param or axis.dim_value for axis in axes] == ["batch", 32, 32, 3]


@pytest.mark.parametrize(("precision", "most_bytes"), [("fp16", 23e6), ("int8", 12e6)])
def test_lower_precisions_are_smaller_and_agree(
    head: TrainedHead, tmp_path: Path, precision: str, most_bytes: float
) -> None:
    found = made(head, tmp_path / "model.onnx", precision=precision)
    assert found.nbytes < most_bytes
    assert 1e-6 < found.checked.agreement.largest <= TOLERANCES[precision]
    facts = facts_of(tmp_path / "model.onnx")
    assert facts.precision == precision
    assert any(one.expected != one.predict for one in facts.pictures)  # its own answers, and those of predict


def test_torchs_own_file_is_loaded_by_its_digest_alone(head: TrainedHead, tmp_path: Path) -> None:
    found = made(head, tmp_path / "model.pt2")
    assert found.sha256 == hashlib.sha256((tmp_path / "model.pt2").read_bytes()).hexdigest()
    place, model = Place(tmp_path), str(tmp_path / "model.pt2")
    assert "can run any code when it is loaded; give --digest" in place.fails("export", "--check", model)
    assert "nothing of it was loaded" in place.fails("export", "--check", model, "--digest", "ab")
    said = place.run("export", "--check", model, "--digest", found.sha256.upper()).stdout
    assert "gives what it says of its test pictures, run by torch" in said


def test_tensors_are_written_too(head: TrainedHead, tmp_path: Path) -> None:
    found = export(WORKSPACE, head, ExportRequest(tmp_path / "model.safetensors"), Observer())
    assert found.checked is None
    assert found.card == tmp_path / "model-card.md"
    assert found.nbytes == (tmp_path / "model.safetensors").stat().st_size


def test_untrained_weights_are_warned_of_once() -> None:
    class Warned(Observer):
        def __init__(self) -> None:
            self.said = list[str]()

        def warn(self, text: str) -> None:
            self.said.append(text)

    found, observer = untrained_head(untrained_key(precision="bf16"), weights_from="random:0"), Warned()
    exact(WORKSPACE, found, (), observer)
    own(WORKSPACE, found, (), observer)
    assert observer.said == ["resnet18 has UNTRAINED weights (random:0): good for trying things out only"]


def test_what_differs_is_not_written(head: TrainedHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"what was there")
    monkeypatch.setitem(TOLERANCES, "fp32", 1e-12)
    with pytest.raises(ModelFileDiffers, match=r"a probability of the test picture .* expected 1e-12 or less; nothing was"):
        made(head, path, card=True)
    assert [one.name for one in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_bytes() == b"what was there"


def test_a_picture_that_can_not_be_read_is_an_error(head: TrainedHead, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ImageUnreadable, match=r"broken\.png: .*leave it out"):
        made(head, tmp_path / "model.onnx", (tmp_path / "broken.png",))


def test_a_cross_validated_head_has_no_untouched_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = pets(tmp_path / "pets", 4)
    features = hs.extract(folder, model="resnet18", weights="random:0", image_size=32, precision="fp32", device="cpu")
    head = hs.train(features, head="prototype")
    found = head.export("out/model.onnx", [folder / "red" / "0.png"], dataset=folder, limit=5)
    rows = found.checked.on_rows
    assert rows is not None
    assert (rows.rows, rows.of, rows.right) == (5, 12, None)
    assert rows.agreement.largest <= 1e-4
    assert rows.untested == CROSS_VALIDATED
    assert (tmp_path / "out" / "model-card.md").is_file()


REFUSED = [
    ({"path": Path("model.bin")}, r"model\.bin: a file ends in \.onnx, \.pt2, \.safetensors"),
    ({"precision": "int8", "path": Path("m.pt2")}, r"--precision int8: a file ending in \.pt2 has fp32 alone"),
    (
        {"input": "resized", "path": Path("m.safetensors")},
        "--input resized: a file ending in .safetensors has pixels alone",
    ),
    ({"path": Path("m.safetensors"), "pictures": ("a.png",)}, "leave pictures and --dataset out"),
    ({"embed": True}, "--embed puts copies of pictures into the file: name some"),
    ({"precision": "bf16"}, "precision is 'bf16', expected one of fp32, fp16, int8"),
    ({"limit": -1}, "limit is -1, expected a whole number from 0 on"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_can_not_be_meant_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentInvalid, match=message):
        ExportRequest(**{"path": Path("model.onnx"), **options})


def test_a_check_is_of_what_can_be_run() -> None:
    with pytest.raises(ArgumentInvalid, match=r"--check runs files that end in \.onnx or \.pt2"):
        CheckRequest(Path("model.safetensors"))
    with pytest.raises(ArgumentInvalid, match=r"--digest is for \.pt2 files"):
        CheckRequest(Path("model.onnx"), sha256="ab")


def test_without_the_extra_the_command_says_what_to_install(
    head: TrainedHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.export.files.onnx_file._NEEDED", ("onnx", "no_such_package"))
    with pytest.raises(
        ArgumentInvalid, match=r"ONNX files need no_such_package; `pip install 'headstart\[onnx\]'` adds it"
    ):
        made(head, tmp_path / "model.onnx")


def test_usage(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for words, said in (
        (("some-run",), "some-run: FILE is missing"),
        (("a.onnx", "--digest", "ab"), "--digest is for --check"),
        (("--check", "a.onnx", "--precision", "int8"), "--precision does nothing with --check"),
        (("--check", "a.onnx", "--no-card"), "--no-card does nothing with --check"),
    ):
        assert said in place.run("export", *words, code=2).stderr
    assert "no trained head" in place.fails("export", "model.onnx")
