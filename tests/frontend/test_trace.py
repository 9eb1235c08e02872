"""Tracing: names, origins, specs, stores, and errors with the user's line."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import ParseError, TraceError, TypeInferenceError
from nervure.ir.interpret import evaluate_program
from nervure.ir.types import TensorType, f32

CNN = """import nervure as nv
from nervure import nn


class Net(nn.Module):
    def __init__(self):
        self.weight = nn.Parameter(WEIGHT)

    def __call__(self, x):
        x = nn.relu(x)
        return nn.conv2d(x, self.weight)
"""


class Mlp(nn.Module):
    def __init__(self) -> None:
        self.fc1 = nn.Linear(4, 3)
        self.fc2 = nn.Linear(3, 2)

    def __call__(self, x: Any) -> Any:
        return self.fc2(nn.relu(self.fc1(x)))


def load(path: Path, **names: Any) -> Any:
    """A user's file as a module of its own."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    vars(module).update(names)
    spec.loader.exec_module(module)
    return module


def test_a_module_becomes_a_program_with_dotted_names_and_lines() -> None:
    program = nv.trace(Mlp(), "f32[B,4]")
    line = inspect.unwrap(Mlp.__call__).__code__.co_firstlineno + 1
    where = f'@ "tests/frontend/test_trace.py":{line}'
    text = [row.strip() for row in str(program).splitlines()]
    assert text[1] == "program mlp {"
    assert [row.split(" : ")[0] for row in text if row.startswith("param")] == [
        "param @fc1.weight", "param @fc1.bias", "param @fc2.weight", "param @fc2.bias",
    ]  # fmt: skip
    assert text[7:12] == [
        "graph forward(%x: f32[B,4]) -> f32[B,2] {",
        f"%fc1 = linear %x, @fc1.weight, @fc1.bias : f32[B,3] {where}",
        f"%0 = relu %fc1 : f32[B,3] {where}",
        f"%1 = linear %0, @fc2.weight, @fc2.bias : f32[B,2] {where}",
        "return %1",
    ]
    bare = re.sub(" #[0-9a-f]+", "", str(program))
    assert str(nv.parse(str(program))) == bare


def test_the_error_of_a_convolution_names_both_types_the_line_and_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    folder = tmp_path / "examples"
    folder.mkdir()
    (folder / "cnn.py").write_text(CNN)
    net = load(folder / "cnn.py", WEIGHT=np.zeros((16, 1, 3, 3), np.float32)).Net()
    with pytest.raises(TypeInferenceError) as caught:
        nv.trace(net, "f32[8,3,28,28]")
    assert str(caught.value) == (
        "conv2d: weight expects 1 input channel, input has 3\n"
        "  x: f32[8,3,28,28]   w: f32[16,1,3,3]   groups=1\n"
        "  at examples/cnn.py:11, in __call__\n"
        "  hint: pass groups=3 for a depthwise convolution"
    )


def test_origins_do_not_depend_on_where_the_project_lies(tmp_path: Path) -> None:
    texts: list[str] = []
    for home in ("here", "over there/deep"):
        folder = tmp_path / home / "models"
        folder.mkdir(parents=True)
        (tmp_path / home / ".git").mkdir()
        (folder / "cnn.py").write_text(CNN)
        net = load(folder / "cnn.py", WEIGHT=np.ones((2, 1, 3, 3), np.float32)).Net()
        texts.append(str(nv.trace(net, "f32[B,1,8,8]")))
    assert texts[0] == texts[1]
    assert '@ "models/cnn.py":11' in texts[0]


