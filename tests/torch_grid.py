"""Comparing a layer or a function here with PyTorch's: results, and gradients by inputs and parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import nervure as nv
from nervure import nn

RUNS = [("reference", "f64"), ("llvm", "f64"), ("llvm", "f32"), ("onnx", "f32")]
"""Backend and element type."""

KINDS = {"f64": np.float64, "f32": np.float32}


def pair(name: str, args: Any, options: dict[str, Any], dtype: str, seed: int = 0) -> tuple[Any, Any]:
    """A layer here and in PyTorch, of the same weights, none of which is 0 or 1."""
    theirs = getattr(torch.nn, name)(*args, **options).to(
        getattr(torch, {"f64": "float64", "f32": "float32"}[dtype])
    )
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in theirs.parameters():
            values = rng.uniform(0.2, 1.2, tuple(parameter.shape)) * rng.choice(
                [-1, 1], tuple(parameter.shape)
            )
            parameter.copy_(torch.from_numpy(values))
    wanted = dict(theirs.state_dict())
    try:
        ours = getattr(nn, name)(*args, dtype=dtype, **options)
    except TypeError:
        assert not wanted, f"{name} has weights and takes no dtype"
        ours = getattr(nn, name)(*args, **options)
    found = {key: (array.shape, str(array.dtype)) for key, array in ours.state_dict().items()}
    assert found == {key: (tuple(t.shape), str(t.numpy().dtype)) for key, t in wanted.items()}
    ours.load_state_dict({key: t.numpy() for key, t in wanted.items()})
    return ours, theirs


def agree(
    ours: Any, theirs: Any, arrays: list[Any], backend: str, dtype: str, *, training: bool = True
) -> None:
    """Results and gradients are PyTorch's: f64 to 1e-9, f32 to 1e-4 of the largest."""
    arrays = [a.astype(KINDS[dtype]) if a.dtype.kind == "f" else a for a in map(np.asarray, arrays)]
    held = dict(ours.named_parameters()) if isinstance(ours, nn.Module) else {}
    leaves = [torch.from_numpy(a.copy()).requires_grad_(a.dtype.kind == "f") for a in arrays]
    outputs = theirs(*leaves)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    slope = np.random.default_rng(3).normal(size=tuple(outputs[0].shape)).astype(KINDS[dtype])
    weights = [p for _, p in theirs.named_parameters()] if isinstance(theirs, torch.nn.Module) else []
    by = [leaf for leaf in leaves if leaf.requires_grad] + weights
    (outputs[0] * torch.from_numpy(slope)).sum().backward()
    wanted = [o.detach().numpy() for o in outputs] + [leaf.grad.numpy() for leaf in by]

    inputs = [*arrays, *(p.data for p in held.values())]
    places = [k for k, a in enumerate(inputs) if a.dtype.kind == "f"]

    def run(*tensors: Any) -> Any:
        results: list[Any] = []

        def loss(*given: Any) -> Any:
            with_weights(ours, dict(zip(held, given[len(arrays) :], strict=True)))
            found = ours(*given[: len(arrays)])
            results.extend(found if isinstance(found, tuple) else (found,))
            return (results[0] * slope).sum()

        _, slopes = nv.value_and_grad(loss, places)(*tensors)
        return *results, *slopes

    found = nv.compile(run, *inputs, backend=backend)(*inputs)
    for k, (got, want) in enumerate(zip(found, wanted, strict=True)):
        assert got.shape == want.shape, k
        largest = np.abs(want).max(initial=0)
        rtol, atol = (1e-9, 1e-12 * largest) if dtype == "f64" else (0, 1e-4 * largest + 1e-30)
        np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, err_msg=f"result {k}")


def with_weights(module: Any, weights: dict[str, Any]) -> None:
    """Put tensors where the parameters stood, to differentiate by them."""
    for path, tensor in weights.items():
        *above, name = path.split(".")
        holder = module
        for part in above:
            holder = getattr(holder, part)
        object.__setattr__(holder, name, tensor)


def normal(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(size=shape)
