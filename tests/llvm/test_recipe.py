"""A program that was compiled before skips the passes, and is the same executable; anything that changes the code is a miss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.backends.llvm import recipe as recipes
from nervure.ir.errors import BackendError, InputError
from nervure.runtime import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NERVURE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that went through the passes."""
    from nervure.passes import manager

    seen: list[str] = []
    run = manager.run_pipeline

    def counted(program: Any, *args: Any, **options: Any) -> Any:
        seen.append(program.name)
        return run(program, *args, **options)

    monkeypatch.setattr(manager, "run_pipeline", counted)
    return seen


class Net(nn.Module):
    """Convolution, batch norm that is folded into it, and constants that the passes make."""

    def __init__(self) -> None:
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.out = nn.Linear(4 * 36, 3)

    def __call__(self, x: Any) -> Any:
        x = nn.relu(self.norm(self.conv(x)))
        return self.out(nn.flatten(x + np.arange(6, dtype="f4")))


def net(seed: int = 0) -> Net:
    nv.seed(seed)
    model = Net()
    model.norm.running_mean.assign(np.linspace(-1, 1, 4).astype("f4"))
    model.eval()
    return model


X = np.random.default_rng(0).standard_normal((3, 1, 6, 6)).astype("f4")
SPEC = "f32[B:1..8,1,6,6]"


def test_the_second_compilation_runs_no_pass_and_gives_the_same(passes: list[str]) -> None:
    first = nv.compile(net(), SPEC)
    want = first(X)
    assert len(passes) == 1
    second = nv.compile(net(), SPEC)
    assert len(passes) == 1
    np.testing.assert_array_equal(second(X), want)
    np.testing.assert_array_equal(second(X), want)
    assert str(second.signature) == str(first.signature)
    assert list(second.store) == list(first.store)


def test_what_people_look_at_is_made_when_they_ask(passes: list[str]) -> None:
    first: Any = nv.compile(net(), SPEC)
    second: Any = nv.compile(net(), SPEC)
    assert len(passes) == 1
    assert str(second.program) == str(first.program)
    assert second.text == first.text
    assert second.notes == first.notes
    assert list(map(str, second.kernels)) == list(map(str, first.kernels))
    assert str(second.assembled.program) == str(first.assembled.program)
    assert len(passes) == 2


def test_weights_are_no_part_of_it(passes: list[str]) -> None:
    one, other = nv.compile(net(0), SPEC), nv.compile(net(1), SPEC)
    assert len(passes) == 1
    assert not np.array_equal(one(X), other(X))
    np.testing.assert_allclose(
        other(X), nv.compile(net(1), SPEC, backend="reference")(X), rtol=1e-4, atol=1e-5
    )


def test_weights_that_change_are_seen() -> None:
    nv.compile(net(), SPEC)
    model = net()
    run = nv.compile(model, SPEC)
    before = run(X)
    model.conv.weight.assign(model.conv.weight.data * 2)
    after = run(X)
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after, nv.compile(model, SPEC)(X))


def test_training_steps_go_on_the_same(passes: list[str]) -> None:
    def losses() -> list[float]:
        nv.seed(0)
        model = Net()
        step = nv.compile(nv.training_step(model, nn.cross_entropy, nv.optim.Adam(0.01), SPEC, "i64[B]"))
        return [float(step(X, np.array([0, 1, 2]))) for _ in range(4)]

    first = losses()
    assert losses() == first
    assert len(passes) == 1


def test_labels_are_checked_in_both() -> None:
    model = net()
    for _ in range(2):
        run = nv.compile(lambda x, y: nn.cross_entropy(model(x), y), SPEC, "i64[B]")
        with pytest.raises(InputError, match="outside"):
            run(X, np.array([0, 1, 3]))


@pytest.mark.parametrize(
    "change",
    [
        {"opt": 1},
        {"codegen": 2},
        {"spec": "f32[B:1..9,1,6,6]"},
        {"spec": "f32[3,1,6,6]"},
        {"padding": 0},
        {"constant": 7.0},
    ],
    ids=str,
)
def test_what_changes_the_code_is_another_entry(change: dict[str, Any], passes: list[str]) -> None:
    def compiled(**change: Any) -> Any:
        spec = change.pop("spec", SPEC)
        constant = change.pop("constant", 2.0)
        layer = nn.Conv2d(1, 2, 3, padding=change.pop("padding", 1))
        return nv.compile(lambda x: layer(x) * constant, spec, **change)

    compiled()
    compiled()
    assert len(passes) == 1
    run = compiled(**change)
    assert len(passes) == 2
    assert run(X).shape[:2] == (3, 2)


def test_options_that_do_not_change_the_code_are_the_same_entry(passes: list[str]) -> None:
    nv.compile(net(), SPEC)
    run = nv.compile(net(), SPEC, threads=1, max_memory=100)
    assert len(passes) == 1
    with pytest.raises(InputError, match="max_memory is 100"):
        run(X)
    with pytest.raises(BackendError, match="unknown option"):
        nv.compile(net(), SPEC, nonsense=1)
    nv.compile(net(), SPEC, cache=False)
    nv.compile(net(), SPEC, verify=True)
    assert len(passes) == 3


def test_sources_that_changed_are_a_miss(passes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    nv.compile(net(), SPEC)
    monkeypatch.setattr(recipes, "_sources", lambda: "others")
    nv.compile(net(), SPEC)
    assert len(passes) == 2
    monkeypatch.setattr(recipes, "_sources", lambda: None)
    nv.compile(net(), SPEC)
    nv.compile(net(), SPEC)
    assert len(passes) == 4


@pytest.mark.parametrize("damage", [b"", b"{}\n", b"[]\nx", b'{"constants": [["<f4", [9]]]}\n', b"\xff\n"])
def test_a_damaged_entry_is_a_miss(damage: bytes, passes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    want = nv.compile(net(), SPEC)(X)
    load = cache.load

    def damaged(key: str, folder: Path | None = None) -> bytes | None:
        found = load(key, folder)
        return damage if found is not None and b'"symbols"' in found[:200] else found

    monkeypatch.setattr(cache, "load", damaged)
    np.testing.assert_array_equal(nv.compile(net(), SPEC)(X), want)
    assert len(passes) == 2


def test_without_a_cache_everything_is_compiled(passes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NERVURE_CACHE", "off")
    nv.compile(net(), SPEC)
    nv.compile(net(), SPEC)
    assert len(passes) == 2
