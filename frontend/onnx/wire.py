"""The protobuf encoding of a model, walked once before it is parsed: what a parser would allocate is known beforehand.

A file of two-byte empty messages grows fifty-fold when it is parsed, and a parser's error says nothing of where. The
walk allocates nothing that the file's size does not bound, and its errors give the byte and the path of the field.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from ...ir.errors import InputError

__all__ = ["MAX_DEPTH", "MAX_FIELDS", "MAX_MESSAGES", "walk_wire"]

MAX_DEPTH = 96
"""Messages within messages; the protobuf library itself stops at 100. A subgraph takes three."""

MAX_MESSAGES = 1 << 19
"""Nodes, attributes, tensors, types and their kin in one file; parsed, each takes about 150 bytes."""

MAX_FIELDS = 1 << 21
"""Fields of all messages; the walk takes about a third of a microsecond each."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Messages = dict[int, tuple[str, "Messages"]]
"""Of a message type: the fields that are messages themselves, by number."""


def walk_wire(data: bytes, label: str) -> None:
    """Refuse bytes that are no whole ModelProto, or whose parsed form would be out of proportion.

    Args:
        label: the file's name, for messages

    Raises:
        InputError: truncated, damaged, too deep, too many messages; it names the byte and the field
    """
    fields, pos, end = _messages_of_model(), 0, len(data)
    # one entry a message that is being walked: its fields, its end, the path's name of it, how often each field came
    outer: list[tuple[Messages, int]] = []
    path: list[tuple[str, int]] = []
    counts: list[dict[int, int]] = [{}]
    messages = steps = 0

    def fault(reason: str, what: str = "damaged ONNX model") -> InputError:
        where = ".".join(name if k == 0 else f"{name}[{k}]" for name, k in path)
        inside = f" in {where}" if where else ""
        return InputError(
            f"{label}: {what}: {reason} at byte {pos} of {len(data)}{inside}",
            hint=_other_format(data),
        )

    while True:
        if pos == end:
            if not outer:
                return
            fields, end = outer.pop()
            path.pop()
            counts.pop()
            continue
        steps += 1
        if steps > MAX_FIELDS:
            raise fault(f"more than {MAX_FIELDS:,} fields", "refused")
        start = pos
        tag = data[pos]
        pos += 1
        if tag >= 0x80:
            tag, pos = _varint(data, start, end)
        if pos < 0 or pos > end:
            pos = start
            raise fault("the number of a field that does not end")
        kind, number = tag & 7, tag >> 3
        if number == 0:
            pos = start
            raise fault("field number 0")
        if kind == _VARINT:
            _, pos = _varint(data, pos, end)
        elif kind == _FIXED64:
            pos += 8
        elif kind == _FIXED32:
            pos += 4
        elif kind == _BYTES:
            size, pos = _varint(data, pos, end)
            inner = fields.get(number)
            if pos >= 0 and pos + size > end:
                found, pos = end - pos, start
                raise fault(f"a field of {size} bytes of which {found} are there")
            if inner is None or pos < 0:
                pos = pos + size if pos >= 0 else pos
            else:
                messages += 1
                name, inner_fields = inner
                index = counts[-1][number] = counts[-1].get(number, -1) + 1
                path.append((name, index))
                if messages > MAX_MESSAGES:
                    raise fault(f"more than {MAX_MESSAGES:,} messages", "refused")
                if len(path) > MAX_DEPTH:
                    path = [*path[:9], ("...", 0)]
                    raise fault(f"messages nested more than {MAX_DEPTH} deep", "refused")
                outer.append((fields, end))
                counts.append({})
                fields, end = inner_fields, pos + size
        else:
            pos = start
            raise fault(f"wire type {kind}")
        if pos < 0 or pos > end:
            pos = start
            raise fault("a field that does not end")


def _varint(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """A number of at most ten bytes and where it ends; -1 where it does not."""
    value = shift = 0
    while pos < end and shift < 70:
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, pos
        shift += 7
    return 0, -1


@cache
def _messages_of_model() -> Messages:
    from onnx import ModelProto

    known: dict[str, Messages] = {}

    def messages(descriptor: Any) -> Messages:
        if descriptor.full_name not in known:
            own = known[descriptor.full_name] = {}
            for field in descriptor.fields:
                if field.message_type is not None:
                    own[field.number] = (field.name, messages(field.message_type))
        return known[descriptor.full_name]

    return messages(ModelProto.DESCRIPTOR)


def _other_format(data: bytes) -> str | None:
    """What the file is instead of an ONNX model, where its first bytes say."""
    if data.startswith(b"PK\x03\x04"):
        return "it is a zip archive, as torch.save writes: export the model with torch.onnx.export"
    if data.startswith(b"\x89HDF"):
        return "it is an HDF5 file, as Keras writes: convert it with tf2onnx"
    if data[8:9] == b"{" and data[:8].endswith(b"\0\0"):
        return "it is a safetensors file: weights without a model; load them with load_state_dict"
    if data[4:8] == b"TFL3":
        return "it is a TensorFlow Lite model: convert it with tf2onnx"
    if data.startswith(b"version https://git-lfs"):
        return "it is a pointer of git-lfs: run git lfs pull"
    if all(0x20 <= c < 0x7F or c in b"\t\r\n" for c in data[:256]):
        return "it is text"
    return None
