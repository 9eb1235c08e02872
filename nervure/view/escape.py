"""Names from users reach pages here, and only here: made visible, escaped, and under a policy that runs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

__all__ = ["asset", "document", "json_text", "mark_up", "visible"]


def visible(text: str) -> str:
    """The text with what is not seen written out: controls, line ends, marks that turn the direction of writing."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _code(ord(c)) for c in text)


def _code(point: int) -> str:
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def mark_up(text: str) -> str:
    """The visible text as HTML or XML, between tags or between quotes."""
    return escape(visible(text), quote=True)


_UNSAFE = re.compile("[<>&]")


def json_text(value: Any) -> str:
    """JSON that can stand in a script element: ASCII, without the signs that could end it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda m: f"\\u{ord(m.group()):04x}", text)


@cache
def asset(name: str) -> str:
    """A file beside this one."""
    return (Path(__file__).parent / name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def document(title: str, body: str, style: str, script: str = "", data: Any = None) -> str:
    """A page that asks nothing of any network and runs no script but its own.

    Args:
        title:  plain text
        body:   HTML, escaped already
        script: one script; its hash is the only one that the page's policy allows
        data:   for the script, as JSON in an element of its own
    """
    policy = [
        "default-src 'none'",
        f"style-src {_hash(style)}",
        f"script-src {_hash(script)}" if script else "script-src 'none'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(policy)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<link rel="icon" href="data:,">',
        f"<title>{mark_up(title)}</title>",
        f"<style>{style}</style>",
        "</head>",
        "<body>",
        body,
    ]
    if data is not None:
        parts.append(f'<script type="application/json" id="data">{json_text(data)}</script>')
    if script:
        parts.append(f"<script>{script}</script>")
    return "\n".join([*parts, "</body>", "</html>", ""])
