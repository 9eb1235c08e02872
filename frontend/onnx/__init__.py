"""ONNX models as programs."""

from __future__ import annotations
