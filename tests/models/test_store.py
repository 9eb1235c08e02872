"""One store behind module, training step and inference: nothing is compiled again, and nothing is stale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import digits, vgg_with_batch_norm

import nervure as nv
from nervure import nn, optim
from nervure.backends.llvm import objects
from nervure.ir import build as b
from nervure.ir.graph import Graph, Value
from nervure.ir.interpret import evaluate_graph
from nervure.ir.program import Program
from nervure.ir.store import Entry, Store
from nervure.ir.types import TensorType, f32

BACKENDS = ["reference", "llvm", "onnx"]
SPEC = "f32[B,1,12,12]"
X, LABELS = digits((1, 12, 12), 16, seed=1)


@pytest.fixture(scope="module", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One object cache for the file: most tests need the same objects."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERVURE_CACHE", str(tmp_path_factory.mktemp("objects") / "cache"))
        yield


def close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())


def model_and_step(seed: int = 0) -> tuple[Any, Any]:
    nv.seed(seed)
    model = vgg_with_batch_norm(nn)
    step = nv.training_step(model, nn.cross_entropy, optim.SGD(0.05, momentum=0.9), SPEC, "i64[B]")
    return model, nv.compile(step)


def by_reference(model: Any, x: Any = X) -> Any:
    """What the weights of this moment say, without any pass."""
    return nv.compile(model, SPEC, backend="reference", opt=0)(x)


def forbid_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_object(*_: Any, **__: Any) -> bytes:
        raise AssertionError("compiled again")

    monkeypatch.setattr(objects, "compile_object", compile_object)


def count_prepares(run: Any) -> list[int]:
    """A list that grows by one whenever the executable prepares its weights."""
    calls: list[int] = []
    prepare = run._native.prepare

    def counted(addresses: Sequence[int]) -> None:
        calls.append(len(addresses))
        prepare(addresses)

    run._native.prepare = counted
    return calls


def test_inference_compiled_before_training_uses_the_weights_of_the_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, step = model_and_step()
    run = nv.compile(model, SPEC)
    assert run.program.prepare is not None
    assert "batch_norm" not in str(run.program), "the batch norms are folded into the convolutions"
    forbid_compiling(monkeypatch)
    prepares = count_prepares(run)
    before = run(X)
    close(before, by_reference(model))
    for turn in range(10):
        step(X, LABELS)
        after = run(X)
        close(after, by_reference(model))
        np.testing.assert_array_equal(run(X), after)
        assert np.abs(after - before).max() > 1e-4, "the step changed what the network says"
        assert len(prepares) == turn + 2, "one prepare a step, none for the second call"
        before = after


@pytest.mark.parametrize("backend", BACKENDS)
def test_ten_steps_on_llvm_are_seen_by_every_backend(backend: str) -> None:
    model, step = model_and_step(1)
    run = nv.compile(model, SPEC, backend=backend)
    untrained = run(X)
    losses = [float(step(X, LABELS)) for _ in range(10)]
    assert losses[-1] < losses[0]
    assert np.abs(run(X) - untrained).max() > 1e-2
    close(run(X), by_reference(model))


def test_what_is_saved_after_training_runs_the_same_when_loaded(tmp_path: Path) -> None:
    model, step = model_and_step(2)
    run = nv.compile(model, SPEC)
    run(X)
    for _ in range(10):
        step(X, LABELS)
    # the folded weights in run's store are those from before training until its next call
    nv.save(run.program, tmp_path / "stale.nv")
    nv.save(nv.trace(model, SPEC), tmp_path / "plain.nv")
    wanted = run(X)
    close(wanted, by_reference(model))
    nv.save(run.program, tmp_path / "fresh.nv")
    np.testing.assert_array_equal(nv.compile(nv.load(tmp_path / "plain.nv"))(X), wanted)
    for name in ("stale", "fresh"):
        close(nv.compile(nv.load(tmp_path / f"{name}.nv"))(X), wanted)
        close(nv.compile(nv.load(tmp_path / f"{name}.nv"), backend="reference", opt=0)(X), wanted)


def test_a_loaded_program_has_a_store_of_its_own(tmp_path: Path) -> None:
    model, step = model_and_step(3)
    nv.save(nv.trace(model, SPEC), tmp_path / "model.nv")
    loaded = nv.compile(nv.load(tmp_path / "model.nv"))
    wanted = loaded(X)
    step(X, LABELS)
    np.testing.assert_array_equal(loaded(X), wanted)
    assert np.abs(nv.compile(model, SPEC)(X) - wanted).max() > 1e-4


def test_a_training_step_that_is_saved_and_loaded_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    _, step = model_and_step(4)
    for _ in range(3):
        step(X, LABELS)
    nv.save(step.program, tmp_path / "step.nv")
    again = nv.compile(nv.load(tmp_path / "step.nv"))
    wanted = [float(step(X, LABELS)) for _ in range(4)]
    assert [float(again(X, LABELS)) for _ in range(4)] == wanted
    assert len(set(wanted)) == 4


def test_state_goes_back_to_where_it_was_written_down() -> None:
    model, step = model_and_step(5)
    run = nv.compile(model, SPEC)
    step(X, LABELS)
    kept, said = step.state_dict(), run(X)
    assert {"0.weight", "optimizer.momentum.0.weight", "1.running_mean"} <= set(kept)
    first = [float(step(X, LABELS)) for _ in range(3)]
    assert np.abs(run(X) - said).max() > 1e-4
    assert np.abs(step.state_dict()["0.weight"] - kept["0.weight"]).max() > 0, "a copy, not the store itself"
    step.load_state_dict(kept)
    np.testing.assert_array_equal(run(X), said)
    for name, array in step.state_dict().items():
        np.testing.assert_array_equal(array, kept[name])
    assert [float(step(X, LABELS)) for _ in range(3)] == first


def test_two_executables_share_a_store_with_a_training_step() -> None:
    model, step = model_and_step(6)
    program = nv.trace(model, SPEC)
    first, second = nv.compile(program), nv.compile(program, opt=1)
    fixed = nv.compile(model, "f32[16,1,12,12]")
    for _ in range(3):
        step(X, LABELS)
        wanted = by_reference(model)
        for run in (first, second, fixed):
            close(run(X), wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_compiled_executable_sees_what_is_loaded_into_the_module(backend: str) -> None:
    model, other = model_and_step(7)[0], model_and_step(8)[0]
    run = nv.compile(model, SPEC, backend=backend)
    before, wanted = run(X), by_reference(other)
    assert np.abs(before - wanted).max() > 1e-2
    model.load_state_dict(other.state_dict())
    close(run(X), wanted)
    model[0].weight.assign(np.zeros_like(model[0].weight.data))
    close(run(X), by_reference(model))
    model[0].weight.data[...] = 0.1
    model[0].weight.touch()
    close(run(X), by_reference(model))


@pytest.mark.parametrize("opt", [0, 2])
@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_that_llvms_pipeline_derives_are_derived_again_on_every_backend(
    backend: str, opt: int
) -> None:
    model, step = model_and_step(9)
    optimised = nv.compile(model, SPEC).program
    assert optimised.prepare is not None
    run = nv.compile(optimised, backend=backend, opt=opt)
    before = run(X)
    close(before, by_reference(model))
    for _ in range(2):
        step(X, LABELS)
    after = run(X)
    close(after, by_reference(model))
    assert np.abs(after - before).max() > 1e-3


# -- updates that read what they write ---------------------------------------------------------------------------------

SQUARE, LONG = TensorType(f32, (5, 5)), TensorType(f32, (25,))


def read(name: str) -> Value:
    return Value(SQUARE, entry=name)


def swap(x: Value) -> Graph:
    return Graph("step", [x], [], [("a", read("b")), ("b", read("a"))])


def rotate(x: Value) -> Graph:
    return Graph("step", [x], [], [("a", read("b")), ("b", read("c")), ("c", read("a"))])


def copy_what_is_replaced(x: Value) -> Graph:
    """@b takes the old @a, while @a doubles, and the old @a is returned."""
    a = read("a")
    return Graph("step", [x], [a], [("a", b.add(a, a)), ("b", a)])


def turn_in_place(x: Value) -> Graph:
    """Each element goes where another one is read: a kernel that wrote @a at once would read what it wrote."""
    a = read("a")
    return Graph(
        "step", [x], [b.add(a, x)], [("a", b.permute(a, (1, 0))), ("b", b.add(b.permute(a, (1, 0)), x))]
    )


def product_in_place(x: Value) -> Graph:
    """Every element of @a is read for each new one."""
    a = read("a")
    return Graph("step", [x], [], [("a", b.matmul(a, x)), ("b", b.matmul(x, a))])


def take_an_input(x: Value) -> Graph:
    """An entry becomes the input, and another what the first was."""
    return Graph("step", [x], [x], [("a", x), ("b", read("a")), ("c", x)])


def swap_by_reshaping(x: Value) -> Graph:
    """A reshape is another view of the same memory."""
    long, square = b.reshape(read("a"), (25,)), b.reshape(Value(LONG, entry="long"), (5, 5))
    return Graph("step", [x], [], [("a", square), ("long", long)])


UPDATES = [
    swap_by_reshaping,
    swap,
    rotate,
    copy_what_is_replaced,
    turn_in_place,
    product_in_place,
    take_an_input,
]


@pytest.mark.parametrize("opt", [0, 2])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("build", UPDATES)
def test_updates_take_effect_together_after_all_reads(build: Any, backend: str, opt: int) -> None:
    rng = np.random.default_rng(9)
    contents = {name: rng.normal(size=(5, 5)).astype(np.float32) for name in "abc"}
    contents["long"] = rng.normal(size=25).astype(np.float32)
    graph = build(Value(SQUARE, name="x"))
    types = {"long": LONG}
    store = Store([Entry(n, types.get(n, SQUARE), "state", data=array) for n, array in contents.items()])
    run = nv.compile(Program("updates", [graph], store), backend=backend, opt=opt)
    for _ in range(3):
        x = rng.normal(size=(5, 5)).astype(np.float32)
        outputs, updates = evaluate_graph(graph, [x], {n: a.copy() for n, a in contents.items()})
        found = run(x)
        contents |= {name: np.array(array) for name, array in updates.items()}
        for got, want in zip([] if found is None else [found], outputs, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
        for name, want in contents.items():
            np.testing.assert_allclose(store[name].data, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_swap_moves_bits_and_two_swaps_are_none(backend: str) -> None:
    first, second = np.full((5, 5), np.nan, np.float32), np.full((5, 5), -0.0, np.float32)
    store = Store([Entry("a", SQUARE, "state", data=first), Entry("b", SQUARE, "state", data=second)])
    run = nv.compile(Program("swap", [swap(Value(SQUARE, name="x"))], store), backend=backend)
    for a, c in ((second, first), (first, second)):
        run(first)
        assert store["a"].data.tobytes() == a.tobytes() and store["b"].data.tobytes() == c.tobytes()
