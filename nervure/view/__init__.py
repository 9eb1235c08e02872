"""Programs as pictures and pages: the layered drawing, SVG, DOT, Mermaid, and the page that shows a compilation."""

from __future__ import annotations

from .page import page, program_html
from .svg import svg
from .text import dot, mermaid

__all__ = ["dot", "mermaid", "page", "program_html", "svg"]
