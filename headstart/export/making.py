"""A head and its backbone made into a file of one kind, without facts; then the facts put in."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.core.cache.errors import ArgumentInvalid
from headstart.export.files import onnx_file
from headstart.export.graph.whole import Whole
from headstart.export.measuring.reference import Reference
from headstart.requests import ExportRequest


@dataclasses.dataclass(frozen=True)
class Made:
    """A graph: an `onnx.ModelProto`, or for .pt2 a `torch.export.ExportedProgram`."""

    kind: str
    graph: Any

    def write(self, path: Path, texts: Mapping[str, str]) -> None:
        """Write it with these facts. Raises ArgumentInvalid for an ONNX file that would be too large, OSError."""
        if self.kind == ".pt2":
            import torch

            with onnx_file.quiet():
                torch.export.save(self.graph, path, extra_files={"headstart.json": json.dumps(dict(texts))})
            return
        onnx_file.put(self.graph, texts)
        if self.graph.ByteSize() > onnx_file.MOST_BYTES:
            raise ArgumentInvalid(f"{path.name}: has more than 2 GB, which ONNX files can't; --precision fp16 halves it")
        path.write_bytes(self.graph.SerializeToString(deterministic=True))


def make(reference: Reference, request: ExportRequest) -> Made:
    """The graph that a request means."""
    extractor = reference.extractor
    resized, half = request.input == "resized", request.precision == "fp16"
    whole = Whole(extractor.body, reference.head, extractor.preprocessing, resized=resized, half=half).eval()
    program = onnx_file.traced(whole, extractor.preprocessing.image_size)
    if request.kind == ".pt2":
        return Made(request.kind, program)
    model = onnx_file.as_onnx(program)
    return Made(request.kind, onnx_file.quantised(model) if request.precision == "int8" else model)
