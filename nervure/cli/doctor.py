"""``nervure doctor``."""

from __future__ import annotations

import click

from .output import json_option, print_json, print_table


@click.command()
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Check Python, packages, backends and the cache; exit code 1 if something that is needed fails."""
    from ..inspect.doctor import checkup

    found = checkup()
    if as_json:
        print_json([{"check": c.name, "ok": c.ok, "found": c.found, "hint": c.hint} for c in found])
    else:
        marks = {True: "ok", False: "FAILS", None: "-"}
        print_table(
            ("check", "", "found"),
            [(c.name, marks[c.ok], c.found + (f"; {c.hint}" if c.hint else "")) for c in found],
        )
    if any(c.ok is False for c in found):
        ctx.exit(1)
