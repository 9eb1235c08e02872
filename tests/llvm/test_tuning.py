"""Schedules: every candidate gives the right values; what was chosen is remembered for this machine, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import NETWORKS, mlp

import nervure as nv
from nervure import nn, optim
from nervure.backends.llvm import choices as records
from nervure.backends.llvm import tuning
from nervure.backends.llvm.program import kernels_of
from nervure.backends.llvm.target import host_target, make_target
from nervure.inspect.tune import tune
from nervure.ir.errors import InputError
from nervure.runtime import cache as disk

HOST = replace(host_target(), winograd=True)


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NERVURE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def tried(run: Any, target: Any) -> dict[str, tuple[str, ...]]:
    """The candidates of each kernel, by digest."""
    kernels = {tuning.digest(k): k for k in kernels_of(run.assembled.program.run)}
    found = {key: tuple(map(str, tuning.candidates(k, target))) for key, k in kernels.items()}
    return {key: schedules for key, schedules in found.items() if len(schedules) > 1}


def net(name: str) -> tuple[Any, str, Any]:
    nv.seed(5)
    make, shape = NETWORKS[name]
    x = np.random.default_rng(5).standard_normal((9, *shape)).astype(np.float32)
    return make(nn), f"f32[B,{','.join(map(str, shape))}]", x


@pytest.mark.parametrize("cpu", ["host", "haswell"])
@pytest.mark.parametrize("name", ["vgg", "mlp"])
def test_every_candidate_gives_the_values_of_the_reference(name: str, cpu: str) -> None:
    if cpu == "haswell" and HOST.arch != "x86_64":
        pytest.skip("wants x86-64")
    target = HOST if cpu == "host" else make_target("haswell", HOST.triple)
    model, spec, x = net(name)
    want = nv.compile(model, spec, backend="reference", opt=0)(x)
    found = tried(nv.compile(model, spec, target=target, schedules={}), replace(target, winograd=True))
    assert len(found) >= 3
    texts: set[str] = set()
    for n in range(tuning.LIMIT):
        choices = {key: schedules[n % len(schedules)] for key, schedules in found.items()}
        run: Any = nv.compile(model, spec, target=target, schedules=choices)
        np.testing.assert_allclose(run(x), want, rtol=0, atol=2e-5 * np.abs(want).max())
        texts.add(run.text)
    assert len(texts) > 2, "the candidates make no difference"


def test_products_of_two_inputs_have_wider_and_narrower_tiles() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((70, 90)).astype("f"), rng.standard_normal((90, 100)).astype("f")

    def product(x: Any, y: Any) -> Any:
        return x @ y

    specs = ("f32[M,K]", "f32[K,N]")
    found = tried(nv.compile(product, *specs, schedules={}), HOST)
    ((key, schedules),) = found.items()
    assert len(schedules) == tuning.LIMIT
    for schedule in schedules:
        run = nv.compile(product, *specs, schedules={key: schedule})
        np.testing.assert_allclose(run(a, b), a @ b, rtol=0, atol=2e-4)
        np.testing.assert_allclose(run(a[:1], b[:, :1].copy()), a[:1] @ b[:, :1], rtol=0, atol=2e-4)


def force(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the last candidate of every kernel be the quickest, and the whole quicker with it."""
    import nervure.inspect.tune as module

    def measure(variants: Any, *_: Any) -> None:
        for n, v in enumerate(variants):
            v.best[:] = 10.0 - n

    monkeypatch.setattr(module, "_measure", measure)
    monkeypatch.setattr(module, "_whole", lambda variants, *_: [2.0, 1.0][: len(variants)])


def test_what_was_chosen_is_used_from_then_on_and_gives_the_same_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    force(monkeypatch)
    model, spec, x = net("vgg")
    program = nv.trace(model, spec)
    before: Any = nv.compile(program)
    found = tune(program, [x])
    assert found.remembered and all(k.chosen == k.tried[-1] for k in found.kernels)
    after: Any = nv.compile(program)
    assert after.text != before.text and "schedule" in str(after.assembled.program)
    assert nv.compile(program).text == after.text  # pyright: ignore[reportAttributeAccessIssue]
    choices = tuning.load_choices(HOST)
    assert nv.compile(program, schedules=choices).text == after.text  # pyright: ignore[reportAttributeAccessIssue]
    for options in ({"schedules": {}}, {"cache": False}):
        plain: Any = nv.compile(program, **options)
        assert plain.text == before.text
    np.testing.assert_allclose(after(x), before(x), rtol=0, atol=1e-5)
    assert tuning.forget_choices(HOST) == len(choices) and nv.compile(program).text == before.text  # pyright: ignore[reportAttributeAccessIssue]


