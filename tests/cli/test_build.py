"""``nervure build`` and ``nervure inspect``."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nervure as nv


def test_a_model_becomes_a_library_and_says_what_it_is(nervure: Callable[..., Any]) -> None:
    done = nervure("build", "net.py:Net", "-o", "net.a", "--target", "aarch64-linux:cortex-a72", "--json")
    assert done.json == {
        "files": ["net.h", "net.a"], "target": "aarch64-unknown-linux-gnu", "cpu": "cortex-a72",
    }  # fmt: skip
    said = nervure("inspect", "net.a")
    assert said.code == 0 and "cortex-a72" in said.out and "input     x: f32[B,4]" in said.out
    assert nervure("inspect", "net.a", "--json").json["prefix"] == "net"
    Path("net.nv").write_text(nervure("inspect", "net.a", "--ir").out)
    assert nervure("opt", "net.nv", "--passes", "dce").code == 0


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")
def test_a_program_and_a_library_run(nervure: Callable[..., Any]) -> None:
    done = nervure("build", "net.py:total", "-o", "total")
    assert done.code == 0 and done.out.startswith("total  ")
    np.save("x.npy", np.float32([1, 2, 3]))
    subprocess.run(["./total", "x.npy", "x.npy", "-o", "y.npy"], check=True)
    assert np.load("y.npy").tolist() == [2, 4, 6]
    files = nervure(
        "build", "net.py:Net", "-o", "libnet.so", "--weights", "file", "--threads", "--example"
    ).out
    assert [line.split()[0] for line in files.splitlines()] == [
        "net.h", "net.weights", "net_example/main.c", "net_example/CMakeLists.txt", "libnet.so",
    ]  # fmt: skip
    assert nv.load_native("libnet.so")(np.ones((2, 4), np.float32)).shape == (2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("net.py:Net",), "missing option '-o'"),
        (("net.py:Net", "-o", "a.o", "--target", "hasswell"), "did you mean haswell"),
        (("net.py:Net", "-o", "net.py/a.o"), "net.py is no folder"),
        (("net.py:Net", "-o", "a.xyz"), "give --kind so|obj|static|exe"),
        (("net.py:Net", "-o", "a.o", "--weights", "heap"), "'heap' is not one of"),
        (("gone.nv", "-o", "a.o"), "cannot read gone.nv"),
    ],
)
def test_wrong_use_is_said(nervure: Callable[..., Any], arguments: tuple[str, ...], message: str) -> None:
    done = nervure("build", *arguments)
    assert done.code == 2 and message in done.err
    assert not [f for f in Path().iterdir() if f.name not in ("net.py", "cache", "__pycache__")]


def test_what_is_no_build_is_not_inspected(nervure: Callable[..., Any]) -> None:
    for file, message in (
        ("net.py", "is no build of nervure"),
        ("gone", "cannot read gone"),
        (".", "cannot read ."),
    ):
        done = nervure("inspect", file)
        assert done.code == 2 and message in done.err


def test_a_model_is_tuned_and_the_choice_remembered(nervure: Callable[..., Any]) -> None:
    done = nervure("tune", "net.py:Net", "--input", "x=64x4:rand", "--seconds", "0.1")
    assert done.code == 0 and done.out.startswith("kernel ") and done.out.endswith("; remembered\n")
    found = nervure(
        "tune", "net.py:Net", "--input", "x=64x4:rand", "--seconds", "0", "--dry-run", "--json"
    ).json
    assert not found["remembered"] and found["kernels"][0]["chosen"] in found["kernels"][0]["tried"]
    assert nervure("cache", "clear").code == 0
    assert nervure("tune", "net.py:Net", "--seconds", "-1").code == 2
    assert "give its shape" in nervure("tune", "net.py:Net").err
