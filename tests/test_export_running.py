"""Files from elsewhere, run in a process of their own: whatever they do is one line, and nothing else is reached."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_samples import Place
from export_samples import make_facts
from onnx import TensorProto, helper

from headstart.core.cache.errors import ModelFileInvalid
from headstart.core.extract.pictures.decode import decode
from headstart.export import proof
from headstart.export.files import onnx_file
from headstart.export.files.facts import Facts, Picture
from headstart.export.running import process
from headstart.export.running.process import run_module, running

IMAGES = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", "height", "width", 3])
SHARES = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])


def model_of(nodes: list[Any], initializers: list[Any], inputs: list[Any] | None = None) -> Any:
    """A graph by hand."""
    graph = helper.make_graph(nodes, "graph", inputs or [IMAGES], [SHARES], initializers)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])


def means() -> Any:
    """A model whose probabilities are the softmax of a picture's mean colours over 100."""
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["means"], keepdims=0),
        helper.make_node("Div", ["means", "temperature"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("temperature", TensorProto.FLOAT, [3], [100.0] * 3),
    ]
    return model_of(nodes, constants)


def expected(pixels: Any) -> Any:
    scores = np.exp(pixels.reshape(len(pixels), -1, 3).mean(axis=1) / 100)
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def write(model: Any, path: Path, facts: Facts | None = None) -> Path:
    onnx_file.put(model, facts.to_texts() if facts else {})
    path.write_bytes(model.SerializeToString())
    return path


def proving() -> Facts:
    """The facts of a file that has the means as probabilities."""
    pictures = []
    for name, content in proof.generated().items():
        if name.endswith(".png"):
            shares = tuple(expected(np.asarray(decode(content, name))[None])[0].tolist())
            pictures.append(Picture(name, content, shares, shares))
    return make_facts(pictures=tuple(pictures))


def test_pictures_become_probabilities(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 7, 5, 3), dtype=np.uint8)
    with running(write(means(), tmp_path / "model.onnx", proving())) as run:
        assert run.by.startswith("ONNX Runtime ")
        assert Facts.of_texts(run.texts).to_texts() == proving().to_texts()
        assert np.abs(run(pixels) - expected(pixels)).max() <= 1e-6
        assert run(np.zeros((20, 500, 400, 3), np.uint8)).shape == (20, 3)  # more than a pipe holds


def test_a_file_is_checked_from_the_command_line(tmp_path: Path) -> None:
    path = write(means(), tmp_path / "model.onnx", proving())
    said = Place(tmp_path).run("export", "--check", str(path)).stdout
    assert "3 test pictures in the file (generated pictures): largest difference" in said
    assert "3 of 3 labels the same" in said


def altered(model: Any) -> Any:
    """Another temperature for one class."""
    model.graph.initializer[1].float_data[0] = 90.0
    return model


def elsewhere(model: Any, place: str) -> Any:
    """A model whose temperature is in another file."""
    tensor = model.graph.initializer[1]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", place), ("offset", "0"), ("length", "12")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return model


def endless() -> Any:
    """A model that goes round and round."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Sin", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3]),
        ],
    )
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["means"], keepdims=0),
        helper.make_node("Loop", ["", "yes", "means"], ["probabilities"], body=body),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
    ]
    return model_of(nodes, constants)


def hungry() -> Any:
    """A model that asks for 4 TB."""
    nodes = [
        helper.make_node("Expand", ["one", "shape"], ["large"]),
        helper.make_node("ReduceSum", ["large", "axes"], ["probabilities"], keepdims=1),
    ]
    constants = [
        helper.make_tensor("one", TensorProto.FLOAT, [1, 1], [1.0]),
        helper.make_tensor("shape", TensorProto.INT64, [3], [2**20, 2**20, 3]),
        helper.make_tensor("axes", TensorProto.INT64, [1], [0]),
    ]
    return model_of(nodes, constants)


HOSTILE: list[tuple[str, Callable[[], bytes], str]] = [
    ("empty", lambda: b"", r"can't be run: .*No graph"),
    ("text", lambda: b"hello", r"can't be run: .*[Pp]rotobuf"),
    ("cut", lambda: means().SerializeToString()[:-40], "can't be run: "),
    ("facts gone", lambda: means().SerializeToString(), r"not a file of ours, or altered \(format None"),
    ("altered", lambda: with_facts(altered(means())), r"a probability of .*\.png is .* from what stands in the file"),
    ("elsewhere", lambda: with_facts(elsewhere(means(), "secret.bin")), "External data path"),
    ("absolute", lambda: with_facts(elsewhere(means(), "/etc/passwd")), "[Aa]bsolute path"),
    ("other inputs", lambda: _taking_floats(), r"takes and gives .*, expected uint8 images \(N, H, W, 3\)"),
    ("hungry", lambda: with_facts(hungry()), "can't be run: "),
]


def _taking_floats() -> bytes:
    floats = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3])
    content: bytes = model_of(
        [helper.make_node("Identity", ["images"], ["probabilities"])], [], [floats]
    ).SerializeToString()
    return content


def with_facts(model: Any) -> bytes:
    onnx_file.put(model, proving().to_texts())
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize(("content", "said"), [one[1:] for one in HOSTILE], ids=[one[0] for one in HOSTILE])
def test_a_hostile_file_is_one_line(content: Callable[[], bytes], said: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(np.full(3, 100.0, np.float32).tobytes())
    path = tmp_path / "model.onnx"
    path.write_bytes(content())
    line = Place(tmp_path).fails("export", "--check", str(path))
    assert "model.onnx" in line
    assert re.search(said, line), line


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    place = Place(tmp_path)
    assert "pipe.onnx: can't be read: is no regular file" in place.fails("export", "--check", str(tmp_path / "pipe.onnx"))
    assert "can't be read: No such file" in place.fails("export", "--check", str(tmp_path / "none.onnx"))


def test_a_file_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(write(endless(), tmp_path / "model.onnx")) as run:
        monkeypatch.setattr(process, "WAIT_S", 1.0)
        with pytest.raises(ModelFileInvalid, match=r"model\.onnx: can't be run: did not end in 1 s"):
            run(np.zeros((1, 4, 4, 3), np.uint8))


def test_a_process_that_dies_is_said(tmp_path: Path) -> None:
    with running(write(means(), tmp_path / "model.onnx")) as run:
        run._process.kill()
        run._process.wait()
        with pytest.raises(ModelFileInvalid, match="can't be run: ended the process that ran it, with -9"):
            run(np.zeros((20, 500, 400, 3), np.uint8))


def test_a_module_that_fails_says_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(ModelFileInvalid, match=r"quantise: .*none\.onnx"):
        run_module("headstart.export.running.quantise", str(tmp_path / "none.onnx"), str(tmp_path / "to.onnx"))


def test_nothing_is_left_running(tmp_path: Path) -> None:
    with running(write(means(), tmp_path / "model.onnx")) as run:
        child = run._process
    assert child.returncode is not None
