"""Exported files run in a process of their own: torch is slow in one where ONNX Runtime has run."""
