"""The ONNX backend: programs as ONNX models, run by onnxruntime or exported to a file."""

from __future__ import annotations

from .backend import OnnxBackend
from .export import export_onnx, onnx_model

__all__ = ["OnnxBackend", "export_onnx", "onnx_model"]
