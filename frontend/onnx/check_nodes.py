"""Whether a node is as the specification of its op says: how many inputs and outputs, which attributes, of which type."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from ...ir.errors import InputError

__all__ = ["check_node", "check_opsets"]


def check_opsets(imports: Any, who: str) -> dict[str, int]:
    """The versions of domains that a model or a function imports.

    Raises:
        InputError: a version that the installed onnx does not know, or two of one domain
    """
    from onnx.defs import onnx_opset_version

    seen: dict[str, int] = {}
    for stated in imports:
        domain = own_domain(stated.domain)
        if not isinstance(domain, str):
            raise InputError(f"{who}: a domain that is no UTF-8 text: {stated.domain[:40]!r}")
        if seen.setdefault(domain, stated.version) != stated.version:
            raise InputError(
                f"{who} imports the domain {domain!r} in versions {seen[domain]} and {stated.version}"
            )
        if stated.version < 1:
            raise InputError(f"{who} imports opset {stated.version} of the domain {domain!r}")
    if seen.get("", 1) > onnx_opset_version():
        raise InputError(
            f"{who} imports opset {seen['']}, the installed onnx knows opsets up to {onnx_opset_version()}",
            hint="install a newer onnx",
        )
    return seen


def check_node(node: Any, who: str, versions: Mapping[str, int]) -> None:
    """Refuse a node of a known op that its specification does not allow. Attributes that it does not know are let pass.

    Args:
        who:      the node, for messages
        versions: of the domains, as from `check_opsets`

    Raises:
        InputError: a required input or attribute is missing, there are too many, or an attribute has another type
    """
    domain = own_domain(node.domain)
    if domain not in versions or versions[domain] > 1 << 20:
        return
    schema = _schema(node.op_type, versions[domain], domain)
    if schema is None:
        return
    given = len(node.input)
    while given and not node.input[given - 1]:
        given -= 1
    if not schema.min_input <= given <= schema.max_input:
        raise InputError(f"{who}: {_count(given, 'input')}, {_expected(schema.min_input, schema.max_input)}")
    for k, parameter in enumerate(schema.inputs):
        if parameter.option.name == "Single" and k < given and not node.input[k]:
            raise InputError(f"{who}: input {k} ({parameter.name}) is left out")
    if len(node.output) > schema.max_output:
        raise InputError(
            f"{who}: {_count(len(node.output), 'output')}, {_expected(schema.min_output, schema.max_output)}"
        )
    stated = {a.name: a for a in node.attribute}
    for name, rule in schema.attributes.items():
        found = stated.get(name)
        if found is None:
            if rule.required:
                raise InputError(f"{who}: attribute {name!r} is missing")
        elif found.type != rule.type.value and not found.ref_attr_name:
            raise InputError(
                f"{who}: attribute {name!r} has type {found.type}, expected {rule.type.name.lower()}"
            )


def own_domain(domain: Any) -> Any:
    """ONNX's own domain has two names."""
    return "" if domain == "ai.onnx" else domain


def _count(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def _expected(low: int, high: int) -> str:
    if low == high:
        return f"expected {low}"
    return f"expected {low} to {high}" if high < 1 << 20 else f"expected at least {low}"


@lru_cache(4096)
def _schema(op: str, version: int, domain: str) -> Any:
    from onnx import defs

    try:
        found = cast(Any, defs).get_schema(op, version, domain)
    except defs.SchemaError:
        return None
    return None if found.deprecated else found
