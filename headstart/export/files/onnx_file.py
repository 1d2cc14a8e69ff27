"""A module of pictures to probabilities as an ONNX file, in float32, with half its parameters in float16, or quantised.

Quantised are the weights of matrix products and convolutions, to 8 bits, and what they are multiplied with while it runs
(https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html). Needs the extra `onnx`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.cache.errors import ArgumentInvalid
from headstart.export.running.process import run_module

if TYPE_CHECKING:
    import torch

    from headstart.export.graph.whole import Whole

MOST_BYTES = 2**31 - 1
"""Of a protocol buffer, which an ONNX file is (https://protobuf.dev/programming-guides/encoding/#size-limit)."""
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


def check_installed() -> None:
    """Raises ArgumentInvalid where the extra is not installed."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ArgumentInvalid(f"ONNX files need {', '.join(missing)}; `pip install 'headstart[onnx]'` adds it")


def traced(whole: Whole, size: int) -> torch.export.ExportedProgram:
    """The module's graph for any number of pictures, of any size where it resizes them, else of `size` px squared."""
    import torch

    any_size = whole.framing is not None
    free = dict.fromkeys(range(3 if any_size else 1), torch.export.Dim.DYNAMIC)
    example = torch.zeros((2, size + 13, size + 29, 3) if any_size else (2, size, size, 3), dtype=torch.uint8)
    with torch.no_grad(), quiet():
        return torch.export.export(whole, (example,), dynamic_shapes=(free,), strict=False)


def as_onnx(program: torch.export.ExportedProgram) -> Any:
    """A graph as an `onnx.ModelProto`, without what it tells of the machine that made it."""
    import torch

    with quiet():
        made = torch.onnx.export(
            program, dynamo=True, input_names=["images"], output_names=["probabilities"], verbose=False
        )
    assert made is not None
    model = made.model_proto
    _forget(model.graph)
    for function in model.functions:
        _forget(function)
    _name_axes(model.graph)
    return model


def _forget(graph: Any) -> None:
    """Take out where in which source files each node came from, which names folders of this machine."""
    del graph.metadata_props[:]
    del graph.value_info[:]
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _forget(inner)


def _name_axes(graph: Any) -> None:
    for value, names in ((graph.input[0], ("batch", "height", "width", "")), (graph.output[0], ("batch", ""))):
        del value.metadata_props[:]
        for name, axis in zip(names, value.type.tensor_type.shape.dim, strict=True):
            if axis.dim_param and name:
                axis.dim_param = name


def put(model: Any, texts: Mapping[str, str]) -> None:
    """Put the facts into a model, in the place of those that it has."""
    import onnx

    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(texts))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What exporters say while they work is for those who write them; what the result is worth is measured."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)


def quantised(model: Any) -> Any:
    """The same model with its weights in 8 bits, and what is computed from pictures in 8 bits where they meet."""
    import onnx

    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        before, after = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        before.write_bytes(model.SerializeToString())
        run_module("headstart.export.running.quantise", str(before), str(after))
        return onnx.load(after)
