"""Modules: names, state_dict, modes, freezing, and the tree they print."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import InputError, NervureError
from nervure.ir.interpret import evaluate_program


class Block(nn.Module):
    def __init__(self) -> None:
        self.fc = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)

    def __call__(self, x: Any) -> Any:
        return self.norm(self.fc(x))


class Net(nn.Module):
    def __init__(self) -> None:
        self.blocks = [Block(), Block()]
        self.head = nn.Sequential(nn.Dropout(0.5), nn.ReLU(), nn.Linear(2, 1, bias=False))
        self.scale = nn.Parameter(np.ones(1, np.float32))
        self.register_buffer("seen", np.zeros((), np.int64))

    def __call__(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return self.head(x) * self.scale


NAMES = [
    "scale", "seen",
    "blocks.0.fc.weight", "blocks.0.fc.bias",
    "blocks.0.norm.weight", "blocks.0.norm.bias", "blocks.0.norm.running_mean", "blocks.0.norm.running_var",
    "blocks.0.norm.num_batches_tracked",
    "blocks.1.fc.weight", "blocks.1.fc.bias",
    "blocks.1.norm.weight", "blocks.1.norm.bias", "blocks.1.norm.running_mean", "blocks.1.norm.running_var",
    "blocks.1.norm.num_batches_tracked",
    "head.0.key", "head.2.weight",
]  # fmt: skip


def test_entries_are_named_by_their_paths() -> None:
    net = Net()
    assert [name for name, _ in net.named_entries()] == NAMES
    assert list(net.state_dict()) == NAMES
    assert [n for n, _ in net.named_buffers()] == [
        n for n in NAMES if "running" in n or n.endswith(("seen", "tracked", "key"))
    ]
    assert len(list(net.parameters())) == 10
    assert list(nv.trace(net, "f32[B,2]").store) == NAMES


def test_a_state_dict_is_a_copy_that_loads_into_another_module() -> None:
    nv.seed(1)
    first, second = Net(), Net()
    state = first.state_dict()
    state["scale"][...] = 7
    assert first.scale.data[0] == 1
    second.load_state_dict(state)
    assert second.scale.data[0] == 7
    np.testing.assert_array_equal(second.head[2].weight.data, first.head[2].weight.data)


def test_a_state_dict_that_does_not_fit_lists_everything_and_changes_nothing() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = net.state_dict()
    state: dict[str, Any] = {
        "0.weight": np.zeros((3, 2), np.float32),
        "0.bias": np.zeros(4, np.float32),
        "1.weight": np.zeros((1, 3)),
        "2.weight": np.zeros(1, np.float32),
    }
    with pytest.raises(InputError) as caught:
        net.load_state_dict(state)
    assert str(caught.value) == (
        "state_dict does not fit Sequential\n"
        "  missing: 1.bias\n"
        "  unknown: 2.weight\n"
        "  0.bias: expected f32[3], got float32[4]\n"
        "  1.weight: expected f32[1,3], got float64[1, 3]"
    )
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    net.load_state_dict({"0.weight": state["0.weight"], "9": np.zeros(1)}, strict=False)
    assert not net[0].weight.data.any()


def test_a_random_key_may_be_missing_from_a_state_dict() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    state = {name: array for name, array in net.state_dict().items() if not name.endswith("key")}
    net.load_state_dict(state)


def test_a_shared_parameter_is_one_entry_with_two_names_in_the_state_dict() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.a = nn.Linear(2, 2, bias=False)
            self.b = nn.Linear(2, 2, bias=False)
            self.b.weight = self.a.weight

        def __call__(self, x: Any) -> Any:
            return self.b(self.a(x))

    net = Tied()
    assert [n for n, _ in net.named_parameters()] == ["a.weight"]
    assert list(net.state_dict()) == ["a.weight", "b.weight"]
    assert list(nv.trace(net, "f32[B,2]").store) == ["a.weight"]


def test_a_deep_copy_has_weights_of_its_own_and_keeps_what_is_shared() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Dropout())
    net[1].weight = net[0].weight
    twin = copy.deepcopy(net)
    assert twin[1].weight is twin[0].weight
    twin[0].weight.assign(np.zeros((2, 2), np.float32))
    assert net[0].weight.data.all()
    np.testing.assert_array_equal(twin[2].key.data, net[2].key.data)


def test_freezing_takes_weights_out_of_training_and_back() -> None:
    net = Net()
    net.blocks[0].freeze()
    assert [e.trainable for _, e in net.named_parameters()] == [True, *[False] * 4, *[True] * 5]
    text = str(nv.trace(net, "f32[B,2]"))
    assert "param @blocks.0.fc.weight : f32[2,2] #" in text
    net.unfreeze()
    assert all(e.trainable for e in net.parameters())


def test_an_array_in_place_of_a_parameter_is_refused_with_a_hint() -> None:
    net = nn.Linear(2, 2)
    with pytest.raises(NervureError) as caught:
        net.weight = np.zeros((2, 2), np.float32)  # type: ignore[assignment]
    assert (
        str(caught.value)
        == "Linear.weight is a parameter, got ndarray\n  hint: write to it with .weight.assign(array)"
    )
    net.bias = None
    assert [n for n, _ in net.named_parameters()] == ["weight"]


def test_a_module_prints_as_a_tree() -> None:
    net = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), Block(), nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)))
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1), padding=2)\n"
        "  (1): Block(\n"
        "    (fc): Linear(in_features=2, out_features=2, bias=True)\n"
        "    (norm): BatchNorm1d(2, eps=1e-05, momentum=0.1, affine=True)\n"
        "  )\n"
        "  (2): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)\n"
        "  )\n"
        ")"
    )


def test_the_same_seed_gives_the_same_weights() -> None:
    def weights() -> list[Any]:
        return [e.data.copy() for _, e in Net().named_entries()]

    nv.seed(5)
    first = weights()
    nv.seed(5)
    for one, two in zip(first, weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    layers = [nn.Conv2d(2, 4, 3, rng=np.random.default_rng(9)) for _ in range(2)]
    np.testing.assert_array_equal(layers[0].weight.data, layers[1].weight.data)


def test_initial_weights_are_uniform_within_kaimings_bound() -> None:
    nv.seed(0)
    for layer, fan in ((nn.Linear(400, 300), 400), (nn.Conv2d(16, 64, 5, groups=4), 4 * 25)):
        for entry in (layer.weight, layer.bias):
            assert entry is not None
            assert np.abs(entry.data).max() <= 1 / np.sqrt(fan)
        assert layer.weight.data.std() == pytest.approx(1 / np.sqrt(3 * fan), rel=0.03)


def test_sequential_has_indices_slices_length_and_order() -> None:
    layers = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)]
    net = nn.Sequential(*layers)
    assert len(net) == 3
    assert list(net) == layers
    assert net[-1] is layers[2]
    assert list(net[1:]) == layers[1:]
    mixed = nn.Sequential(layers[0], lambda x: x * 2)
    x = np.ones((1, 2), np.float32)
    (found,) = evaluate_program(nv.trace(mixed, x), [x])
    np.testing.assert_allclose(found, 2 * (x @ layers[0].weight.data.T + layers[0].bias.data), rtol=1e-6)


def test_a_container_finds_attributes_of_its_own_beside_its_layers() -> None:
    class Scaled(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Linear(2, 2))
            self.scale = nn.Parameter(np.ones(2, np.float32))

        def __call__(self, x: Any) -> Any:
            return super().__call__(x) * self.scale

    assert [n for n, _ in Scaled().named_parameters()] == ["scale", "0.weight", "0.bias"]
    layers = nn.ModuleList([nn.Linear(1, 1)])
    layers.append(nn.ReLU())
    assert [n for n, _ in layers.named_modules()] == ["", "0", "1"]


def test_eval_keeps_a_part_in_inference_mode_inside_a_training_trace() -> None:
    net = Net()
    entries = {name for name, _ in nv.trace(net, "f32[B,2]", training=True).main.updates}
    assert entries == {n for n in NAMES if "running" in n or n.endswith(("tracked", "key"))}
    net.blocks[1].eval()
    entries = {name for name, _ in nv.trace(net, "f32[B,2]", training=True).main.updates}
    assert entries == {
        n
        for n in NAMES
        if (n.startswith("blocks.0.norm.") and "ning" in n)
        or n.endswith(("0.norm.num_batches_tracked", "key"))
    }
    assert not nv.trace(net, "f32[B,2]").main.updates
    assert not nv.trace(net.eval(), "f32[B,2]", training=True).main.updates


def test_a_module_without_call_says_so() -> None:
    class Empty(nn.Module):
        pass

    with pytest.raises(NervureError, match="Empty defines no __call__"):
        nv.trace(Empty(), "f32[1]")


def test_a_module_that_contains_itself_is_refused() -> None:
    net = Block()
    net.inner = net  # type: ignore[attr-defined]
    with pytest.raises(NervureError, match="module inner contains itself"):
        net.state_dict()


def test_outside_a_trace_a_parameter_is_its_array_for_numpy() -> None:
    layer = nn.Linear(2, 2)
    np.testing.assert_array_equal(np.asarray(layer.weight), layer.weight.data)
    assert layer.weight.shape == (2, 2)