def test_without_a_project_the_scripts_folder_counts(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").touch()
    (tmp_path / "parts" / "net.py").write_text("def f(x):\n    return x + 1\n")
    script = "import nervure as nv\nfrom parts.net import f\nprint(nv.trace(lambda x: f(x) * x, 'f32[3]'))\n"
    (tmp_path / "script.py").write_text(script)
    root = str(Path(nv.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert '@ "parts/net.py":2' in done.stdout
    assert '@ "script.py":3' in done.stdout


def test_the_same_source_gives_the_same_text_in_processes_with_different_hash_seeds() -> None:
    code = (
        "import nervure as nv\nfrom nervure import nn, optim\nnv.seed(3)\n"
        "net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(), nn.ReLU(), nn.Linear(3, 2))\n"
        "print(nv.trace(net, 'f32[B,4]'))\n"
        "print(nv.training_step(net, nn.cross_entropy, optim.Adam(), 'f32[B,4]', 'i64[B]'))\n"
    )
    root = str(Path(nv.__file__).parent.parent)
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": root, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(outputs) == 1


def test_inputs_are_named_after_the_parameters_of_the_function() -> None:
    def f(image: Any, *rest: Any, scale: float = 2.0) -> Any:
        return image + rest[0] * rest[1] * scale

    program = nv.trace(f, "f32[3]", "f32[3]", "f32[3]")
    assert [v.name for v in program.main.inputs] == ["image", "rest0", "rest1"]
    assert program.name == "f"
    assert nv.trace(f, *["f32[3]"] * 3, name="other").name == "other"


def test_a_wrong_number_of_types_lists_the_parameters() -> None:
    with pytest.raises(TraceError) as caught:
        nv.trace(lambda x, y, z=None: x, "f32[3]")
    assert caught.value.message == "lambda takes 2 to 3 inputs (x, y, z), got 1 types"
    with pytest.raises(TraceError, match=r"mlp takes 1 input \(x\), got 2 types"):
        nv.trace(Mlp(), "f32[B,4]", "f32[B,4]")


def test_specs_are_texts_types_or_arrays_and_share_symbols() -> None:
    first = nv.trace(lambda x: x, "f32[B:2..8,4]").main.inputs[0].type
    program = nv.trace(lambda a, b, c, d: (a + b, c, d), first, "f32[B,4]", np.zeros((2, 3)), TensorType(f32))
    assert [str(v.type) for v in program.main.inputs] == ["f32[B,4]", "f32[B,4]", "f64[2,3]", "f32[]"]
    assert [(s.name, s.lo, s.hi) for s in program.symbols] == [("B", 2, 8)]
    assert [(s.name, s.lo, s.hi) for s in nv.trace(lambda x: x, "f32[N]").symbols] == [("N", 1, 4096)]


def test_a_symbol_with_two_ranges_is_an_error() -> None:
    with pytest.raises(ParseError, match="symbol B has another range already"):
        nv.trace(lambda x, y: x, "f32[B]", "f32[B:1..4]")
    with pytest.raises(TraceError, match="int is no type"):
        nv.trace(lambda x: x, 3)


def test_several_outputs_come_as_a_tuple_and_a_parameter_may_be_one() -> None:
    weight = nn.Parameter(np.arange(3.0), name="w")
    program = nv.trace(lambda x: (x, x + weight, weight, np.float64(2)), "f64[3]")
    found = evaluate_program(program, [np.ones(3)])
    assert [a.tolist() for a in found] == [[1, 1, 1], [1, 2, 3], [0, 1, 2], 2]


@pytest.mark.parametrize("result", [None, 3.0, "a", {"x": 1}])
def test_what_is_no_tensor_cannot_be_returned(result: Any) -> None:
    with pytest.raises(TraceError, match=f"the traced function returned {type(result).__name__}, expected"):
        nv.trace(lambda x: result, "f32[3]")


def test_a_function_names_the_weights_of_the_module_it_uses() -> None:
    model, other = Mlp(), nn.Linear(2, 2)
    assert list(nv.trace(lambda x: model(x), "f32[B,4]").store) == list(nv.trace(model, "f32[B,4]").store)  # noqa: PLW0108
    assert list(nv.trace(lambda x: other(model(x)), "f32[B,4]").store) == [
        "model.fc1.weight", "model.fc1.bias", "model.fc2.weight", "model.fc2.bias", "other.weight", "other.bias",
    ]  # fmt: skip


def test_weights_that_no_module_names_get_names_of_their_own() -> None:
    weights = [nn.Parameter(np.ones(2, np.float32), name="w") for _ in range(3)]
    program = nv.trace(lambda x: sum(w * x for w in weights), "f32[2]")
    assert list(program.store) == ["w", "w_1", "w_2"]


def test_all_programs_of_a_module_share_its_entries() -> None:
    model = Mlp()
    one, two = nv.trace(model, "f32[B,4]"), nv.trace(model, "f32[1,4]", training=True)
    assert one.store["fc1.weight"] is two.store["fc1.weight"] is model.fc1.weight
    before = evaluate_program(one, [np.ones((1, 4), np.float32)])[0]
    version = one.store.ledger.version
    model.fc2.bias.assign(model.fc2.bias.data + 1)
    assert two.store.ledger.version > version
    np.testing.assert_allclose(
        evaluate_program(one, [np.ones((1, 4), np.float32)])[0], before + 1, rtol=1e-6, atol=1e-6
    )


def test_a_trace_inside_a_trace_leaves_the_outer_one_alone() -> None:
    inner: list[Any] = []

    def f(x: Any) -> Any:
        y = x + 1
        inner.append(nv.trace(lambda z: z * 2, "f32[5]"))
        return y * 3

    program = nv.trace(f, "f32[2]")
    assert [n.op.mnemonic for n in inner[0].main.nodes] == ["constant", "broadcast_in_dim", "mul"]
    assert evaluate_program(program, [np.zeros(2, np.float32)])[0].tolist() == [3, 3]


def test_an_error_inside_leaves_no_trace_behind() -> None:
    with pytest.raises(ZeroDivisionError):
        nv.trace(lambda x: x * (1 // 0), "f32[2]")
    with pytest.raises(TraceError, match="tensors exist only while a function is traced"):
        nn.relu(np.ones(3, np.float32))


def test_threads_trace_side_by_side() -> None:
    model = Mlp()
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(str(nv.trace(model, "f32[B,4]")))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 8
    assert len(set(texts)) == 1


def test_weights_made_while_tracing_come_from_the_given_generator() -> None:
    def f(x: Any) -> Any:
        return nn.Linear(3, 2)(x)

    programs = [nv.trace(f, "f32[B,3]", rng=np.random.default_rng(4)) for _ in range(2)]
    first, second = (p.store["weight"].data for p in programs)
    np.testing.assert_array_equal(first, second)


def test_a_network_of_ten_thousand_layers_is_traced_without_recursion() -> None:
    def deep(x: Any) -> Any:
        for _ in range(10_000):
            x = nn.relu(x)
        return x

    assert len(nv.trace(deep, "f32[1]").main.nodes) == 10_000
