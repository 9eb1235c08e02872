"""What a build says about itself: JSON in its bytes, found by a magic whatever the format of the file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, cast

from ..backends.llvm.target import Target
from ..ir.errors import InputError
from .interface import Interface

__all__ = ["FORMAT", "METADATA_HEAD", "describe", "pack_metadata", "metadata_text", "read_metadata"]

FORMAT = 1
_MAGIC = b"\nNERVURE METADATA\n"
METADATA_HEAD = len(_MAGIC) + 24
"""Bytes before the JSON: the magic, its length, its checksum."""
_LIMIT = 1 << 30


def describe(
    interface: Interface, target: Target, *, version: str, llvm: str, pipeline: str, level: int, ir: str
) -> dict[str, Any]:
    """The metadata of a build."""
    i = interface
    return {
        "format": FORMAT,
        "nervure": version,
        "llvm": llvm,
        "prefix": i.prefix,
        "target": {
            "triple": target.triple,
            "cpu": target.cpu,
            "features": target.features,
            "vector_bytes": target.vector_bytes,
            "fma": target.fma,
        },
        "level": level,
        "pipeline": pipeline,
        "symbols": [{"name": s.name, "lo": s.lo, "hi": s.hi} for s, _ in i.symbols],
        "inputs": [{"name": a.name, "type": str(a.type)} for a in i.inputs],
        "outputs": [{"name": a.name, "type": str(a.type)} for a in i.outputs],
        "ranges": [list(r) for r in i.ranges],
        "weights": {
            "place": "file" if i.side_file else "rodata",
            "bytes": i.weights_bytes,
            "digest": i.weights_digest,
        },
        "state": {
            "bytes": i.state_bytes,
            "entries": [
                {
                    "name": e.name,
                    "type": str(e.type),
                    "kind": e.kind,
                    "trainable": e.trainable,
                    "offset": e.offset,
                }
                for e in i.state
            ],
        },
        "arena_bytes": i.arena,
        "threads": i.threads,
        "ir": ir,
    }


def pack_metadata(found: dict[str, Any]) -> bytes:
    """The bytes of NAME_metadata: magic, length of 8 bytes, 16 bytes of checksum, JSON, 0."""
    body = json.dumps(found, ensure_ascii=True, separators=(",", ":")).encode()
    return _MAGIC + len(body).to_bytes(8, "little") + _checksum(body) + body + b"\0"


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


def read_metadata(path: Path) -> dict[str, Any]:
    """What a build says about itself; the file is only read.

    Raises:
        InputError: the file cannot be read, or nervure did not make it
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", code="NV0304") from error
    at = -1
    while (at := data.find(_MAGIC, at + 1)) >= 0:
        start = at + METADATA_HEAD
        size = int.from_bytes(data[start - 24 : start - 16], "little")
        body = data[start : start + size]
        if size <= _LIMIT and len(body) == size and _checksum(body) == data[start - 16 : start]:
            return _parsed(path, body)
    raise InputError(f"{path} is no build of nervure, or it is damaged", code="NV0505")


def _parsed(path: Path, body: bytes) -> dict[str, Any]:
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} has metadata that cannot be read: {error}", code="NV0505") from error
    number: Any = cast(dict[str, Any], found).get("format") if isinstance(found, dict) else None
    if number != FORMAT:
        raise InputError(f"{path} has metadata of format {number}, expected {FORMAT}", code="NV0505")
    return cast(dict[str, Any], found)


def metadata_text(found: dict[str, Any]) -> str:
    """The metadata for people."""
    target, weights, state = found["target"], found["weights"], found["state"]
    arena = found["arena_bytes"]
    rows = [
        ("made by", f"nervure {found['nervure']}, {found['llvm']}"),
        ("target", f"{target['triple']} {target['cpu']}, vectors of {target['vector_bytes']} bytes"),
        ("pipeline", f"-O{found['level']}: {found['pipeline']}"),
        ("prefix", found["prefix"]),
        *(("symbol", f"{s['name']} in {s['lo']}..{s['hi']}") for s in found["symbols"]),
        *(("input", f"{a['name']}: {a['type']}") for a in found["inputs"]),
        *(("output", f"{a['name']}: {a['type']}") for a in found["outputs"]),
        ("weights", f"{weights['bytes']} bytes in {weights['place']}, digest {weights['digest'][:16]}"),
        *(("state", f"@{e['name']}: {e['type']} at {e['offset']}") for e in state["entries"]),
        ("threads", "1 to 256" if found["threads"] else "1"),
        ("arena", "by the sizes" if arena is None else f"{arena} bytes"),
    ]
    return "\n".join([*(f"{name:9} {text}" for name, text in rows), "", found["ir"]])
