"""Real ONNX models with damage: bytes flipped, cut, moved; fields of the parsed model set to what they should not be."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx_suite import Score, load_cases

__all__ = ["Mutant", "judge", "mutants", "seeds"]

SECONDS = 1.0
"""CPU time that a mutant may take; the limit is for one that is refused and one that is imported alike."""

BYTES = 256 << 20
"""Growth of the process's memory that a mutant may cause."""

EXTREMES = (-(1 << 63), -(1 << 31), -17, -1, 0, 1, 2, 3, 64, 255, 1 << 16, 1 << 31, 1 << 34, (1 << 63) - 1)
WORDS = ("", "x", "y", "Loop", "If", "Conv", "Reshape", "ConstantOfShape", "Range", "\0", "../x", "a" * 3000)


def seeds() -> dict[str, bytes]:
    """Models to start from: those of PyTorch and of networks in the onnx wheel, and every op's cases, in which integer
    inputs are known: shapes, axes and pads are there to be damaged."""
    found: dict[str, bytes] = {}
    for case in load_cases(["pytorch-operator", "pytorch-converted", "simple", "light"]):
        data = case.model.SerializeToString()
        if len(data) < 300_000:
            found[case.name] = data
    for case in load_cases(["node"]):
        if not case.is_expanded and len(case.model.SerializeToString()) < 50_000:
            model = onnx.ModelProto()
            model.CopyFrom(case.model)
            for name, array in zip([i.name for i in model.graph.input], case.sets[0][0], strict=False):
                if hasattr(array, "dtype") and array.dtype.kind in "iub":
                    model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
            found[case.name] = model.SerializeToString()
    return found


@dataclass(frozen=True)
class Mutant:
    """One damaged model, made where it is needed.

    Args:
        name: of the model that it comes from, and the number
    """

    name: str
    seed: int
    data: bytes
    others: tuple[bytes, ...]

    def bytes(self) -> bytes:
        """The damaged file."""
        rng = random.Random(self.seed)
        if rng.random() < 0.5:
            return _bytes(rng, self.data, self.others)
        model = onnx.ModelProto.FromString(self.data)
        for _ in range(rng.choice((1, 1, 2, 5))):
            _field(rng, model)
        data = model.SerializeToString()
        return data if rng.random() < 0.9 else _bytes(rng, data, self.others)


def mutants(models: dict[str, bytes], count: int, start: int = 0) -> list[Mutant]:
    """So many, the same for the same numbers and models."""
    names, pool = sorted(models), tuple(models.values())
    made: list[Mutant] = []
    for k in range(start, start + count):
        name = names[random.Random(-1 - k).randrange(len(names))]
        made.append(Mutant(f"{name}#{k}", k, models[name], pool))
    return made


def judge(mutant: Mutant, importer: Callable[[bytes], Any]) -> Score:
    """Import a mutant here: a pass if it is imported or refused with one error of nervure, soon and in little memory."""
    from nervure.ir.errors import NervureError

    data = mutant.bytes()
    start, before = time.process_time(), _peak()
    message, status = "", "pass"
    try:
        importer(data)
    except NervureError as error:
        message = str(error)
    except Exception as error:
        status, message = "error", _where(error)
    taken, grown = time.process_time() - start, _peak() - before
    if status == "pass" and taken > SECONDS:
        status, message = "timeout", f"{taken:.2f} s: {message}"
    if status == "pass" and grown > BYTES:
        status, message = "error", f"{grown >> 20} MB: {message}"
    return Score(status, message, taken)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _where(error: BaseException) -> str:
    import traceback

    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " < ".join(f"{f.filename.rpartition('/')[2]}:{f.lineno}" for f in reversed(frames))
    return f"{type(error).__name__}: {str(error)[:200]} at {places}"


def _bytes(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Damage to the file."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(found) + 1)
        size = rng.choice((1, 2, 8, 100))
        kind = rng.randrange(7)
        if kind == 0 and found:
            found[at % len(found)] ^= 1 << rng.randrange(8)
        elif kind == 1 and found:
            found[at % len(found)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            del found[at : at + size]
        elif kind == 3:
            found[at:at] = found[at : at + size]
        elif kind == 4:
            found[at:at] = rng.randbytes(size)
        elif kind == 5:
            other = rng.choice(others)
            place = rng.randrange(len(other))
            found[at : at + size] = other[place : place + size]
        elif rng.random() < 0.2:
            del found[at:]
    return bytes(found)


def _field(rng: random.Random, model: Any) -> None:
    """Damage to one field of the parsed model."""
    message = model
    while True:
        inner = [
            (f, value)
            for f, value in message.ListFields()
            if f.message_type is not None and not isinstance(value, (int, float, str, bytes))
        ]
        if not inner or (message is not model and rng.random() < 0.3):
            break
        f, value = rng.choice(inner)
        repeated = not hasattr(value, "ListFields")
        if repeated and rng.random() < 0.15:
            _shuffle(rng, value)
            return
        message = rng.choice(list(value)) if repeated else value
    fields = [f for f in message.DESCRIPTOR.fields if f.message_type is None]
    if not fields:
        return
    present = [f for f, _ in message.ListFields() if f.message_type is None]
    f = rng.choice(present if present and rng.random() < 0.8 else fields)
    old = getattr(message, f.name)
    try:
        if hasattr(old, "append"):
            _items(rng, old, f)
        elif rng.random() < 0.1:
            message.ClearField(f.name)
        else:
            setattr(message, f.name, _value(rng, f, old))
    except (ValueError, TypeError):
        pass  # out of the field's own range


def _shuffle(rng: random.Random, repeated: Any) -> None:
    kind = rng.randrange(3)
    k = rng.randrange(len(repeated))
    if kind == 0:
        del repeated[k]
    elif kind == 1:
        repeated.append(repeated[k])
    else:
        kept = list(repeated)
        rng.shuffle(kept)
        copies = [type(m).FromString(m.SerializeToString()) for m in kept]
        del repeated[:]
        repeated.extend(copies)


def _items(rng: random.Random, old: Any, f: Any) -> None:
    if len(old) and rng.random() < 0.6:
        old[rng.randrange(len(old))] = _value(rng, f, old[0])
    elif len(old) and rng.random() < 0.4:
        del old[rng.randrange(len(old))]
    else:
        old.append(_value(rng, f, old[0] if len(old) else None))


def _value(rng: random.Random, f: Any, old: Any) -> Any:
    kinds = {
        f.CPPTYPE_FLOAT: "float",
        f.CPPTYPE_DOUBLE: "float",
        f.CPPTYPE_STRING: "text",
        f.CPPTYPE_BOOL: "bool",
    }
    kind = kinds.get(f.cpp_type, "int")
    if kind == "float":
        return rng.choice((0.0, -1.0, 1e38, 1e-38, float("nan"), float("inf"), rng.uniform(-4, 4)))
    if kind == "text":
        if f.type == f.TYPE_BYTES:
            return rng.choice((b"", b"\xff\xfe", bytes(8), b"SAME_UPPER", rng.randbytes(16)))
        return rng.choice(WORDS)
    if kind == "bool":
        return rng.random() < 0.5
    return rng.choice((*EXTREMES, rng.randrange(32), (old or 0) + 1, (old or 0) * 2))
