"""What ``trace``, ``compile``, ``export``, ``view`` and ``explain`` write and say as JSON; code for other machines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_trace_takes_types_as_input_too_and_says_what_the_program_has(nervure: Run) -> None:
    found = nervure("trace", "net.py:pair", "--input", "x=f32[B,2]", "--json").json
    assert found["inputs"] == [{"name": "x", "type": "f32[B,2]"}]
    assert found["symbols"] == [{"name": "B", "low": 1, "high": 4096}]
    assert found["ops"]["mul"] == 1
    assert found["program"].startswith("nervure 1\nprogram pair {")
    written = nervure("trace", "net.py:Net", "-o", "net.nv", "--json").json
    assert written["file"] == "net.nv" and written["program"] is None
    assert [e["name"] for e in written["entries"]] == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize(
    ("target", "machine", "magic"),
    [
        ("aarch64-linux", "aarch64-unknown-linux-gnu:generic", b"\x7fELF"),
        ("x86_64-windows:haswell", "x86_64-pc-windows-gnu:haswell", b"d\x86"),
        ("wasm32", "wasm32-unknown-unknown:generic", b"\0asm"),
    ],
)
def test_an_object_for_another_machine_is_written(
    nervure: Run, target: str, machine: str, magic: bytes
) -> None:
    ran = nervure("compile", "net.py:Net", "--emit", "obj", "--target", target, "-o", "net.o", "--json")
    assert ran.code == 0, ran.err
    content = Path("net.o").read_bytes()
    assert content.startswith(magic)
    assert ran.json["target"] == machine and ran.json["bytes"] == len(content)


def test_the_assembly_and_llvm_text_of_another_machine_are_its_own(nervure: Run) -> None:
    given = ("compile", "net.py:Net", "--target", "aarch64-linux")
    assert "fmla" in nervure(*given, "--emit", "asm").out
    assert "define" in nervure(*given, "--emit", "llvm", "--json").json["text"]
    assert "kernel" in nervure(*given, "--emit", "kernels").out
    assert "ymm" in nervure("compile", "net.py:Net", "--target", "haswell", "--emit", "asm").out


def test_an_onnx_stage_needs_no_backend_to_be_named(nervure: Run) -> None:
    found = nervure("compile", "net.py:Net", "--emit", "onnx", "-o", "stage.onnx", "--json").json
    assert found["backend"] == "onnx" and Path("stage.onnx").stat().st_size == found["bytes"]


def test_export_says_what_the_file_has(nervure: Run) -> None:
    found = nervure("export", "net.py:Net", "-o", "net.onnx", "--opset", "18", "--json").json
    assert (found["opset"], found["file"]) == (18, "net.onnx") and found["onnx_nodes"] >= 1


def test_view_and_a_code_print_json(nervure: Run) -> None:
    found = nervure("view", "net.py:Net", "-o", "net.svg", "--json").json
    assert found == {"file": "net.svg", "kind": "svg", "bytes": Path("net.svg").stat().st_size}
    assert nervure("explain", "nv0603", "--json").json["title"] == "a label or index is outside its range"


@pytest.mark.parametrize("target", [(), ("--target", "haswell")])
def test_winograd_is_a_choice(nervure: Run, target: tuple[str, ...]) -> None:
    Path("wide.py").write_text("from nervure import nn\nnet = nn.Conv2d(64, 64, 3, padding=1)\n")
    make = ("compile", "wide.py:net", "--type", "f32[1,64,28,28]", "--emit", "kernels", *target)
    assert "winograd" in nervure(*make).out
    assert "winograd" not in nervure(*make, "--winograd", "off").out
    assert nervure(*make, "--winograd", "perhaps").code == 2


def test_winograd_is_for_one_backend(nervure: Run) -> None:
    ran = nervure("compile", "net.py:Net", "--backend", "onnx", "--winograd", "off")
    assert ran.code == 2 and "--winograd is for the llvm backend, not for onnx" in ran.err


def test_a_build_may_do_without_winograd(nervure: Run) -> None:
    Path("wide.py").write_text("from nervure import nn\nnet = nn.Conv2d(64, 64, 3, padding=1)\n")
    sizes = []
    for choice in ("auto", "off"):
        make = (
            "build",
            "wide.py:net",
            "--type",
            "f32[1,64,28,28]",
            "-o",
            f"{choice}.o",
            "--winograd",
            choice,
        )
        assert nervure(*make).code == 0
        sizes.append(Path(f"{choice}.o").read_bytes().count(b"winograd"))
    assert sizes[0] > 0 == sizes[1]


@pytest.mark.parametrize(
    ("target", "tile"),
    [((), ""), (("--target", "haswell"), "4x3x8"), (("--target", "aarch64-linux"), "8x2x4")],
)
def test_the_dump_says_the_schedule_of_every_product(
    nervure: Run, target: tuple[str, ...], tile: str
) -> None:
    given = ("compile", "mlp", "--type", "f32[64,784]", "--emit", "kernels")
    dump = nervure(*given, *target).out
    assert dump.count("  contract ") == dump.count("  } schedule ") > 0
    assert f"}} schedule {tile}" in dump
