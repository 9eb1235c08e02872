"""C identifiers for the names of a program; each is used once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..ir.errors import InputError

__all__ = ["c_names", "check_prefix", "prefix_of"]

_RESERVED = frozenset(
    """
    auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
    alignas alignof bool constexpr false nullptr static_assert thread_local true typeof typeof_unqual
    and and_eq asm bitand bitor catch class compl concept const_cast consteval constinit co_await co_return co_yield
    decltype delete dynamic_cast explicit export friend mutable namespace new noexcept not not_eq operator or or_eq private
    protected public reinterpret_cast requires static_cast template this throw try typeid typename using virtual wchar_t
    xor xor_eq char8_t char16_t char32_t main errno linux unix NULL NAN INFINITY I
    """.split()  # noqa: SIM905 -- a list of words reads better as words
)
"""Keywords of C and C++, and macros that the usual headers define."""

_ARGUMENTS = ("arena", "arena_bytes", "state", "weights", "weights_bytes", "threads", "index")


def check_prefix(prefix: str) -> str:
    """The prefix of a library's names.

    Raises:
        InputError: it is no C identifier, a keyword, or reserved
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", prefix) or len(prefix) > 100:
        raise InputError(f"prefix {prefix!r} is no C identifier of letters, digits and _, of at most 100")
    if prefix in _RESERVED or prefix.startswith(("nv_", "llvm_")):
        raise InputError(f"prefix {prefix} is taken: it is a word of C or of what is inside a library")
    return prefix


def prefix_of(stem: str) -> str:
    """A prefix from the stem of a file's name; `lib` before a library's name is left out."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", stem.removeprefix("lib") or stem).strip("_")[:80]
    if not plain or not plain[0].isalpha() or plain in _RESERVED or plain.startswith(("nv_", "llvm_")):
        plain = f"model_{plain}".rstrip("_")
    return plain


def c_names(names: Iterable[str], taken: Sequence[str] = ()) -> list[str]:
    """An identifier for each name, near to it; no two are the same, none is taken, a keyword, or an argument of ours.

    Args:
        taken: identifiers that are in use
    """
    used = {*taken, *_ARGUMENTS, *_RESERVED}
    found: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")[:80]
        if not plain or not plain[0].isalpha():
            plain = f"v{plain}"
        chosen, k = plain, 1
        while chosen in used:
            k += 1
            chosen = f"{plain}_{k}"
        used.add(chosen)
        found.append(chosen)
    return found
