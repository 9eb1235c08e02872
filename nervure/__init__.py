"""nervure: a compiler for neural networks.

The public names are imported on first use, so that ``import nervure`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import data
    from .backends.onnx import export_onnx
    from .compiling import compile
    from .descent import minimize
    from .frontend import init, nn, optim, preprocessing, svm
    from .frontend.branches import cond, while_loop
    from .frontend.derivatives import custom_vjp, remat, stop_gradient
    from .frontend.onnx import check_onnx, import_onnx
    from .frontend.random import seed
    from .frontend.scan import scan
    from .frontend.trace import trace
    from .frontend.tree_fold import tree_fold
    from .gradient import explain_grad, grad, value_and_grad
    from .ir.errors import NervureError
    from .ir.program import Program
    from .ir.text import load, save
    from .ir.text import parse_program as parse
    from .jacobians import hessian, jacobian
    from .native.build import build
    from .native.load import load_native
    from .pytorch import from_torch
    from .runtime.threads import get_num_threads, set_num_threads
    from .through_time import gradient_norms
    from .training import training_step

_WHERE = {
    "NervureError": ("ir.errors", "NervureError"),
    "Program": ("ir.program", "Program"),
    "check_onnx": ("frontend.onnx", "check_onnx"),
    "build": ("native.build", "build"),
    "compile": ("compiling", "compile"),
    "data": ("data", None),
    "custom_vjp": ("frontend.derivatives", "custom_vjp"),
    "explain_grad": ("gradient", "explain_grad"),
    "export_onnx": ("backends.onnx", "export_onnx"),
    "get_num_threads": ("runtime.threads", "get_num_threads"),
    "from_torch": ("pytorch", "from_torch"),
    "grad": ("gradient", "grad"),
    "hessian": ("jacobians", "hessian"),
    "import_onnx": ("frontend.onnx", "import_onnx"),
    "init": ("frontend.init", None),
    "jacobian": ("jacobians", "jacobian"),
    "load": ("ir.text", "load"),
    "load_native": ("native.load", "load_native"),
    "minimize": ("descent", "minimize"),
    "nn": ("frontend.nn", None),
    "optim": ("frontend.optim", None),
    "preprocessing": ("frontend.preprocessing", None),
    "parse": ("ir.text", "parse_program"),
    "remat": ("frontend.derivatives", "remat"),
    "save": ("ir.text", "save"),
    "svm": ("frontend.svm", None),
    "cond": ("frontend.branches", "cond"),
    "gradient_norms": ("through_time", "gradient_norms"),
    "scan": ("frontend.scan", "scan"),
    "set_num_threads": ("runtime.threads", "set_num_threads"),
    "tree_fold": ("frontend.tree_fold", "tree_fold"),
    "while_loop": ("frontend.branches", "while_loop"),
    "seed": ("frontend.random", "seed"),
    "stop_gradient": ("frontend.derivatives", "stop_gradient"),
    "trace": ("frontend.trace", "trace"),
    "training_step": ("training", "training_step"),
    "value_and_grad": ("gradient", "value_and_grad"),
}

__all__ = [
    "NervureError",
    "Program",
    "check_onnx",
    "build",
    "compile",
    "custom_vjp",
    "data",
    "explain_grad",
    "export_onnx",
    "get_num_threads",
    "from_torch",
    "grad",
    "hessian",
    "import_onnx",
    "init",
    "jacobian",
    "load",
    "load_native",
    "minimize",
    "nn",
    "optim",
    "parse",
    "preprocessing",
    "remat",
    "save",
    "cond",
    "gradient_norms",
    "scan",
    "tree_fold",
    "while_loop",
    "seed",
    "set_num_threads",
    "stop_gradient",
    "svm",
    "trace",
    "training_step",
    "value_and_grad",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"nervure has no {name}")
    module, attribute = _WHERE[name]
    found = import_module(f".{module}", __name__)
    value = found if attribute is None else getattr(found, attribute)
    globals()[name] = value
    _draw_in_notebooks()
    return value


def _draw_in_notebooks() -> None:
    """Whoever has used the door sees programs and graphs as pictures; what draws them is imported when it draws."""
    from .ir.display import DRAWN_BY

    DRAWN_BY.setdefault("html", lambda program: import_module(".view.page", __name__).program_html(program))
    DRAWN_BY.setdefault("svg", lambda graph: import_module(".view.svg", __name__).svg(graph))


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
