"""stub"""
from typing import Any
def expand_contracts(kernel: Any, target: Any) -> Any:
    return kernel
