"""The text form of programs: prints, parses, and prints again to the same bytes."""

from __future__ import annotations

from .files import load, save
from .parser import parse_program, parse_type
from .printer import print_graph, print_program

__all__ = ["load", "parse_program", "parse_type", "print_graph", "print_program", "save"]
