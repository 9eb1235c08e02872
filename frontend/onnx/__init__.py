"""ONNX models as programs: `import_onnx`, and the report of what a model has that cannot be imported."""

from __future__ import annotations

from .importer import check_onnx, import_onnx
from .report import ImportReport, OnnxImportError, Refusal

__all__ = ["ImportReport", "OnnxImportError", "Refusal", "check_onnx", "import_onnx"]
