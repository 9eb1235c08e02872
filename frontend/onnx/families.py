"""The files of the table, one a family of ops; importing them fills it."""

from __future__ import annotations

from importlib import import_module

__all__ = ["FAMILIES", "load"]

FAMILIES = (
    "activations",
    "constants",
    "contractions",
    "control",
    "einsum",
    "images",
    "indexing",
    "maps",
    "movement",
    "norms",
    "pools",
    "quantized",
    "random",
    "recurrent",
    "reductions",
    "resize",
)


def load() -> None:
    """Fill the table."""
    for family in FAMILIES:
        import_module(f".ops_{family}", __package__)
