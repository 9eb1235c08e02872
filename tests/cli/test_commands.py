"""Every command: what it prints, its JSON, its help, and what it says to wrong use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import nervure as nv
from nervure.cli import COMMANDS

Run = Callable[..., Any]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(nervure: Run, command: str) -> None:
    ran = nervure(command, "--help")
    assert ran.code == 0
    assert f"Usage: nervure {command}" in ran.out


def test_the_list_of_commands_has_a_line_for_each(nervure: Run) -> None:
    ran = nervure("--help")
    assert ran.code == 0
    assert all(f"  {name} " in ran.out for name in COMMANDS)


def test_an_unknown_command_is_told_its_neighbour(nervure: Run) -> None:
    ran = nervure("sumary", "lenet")
    assert ran.code == 2
    assert "hint: did you mean summary?" in ran.err


# MODEL
def test_trace_prints_a_program_that_parses(nervure: Run) -> None:
    ran = nervure("trace", "net.py:Net")
    assert ran.code == 0
    assert "%fc = linear %x, @fc.weight, @fc.bias" in ran.out
    assert nv.parse(ran.out).name == "net"


def test_types_come_from_options_by_name_or_in_order(nervure: Run) -> None:
    assert "%x: f32[7]" in nervure("trace", "net.py:pair", "--type", "f32[7]").out
    assert "%x: i32[2]" in nervure("trace", "net.py:pair", "--type", "x=i32[2]").out
    assert (
        "%x: f32[5], %y: f32[5]"
        in nervure("trace", "net.py:total", "--type", "f32[5]", "--type", "f32[5]").out
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trace", "net.py:Nett"], "did you mean Net?"),
        (["trace", "net.py"], "write net.py:NAME; it has Net, Wide, Misfit, total, pair"),
        (["trace", "net.py:pair"], "the input x has no type"),
        (["trace", "net.py:pair", "--type", "z=f32[3]", "--type", "x=f32[3]"], "has no input z"),
        (["trace", "net.py:Wide"], "cannot be made without arguments"),
        (["trace", "net.py:LIMIT"], "is a int, expected a module"),
        (["trace", "gone.py:Net"], "cannot read gone.py"),
        (["trace", "lenett"], "did you mean lenet?"),
        (["trace", "gone.nv"], "cannot read gone.nv"),
        (["trace", "net.py:Net", "--type", "f32[B,"], "expected"),
        (["opt", "lenet", "--passes", "fuze"], "did you mean fuse?"),
        (["opt", "lenet", "--passes", "cse", "-O2"], "not both"),
        (["opt", "lenet", "--print-after", "fuze"], "did you mean fuse?"),
        (["opt", "lenet", "-O", "9"], "9 is not in the range"),
        (["opt", "lenet", "--nope"], "no such option"),
        (["opt", "lenet", "-o", "net.py/x.nv"], "cannot write"),
        (["opt", "lenet", "--dump-dir", "net.py/x"], "cannot write"),
        (["run", "net.py:Net"], "give its shape, such as x=8x4:rand"),
        (["run", "net.py:Net", "--input", "x=2x5:rand"], "axis 1 is 5, expected 4"),
        (["run", "net.py:Net", "--input", "x=2xy:rand"], "is no shape"),
        (["run", "net.py:Net", "--input", "x=2x4:random"], "is no value"),
        (["run", "net.py:Net", "--input", "z=2x4:rand"], "no input is named z"),
        (["run", "net.py:Net", "--input", "x=@net.py"], "no .npy file"),
        (["run", "net.py:total", "--backend", "cuda"], "no backend is named cuda"),
        (["run", "net.py:total", "--output", "y=@y.npy"], "no result is named y\n  hint: the program has result0"),
        (["compile", "net.py:Net", "--emit", "obj"], "is binary"),
        (["compile", "net.py:Net", "--backend", "onnx", "--emit", "llvm"], "choose --backend llvm"),
        (["compile", "net.py:Net", "--emit", "onnx"], "is binary"),
        (["compile", "net.py:Net", "--backend", "llvm", "--emit", "onnx", "-o", "x.onnx"], "choose --backend onnx"),
        (["compile", "net.py:Net", "--target", "haswel"], "did you mean haswell?"),
        (["compile", "net.py:Net", "--target", "haswell", "--backend", "onnx"], "onnx makes no code for a machine"),
        (["compile", "net.py:Net", "--target", "aarch64-linux", "--emit", "plan"], "leave --target out"),
        (["compile", "net.py:Net", "--target", "pdp11-linux"], "pdp11"),
        (["export", "net.py:Net", "-o", "m.onnx", "--opset", "99"], "opset 99"),
        (["export", "net.py:Net"], "missing option"),
        (["explain", "NV9999"], "no error has the code"),
        (["explain", "net.py:Net", "--line", "net.py:99"], "lines with ops: net.py:11"),
        (["summary", "net.py:Net", "--size", "B"], "expected SYMBOL=N"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_message_and_exit_code_2(nervure: Run, arguments: list[str], message: str) -> None:
    before = sorted(p.name for p in Path.cwd().iterdir())
    ran = nervure(*arguments)
    assert ran.code == 2
    assert message in ran.err
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert sorted({p.name for p in Path.cwd().iterdir()} - {"cache", "__pycache__"}) == [
        name for name in before if name not in ("cache", "__pycache__")
    ]


def test_debug_shows_the_traceback(nervure: Run) -> None:
    assert "Traceback" in nervure("--debug", "trace", "gone.nv").err


def test_broken_text_gives_line_column_and_caret(nervure: Run) -> None:
    Path("bad.nv").write_text(
        "nervure 1\nprogram p {\n  graph f(%x: f32[3]) -> f32[3] {\n    return %y\n  }\n}\n"
    )
    ran = nervure("opt", "bad.nv")
    assert ran.code == 2
    assert "error[NV0301]" in ran.err
    assert "4:12" in ran.err
    assert "^" in ran.err


# dumps
def test_a_dump_without_its_side_file_runs_with_made_up_data(nervure: Run) -> None:
    assert nervure("trace", "net.py:Net", "-o", "m.nv", "--no-data").code == 0
    assert not Path("m.safetensors").exists()
    refused = nervure("run", "m.nv", "--input", "x=2x4:ones")
    assert refused.code == 2
    assert "has no data" in refused.err
    runs = [nervure("run", "m.nv", "--init", "random", "--input", "x=2x4:ones") for _ in range(2)]
    assert runs[0].code == 0
    assert runs[0].out == runs[1].out


def test_a_program_goes_through_pipes_from_the_middle_of_a_pipeline(nervure: Run) -> None:
    first = nervure("opt", "lenet", "--passes", "decompose,canonicalize")
    second = nervure("opt", "-", "--passes", "fuse", stdin=first.out)
    assert second.code == 0
    assert "fuse{label=" in second.out
    whole = nervure("opt", "lenet", "--passes", "decompose,canonicalize,fuse")
    assert second.out.count("fuse{label=") == whole.out.count("fuse{label=")


def test_opt_prints_what_the_passes_did(nervure: Run) -> None:
    ran = nervure("opt", "lenet", "--backend", "llvm", "--timing", "--stats", "--print-after", "fuse")
    assert ran.code == 0
    assert "100.0 %  pipeline" in ran.err
    assert "7 fuse" in ran.err or "5 fuse" in ran.err
    assert "// after fuse" in ran.err
    assert ran.out.startswith("nervure 1\n")


def test_opt_dumps_numbered_files_that_load(nervure: Run) -> None:
    assert nervure("opt", "lenet", "--backend", "llvm", "--dump-dir", "dump").code == 0
    dumps = sorted(p.name for p in Path("dump").glob("*.nv"))
    assert dumps[0] == "00_input.nv"
    assert any(name.endswith("fuse.nv") for name in dumps)
    assert (
        nervure("run", f"dump/{dumps[-1]}", "--backend", "reference", "--input", "x=1x1x28x28:rand").code == 0
    )


def test_opt_stops_after_rewrites(nervure: Run) -> None:
    ran = nervure("opt", "lenet", "--passes", "fuse", "--stop-after", "1", "--json")
    assert ran.json["passes"][0]["rewrites"] == {"fuse": 1}
    assert ran.json["pipeline"] == "fuse"
    assert ran.json["program"].count("fuse{label=") == 1


# compile and run
@pytest.mark.parametrize(
    ("stage", "text"),
    [("ir", "fuse{label="), ("kernels", "kernel k"), ("plan", "total for B=1"), ("llvm", "define i32 @nv_run"), ("asm", "nv_run:")],
)  # fmt: skip
def test_every_stage_prints(nervure: Run, stage: str, text: str) -> None:
    ran = nervure("compile", "net.py:Net", "--emit", stage)
    assert ran.code == 0
    assert text in ran.out


def test_binary_stages_go_to_files(nervure: Run) -> None:
    assert nervure("compile", "net.py:Net", "--emit", "obj", "-o", "m.o").code == 0
    assert Path("m.o").read_bytes()[:4] == b"\x7fELF"
    assert nervure("compile", "net.py:Net", "--backend", "onnx", "--emit", "onnx", "-o", "m.onnx").code == 0
    onnx.checker.check_model(onnx.load("m.onnx"))


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
def test_run_reads_writes_and_compares_files(nervure: Run, backend: str) -> None:
    np.save("x.npy", np.arange(3, dtype=np.float32))
    np.save("y.npy", np.ones(3, np.float32))
    given = ["--input", "x=@x.npy", "--input", "y=@y.npy"]
    ran = nervure("run", "net.py:total", *given, "--output", "@z.npy", "--json", "--backend", backend)
    assert ran.code == 0
    assert ran.json["results"]["result0"] == {"dtype": "float32", "shape": [3], "data": [1, 2, 3]}
    assert np.load("z.npy").tolist() == [1, 2, 3]
    assert (
        nervure("run", "net.py:total", *given, "--expect", "result0=@z.npy", "--backend", backend).code == 0
    )
    np.save("z.npy", np.array([1, 2, 3.5], np.float32))
    wrong = nervure("run", "net.py:total", *given, "--expect", "result0=@z.npy", "--backend", backend)
    assert wrong.code == 1
    assert "1 of 3 elements differ" in wrong.err
    assert "worst at [2]: found 3.0, expected 3.5" in wrong.err


def test_several_results_have_names(nervure: Run) -> None:
    ran = nervure("run", "net.py:pair", "--type", "f32[2]", "--input", "x=2:iota", "--json")
    assert [r["data"] for r in ran.json["results"].values()] == [[1, 2], [0, 2]]


def test_export_writes_a_model_that_onnxruntime_runs(nervure: Run) -> None:
    import onnxruntime

    assert nervure("export", "net.py:Net", "-o", "m.onnx").code == 0
    session = onnxruntime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.ones((2, 4), np.float32)})
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


# summary and explain
def test_summary_counts_parameters_and_multiply_adds(nervure: Run) -> None:
    found = nervure("summary", "lenet", "--size", "B=2", "--json").json
    assert found["parameters"] == 61706
    rows = {row["name"]: row for row in found["layers"]}
    assert rows["conv1"]["kind"] == "Conv2d"
    assert rows["conv1"]["parameters"] == 156
    assert rows["conv1"]["macs"] == 2 * 28 * 28 * 6 * 25
    assert found["macs"] == 2 * 416520
    text = nervure("summary", "lenet").out
    assert "conv1  Conv2d    f32[B,6,28,28]          156        117,600" in text


def test_summary_of_a_misfit_has_the_rows_before_and_the_error(nervure: Run) -> None:
    ran = nervure("summary", "net.py:Misfit")
    assert ran.code == 2
    assert ran.out.splitlines()[1].startswith("conv   Conv2d  f32[B,2,6,6]")
    assert "fails" in ran.out.splitlines()[-2]
    assert "weight expects 5 input features, input has 72" in ran.err


def test_explain_has_one_line_for_every_edge(nervure: Run) -> None:
    ran = nervure("explain", "net.py:Net")
    assert "fused in linear+relu" in ran.out
    assert "@fc.weight is in the store" in ran.out
    head, *edges = ran.out.splitlines()
    assert head.startswith("graph forward: ") and head.endswith(" edges are fused")
    assert all("fused in" in line or "through memory: " in line for line in edges)


def test_explain_follows_a_line_to_its_kernel_and_instructions(nervure: Run) -> None:
    found = nervure("explain", "net.py:Net", "--line", "net.py:12", "--json").json
    assert found["nodes"] == ["%0 = relu %fc : f32[B,3]"]
    assert {"pass": "fuse", "rewrite": "fuse"} in found["rewrites"]
    assert list(found["kernels"]) == list(dict.fromkeys(found["kernels"]))
    assert any("net.py:11, net.py:12" in text for text in found["kernels"].values())
    assert any("define" in text for text in found["code"].values())


def test_explain_knows_every_code(nervure: Run) -> None:
    from nervure.ir.codes import CODES

    for code in CODES:
        assert nervure("explain", code).out.startswith(f"{code}: ")


# doctor and cache
def test_doctor_checks_the_backends(nervure: Run) -> None:
    found = {row["check"]: row for row in nervure("doctor", "--json").json}
    assert all(found[f"backend {name}"]["ok"] for name in ("reference", "onnx", "llvm"))
    assert found["cache"]["ok"]


def test_the_cache_is_counted_and_cleared(nervure: Run) -> None:
    assert nervure("cache", "--json").json["objects"] == 0
    nervure("run", "net.py:total")
    before = nervure("cache", "--json").json
    count = before["objects"]
    assert count >= 2  # the program's object and recipe, and the code that calls it
    assert before["bytes"] > 500
    (Path(before["folder"]) / "mine.txt").write_text("kept")
    assert nervure("cache", "clear", "--json").json["removed"] == count
    assert (Path(before["folder"]) / "mine.txt").exists()
    assert nervure("cache").out.splitlines()[1] == "objects  0"
