"""A process that quantises an ONNX file: python -m headstart.export.running.quantise FROM TO"""

from __future__ import annotations

import logging
import sys
from pathlib import Path


def main() -> None:
    """Weights to 8 bits, and what they are multiplied with while the file runs."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)  # it asks for a pass over the graph that has been made
    source, target = map(Path, sys.argv[1:3])
    # ONNX Runtime has no convolution of signed weights for processors
    quantize_dynamic(source, target, weight_type=QuantType.QUInt8)


if __name__ == "__main__":
    main()
