"""``nervure cache``."""

from __future__ import annotations

import click

from .output import json_option, print_json


@click.command()
@click.argument("action", type=click.Choice(["info", "clear"]), default="info")
@json_option
def command(action: str, as_json: bool) -> None:
    """Say where compiled objects are kept and how many there are, or clear them."""
    from ..runtime.cache import cache_folder, clear, entries

    folder = cache_folder()
    found = entries()
    if action == "clear":
        removed = clear()
        result = {"folder": None if folder is None else str(folder), "removed": removed}
        text = f"removed {removed} objects"
    else:
        size = sum(bytes_ for _, bytes_ in found)
        result = {"folder": None if folder is None else str(folder), "objects": len(found), "bytes": size}
        where = "off (NERVURE_CACHE)" if folder is None else str(folder)
        text = f"folder   {where}\nobjects  {len(found)}\nbytes    {size}"
    if as_json:
        print_json(result)
    else:
        click.echo(text)
