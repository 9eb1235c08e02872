"""Fine-tuning: part of the weights from elsewhere, a new head, a frozen body."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.ir.errors import InputError, TraceError
from nervure.ir.verify import verify_program

RNG = np.random.default_rng(8)
X = RNG.normal(size=(12, 5))
CLASSES = np.arange(12) % 3


class Body(nn.Module):
    def __init__(self) -> None:
        self.first = nn.Linear(5, 8, dtype="f64")
        self.second = nn.Linear(8, 6, dtype="f64")

    def __call__(self, x: Any) -> Any:
        return nn.tanh(self.second(nn.tanh(self.first(x))))


class Classifier(nn.Module):
    def __init__(self, classes: int) -> None:
        self.body = Body()
        self.head = nn.Linear(6, classes, dtype="f64")

    def __call__(self, x: Any) -> Any:
        return self.head(self.body(x))


class Renamed(nn.Module):
    """The same network under other names."""

    def __init__(self) -> None:
        self.features = Body()
        self.fc = nn.Linear(6, 7, dtype="f64")


def step_of(model: Any, optimizer: Any, **options: Any) -> Any:
    return nv.training_step(model, nn.cross_entropy, optimizer, "f64[B,5]", "i64[B]", **options)


def mnemonics(program: Any) -> list[str]:
    return [n.op.mnemonic for n in program.main.walk()]


def test_a_frozen_body_has_no_gradient_and_no_state_and_its_head_learns() -> None:
    nv.seed(1)
    model = Classifier(3)
    whole = step_of(model, optim.Adam(0.05))
    model.body.freeze()
    optimizer = optim.Adam(0.05)
    program = step_of(model, optimizer)
    verify_program(program)
    assert mnemonics(whole).count("dot_general") == mnemonics(program).count("dot_general") + 4
    learned = [n for n, _ in program.main.updates if not n.startswith("optimizer.")]
    assert learned == ["head.weight", "head.bias"]
    kept = [n for n in program.store if n.startswith("optimizer.")]
    assert not [n for n in kept if "body" in n]
    assert {"optimizer.mean.head.weight", "optimizer.square.head.bias"} <= set(kept)
    before = model.state_dict()
    step = nv.compile(program, backend="reference")
    losses = [float(step(X, CLASSES)) for _ in range(60)]
    assert losses[-1] < 0.7 * losses[0]
    for name, array in model.state_dict().items():
        assert name.startswith("head") != np.array_equal(array, before[name]), name


def test_the_derivative_goes_no_deeper_than_the_first_weight_that_learns() -> None:
    model = Classifier(3)
    counts = []
    for names in (["head"], ["head", "body.second"], ["head", "body"]):
        counts.append(mnemonics(step_of(model, optim.SGD(0.1), trainable=names)).count("dot_general"))
    # a product for each weight that learns, and one for each layer between it and the loss
    assert counts == [1, 1 + 2, 1 + 2 + 2]


@pytest.mark.parametrize(
    "trainable", [["head"], ["head.weight", "head.bias"], "head", lambda name: name.startswith("head.")]
)
def test_what_trains_can_be_chosen_without_freezing(trainable: Any) -> None:
    model = Classifier(3)
    program = step_of(model, optim.SGD(0.1, momentum=0.9), trainable=trainable)
    assert [n for n, _ in program.main.updates] == [
        "head.weight",
        "head.bias",
        "optimizer.momentum.head.weight",
        "optimizer.momentum.head.bias",
    ]
    assert all(p.trainable for p in model.parameters())


def test_what_is_frozen_does_not_train_though_it_is_named() -> None:
    model = Classifier(3)
    model.head.freeze()
    program = step_of(model, optim.SGD(0.1), trainable=["head", "body.second.bias"])
    assert [n for n, _ in program.main.updates] == ["body.second.bias"]
    with pytest.raises(TraceError, match="nothing to train"):
        step_of(model, optim.SGD(0.1), trainable=["head"])


def test_one_parameter_may_be_frozen() -> None:
    model = Classifier(3)
    model.head.bias.trainable = False
    names = [n for n, _ in step_of(model, optim.SGD(0.1)).main.updates]
    assert "head.bias" not in names and "head.weight" in names


def test_a_body_from_another_model_gets_a_new_head() -> None:
    source, model = Renamed(), Classifier(3)
    head = model.head.state_dict()
    loaded = model.load_state_dict(
        source.state_dict(), strict=False, prefixes={"features": "body", "fc": None}
    )
    assert loaded.missing == ("head.weight", "head.bias")
    assert loaded.unexpected == () and not loaded.complete
    for name, array in model.body.state_dict().items():
        np.testing.assert_array_equal(array, source.features.state_dict()[name])
    for name, array in model.head.state_dict().items():
        np.testing.assert_array_equal(array, head[name])


def test_executables_see_the_weights_that_were_loaded() -> None:
    source, model = Classifier(3), Classifier(3)
    run, wanted = (nv.compile(m, "f64[B,5]", backend="reference") for m in (model, source))
    before = run(X)
    assert model.load_state_dict(source.state_dict()).complete
    assert not np.allclose(run(X), before)
    np.testing.assert_array_equal(run(X), wanted(X))


def test_names_that_nothing_was_done_with_are_told() -> None:
    model, state = Classifier(3), Classifier(3).state_dict()
    state["tail.weight"] = state.pop("head.weight")
    loaded = model.load_state_dict(state, strict=False)
    assert loaded.missing == ("head.weight",)
    assert loaded.unexpected == ("tail.weight",)
    with pytest.raises(InputError) as caught:
        model.load_state_dict(state)
    assert caught.value.details == ("missing: head.weight", "unknown: tail.weight")


def test_a_whole_state_goes_below_a_name_and_back() -> None:
    model, body = Classifier(3), Body()
    assert model.load_state_dict(body.state_dict(), strict=False, prefixes={"": "body"}).unexpected == ()
    back = Body()
    back.load_state_dict(model.state_dict(), prefixes={"body": "", "head": None})
    for name, array in back.state_dict().items():
        np.testing.assert_array_equal(array, body.state_dict()[name])


def test_the_longest_prefix_counts_and_two_names_do_not_become_one() -> None:
    model, state = Classifier(3), Classifier(3).state_dict()
    prefixes = {"body": "body", "body.first": None, "head": None}
    loaded = model.load_state_dict(state, strict=False, prefixes=prefixes)
    assert loaded.missing == ("body.first.weight", "body.first.bias", "head.weight", "head.bias")
    with pytest.raises(InputError, match="would both become head"):
        model.load_state_dict({"a": 0, "b": 0}, prefixes={"a": "head", "b": "head"})


def test_a_head_of_another_size_is_refused_and_nothing_is_written() -> None:
    source, model = Classifier(4), Classifier(3)
    before = model.state_dict()
    with pytest.raises(InputError) as caught:
        model.load_state_dict(source.state_dict(), strict=False)
    assert caught.value.details == (
        "head.weight: expected f64[3,6], got float64[4, 6]",
        "head.bias: expected f64[3], got float64[4]",
    )
    assert caught.value.hint == 'leave some out by prefixes={"name": None}'
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_pretrained_body_learns_new_classes_faster_than_a_fresh_one() -> None:
    def train(model: Any, steps: int, labels: Any, **options: Any) -> float:
        step = nv.compile(step_of(model, optim.Adam(0.03), **options), backend="reference")
        return [float(step(X, labels)) for _ in range(steps)][-1]

    rule = (np.tanh(X @ RNG.normal(size=(5, 2))) > 0).astype(np.int64)
    nv.seed(3)
    teacher, tuned, fresh = Classifier(2), Classifier(3), Classifier(3)
    train(teacher, 300, rule[:, 0])
    tuned.load_state_dict(teacher.state_dict(), strict=False, prefixes={"head": None})
    assert train(tuned, 80, rule[:, 0], trainable=["head"]) < train(fresh, 80, rule[:, 0], trainable=["head"])
