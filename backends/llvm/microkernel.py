"""stub"""
from typing import Any
def emit_call(emitter: Any, s: Any) -> None:
    raise NotImplementedError
