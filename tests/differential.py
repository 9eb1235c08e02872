"""How far two honest evaluations of a program may differ: the library's yardstick, under the names that tests use."""

from __future__ import annotations

from nervure.inspect.movement import Results, reference
from nervure.inspect.tolerance import Agreement as Verdict
from nervure.inspect.tolerance import Yardstick, promote_program, tolerance

__all__ = ["Results", "Verdict", "Yardstick", "promote_program", "reference", "tolerance"]