def test_a_native_build_takes_what_was_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    force(monkeypatch)
    model, spec, x = net("mlp")
    program = nv.trace(model, spec)
    nv.build(program, output=tmp_path / "a.o")
    tune(program, [x])
    nv.build(program, output=tmp_path / "b.o", prefix="a")
    nv.build(program, output=tmp_path / "c.o", prefix="a")
    assert (tmp_path / "a.o").read_bytes() != (tmp_path / "b.o").read_bytes()
    assert (tmp_path / "b.o").read_bytes() == (tmp_path / "c.o").read_bytes()


def test_measuring_chooses_candidates_and_leaves_the_weights_alone() -> None:
    nv.seed(5)
    step = nv.training_step(mlp(nn), nn.cross_entropy, optim.Adam(0.01), "f32[B,20]", "i64[B]")
    before = {name: e.data.copy() for name, e in step.store.items()}
    x, labels = np.random.default_rng(1).standard_normal((4, 20)).astype("f"), np.arange(4)
    found = tune(step, [x, labels], seconds=0.2, remember=False)
    assert found.kernels and found.before > 0 and found.after > 0 and not found.remembered
    for k in found.kernels:
        assert k.chosen in k.tried and len(k.seconds) == len(k.tried) and min(k.seconds) > 0
    for name, e in step.store.items():
        np.testing.assert_array_equal(e.data, before[name], err_msg=name)
    assert not tuning.load_choices(HOST)


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"[]",
        b"{",
        b'{"a": 1}',
        b"\xff\xfe",
        b'{"KEY": "nonsense"}',
        b'{"KEY": "99x9x16 mc=1 panels=1 kc=7"}',
        b"[" * 5000,
    ],
)
def test_a_damaged_record_costs_nothing_but_speed(record: bytes) -> None:
    model, spec, x = net("mlp")
    plain: Any = nv.compile(model, spec, schedules={})
    for key in tried(plain, HOST):
        disk.save(records._key(HOST), record.replace(b"KEY", key.encode()))  # pyright: ignore[reportPrivateUsage]
        run: Any = nv.compile(model, spec)
        assert run.text == plain.text
        np.testing.assert_array_equal(run(x), plain(x))


def test_there_must_be_a_place_to_remember_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NERVURE_CACHE", "off")
    program = nv.trace(mlp(nn), "f32[4,20]")
    x = np.zeros((4, 20), np.float32)
    with pytest.raises(InputError, match="no cache to remember"):
        tune(program, [x])
    assert tune(program, [x], seconds=0, remember=False).kernels
    with pytest.raises(InputError, match="axis 1"):
        tune(program, [x[:, :3]], remember=False)


def damage(change: Callable[[bytes], bytes]) -> Callable[[list[Path]], None]:
    def run(files: list[Path]) -> None:
        for file in files:
            file.write_bytes(change(file.read_bytes()))

    return run


def swap(files: list[Path]) -> None:
    """Each entry gets another's bytes."""
    contents = [f.read_bytes() for f in files]
    for file, content in zip(files, contents[1:] + contents[:1], strict=True):
        file.write_bytes(content)


def foreign(files: list[Path]) -> None:
    """Each entry is what another machine's compiler would write, checksum and all, under another name."""
    model, spec, _ = net("mlp")
    for file in files:
        file.unlink()
    nv.build(model, spec, output=files[0].parent.parent / "other.o", target="aarch64-linux")
    data = (files[0].parent.parent / "other.o").read_bytes()
    for file in files:
        disk.save(disk.cache_key("other"), data)
        (file.parent / disk.cache_key("other")).rename(file)


@pytest.mark.parametrize(
    "harm",
    [
        damage(lambda d: d[: len(d) // 2]),
        damage(lambda d: b""),
        damage(lambda d: d[:-9] + b"\0" + d[-8:]),
        swap,
        foreign,
    ],
    ids=["cut", "empty", "flipped", "swapped", "foreign"],
)
def test_a_damaged_or_foreign_entry_of_the_cache_is_a_miss(
    private_cache: Path, harm: Callable[[list[Path]], None]
) -> None:
    model, spec, x = net("mlp")
    want = nv.compile(model, spec)(x)
    nv.compile(model, "f32[3,20]")
    files = sorted(private_cache.iterdir())
    assert len(files) >= 2
    kept = {f.name: f.read_bytes() for f in files}
    harm(files)
    np.testing.assert_array_equal(nv.compile(model, spec)(x), want)
    mended = {f.name: f.read_bytes() for f in private_cache.iterdir()}
    assert any(mended[name] == data for name, data in kept.items()), "the entry was not made anew"
