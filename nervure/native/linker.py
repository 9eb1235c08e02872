"""Who links: a C compiler's driver for the target, else the zig of the wheel ziglang."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..backends.llvm.target import Target, host_target
from ..ir.errors import BackendError

__all__ = ["Linker", "find_linker"]

_CROSS = {
    "aarch64-unknown-linux-gnu": "aarch64-linux-gnu-gcc",
    "x86_64-unknown-linux-gnu": "x86_64-linux-gnu-gcc",
    "riscv64-unknown-linux-gnu": "riscv64-linux-gnu-gcc",
    "x86_64-pc-windows-gnu": "x86_64-w64-mingw32-gcc",
}


@dataclass(frozen=True)
class Linker:
    """A compiler driver.

    Args:
        command: what it is called by
        target:  what it links for
        is_zig:  whether it is zig's
    """

    command: tuple[str, ...]
    target: Target
    is_zig: bool = False

    @property
    def name(self) -> str:
        """For messages."""
        return "zig cc" if self.is_zig else self.command[0]

    def shared(self, objects: list[Path], output: Path, name: str, threads: bool) -> None:
        """A shared library that exports what the object exports.

        Raises:
            BackendError: the linker failed; the message is its own
        """
        system = self.target.system
        if system == "wasm":
            self._run(["-nostdlib", "-Wl,--no-entry", "-Wl,--export-dynamic", *map(str, objects)], output)
            return
        flags = {"linux": [f"-Wl,-soname,{name}"], "macos": [f"-Wl,-install_name,@rpath/{name}"]}.get(
            system, []
        )
        self._run(["-shared", *flags, *map(str, objects), *self._libraries(threads)], output)

    def program(self, sources: list[Path], output: Path, threads: bool) -> None:
        """A program.

        Raises:
            BackendError: the compiler or linker failed
        """
        self._run(["-O2", "-std=c99", *map(str, sources), *self._libraries(threads)], output)

    def _libraries(self, threads: bool) -> list[str]:
        return [*([] if self.target.system == "windows" else ["-lm"]), *(["-pthread"] if threads else [])]

    def _run(self, arguments: list[str], output: Path) -> None:
        tail = {"linux": ["-Wl,--build-id=none"], "windows": ["-s"]}.get(self.target.system, [])
        command = [*self.command, *arguments, *tail, "-o", str(output)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", cwd=output.parent, check=False,
                env={"SOURCE_DATE_EPOCH": "0", **os.environ},
            )  # fmt: skip
        except OSError as error:
            raise BackendError(
                f"cannot run the linker {self.name}: {error.strerror}", code="NV0504"
            ) from error
        if done.returncode:
            lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
            raise BackendError(
                f"the linker {self.name} failed with code {done.returncode}",
                details=lines[-12:],
                code="NV0504",
            )


def find_linker(target: Target) -> Linker:
    """The linker for a target: $CC, cc, gcc or clang for this machine's kind, a cross gcc, or zig.

    Raises:
        BackendError: there is none
    """
    host = host_target()
    if target.triple == host.triple:
        chosen = shlex.split(os.environ.get("CC", ""))
        for command in ([*chosen], ["cc"], ["gcc"], ["clang"]):
            if command and shutil.which(command[0]):
                return Linker(tuple(command), target)
    cross = _CROSS.get(target.triple)
    if cross is not None and shutil.which(cross):
        return Linker((cross,), target)
    if find_spec("ziglang") is not None:
        return Linker(
            (sys.executable, "-m", "ziglang", "cc", "-target", _zig_target(target)), target, is_zig=True
        )
    raise BackendError(
        f"no linker for {target.triple}",
        hint="install a C compiler or nervure[build], or write --kind obj or static",
        code="NV0504",
    )


def _zig_target(target: Target) -> str:
    """Zig's name of the target; musl for Linux, so that programs need no library of the machine that runs them."""
    suffix = {
        "linux": "linux-musl",
        "windows": "windows-gnu",
        "macos": "macos",
        "wasm": "wasi-musl" if "wasi" in target.triple else "freestanding",
    }.get(target.system)
    if suffix is None:
        raise BackendError(f"no linker for {target.triple}", hint="write --kind obj or static", code="NV0504")
    return f"{target.arch}-{suffix}"
