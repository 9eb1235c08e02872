"""`nv.from_torch`: modules of PyTorch become programs that compute the same, under the names that they have there."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure.frontend.nn.imported import ProgramModule

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def arrays(values: Any) -> list[Any]:
    flat = [t for v in values for t in (v if isinstance(v, tuple) else (v,))]
    return [t.detach().numpy() for t in flat]


def compare(module: Any, specs: Any, *batches: Any, backend: str = "llvm", rtol: float = 1e-4) -> Any:
    """The program, after each batch gave what PyTorch gives."""
    program = nv.from_torch(module, *specs)
    run = nv.compile(program, backend=backend)
    modes = [m.training for m in module.modules()]
    module.eval()
    for batch in batches:
        with torch.no_grad():
            wanted = module(*batch)
        wanted = arrays(wanted if isinstance(wanted, tuple) else (wanted,))
        found = run(*arrays(batch))
        for one, other in zip(found if isinstance(found, tuple) else (found,), wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * max(np.abs(other).max(), 1e-3))
    for m, mode in zip(module.modules(), modes, strict=True):
        m.training = mode
    return program


def cnn() -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, groups=2), nn.GroupNorm(4, 16), nn.Hardswish(), nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10), nn.LogSoftmax(-1),
    )  # fmt: skip


def stir(module: Any) -> Any:
    """Statistics and weights that are not those of a new module."""
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn_like(p) * 0.1)
        for name, b in module.named_buffers():
            if b.dtype.is_floating_point:
                b.copy_(torch.rand_like(b) + 0.5 if "var" in name else torch.randn_like(b))
    return module


@pytest.mark.parametrize("backend", ["llvm", "reference", "onnx"])
def test_a_cnn_with_an_open_batch(backend: str) -> None:
    module = stir(cnn())
    batches = [(torch.randn(n, 3, 16, 16),) for n in (1, 7)]
    program = compare(module, ["f32[B:1..64,3,16,16]"], *batches, backend=backend)
    assert [str(v.type) for v in program.main.inputs] == ["f32[B,3,16,16]"]
    used = {n for n in module.state_dict() if not n.endswith("num_batches_tracked")}
    assert set(program.store) == used
    assert {n for n, e in program.store.items() if e.trainable} == {n for n, _ in module.named_parameters()}
    assert module.training and module[7].training


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 7, 2, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(14, 3)

    def forward(self, x: Any, state: Any) -> Any:
        y, (h, _) = self.lstm(x, state)
        return self.fc(y), h


def test_a_recurrent_module_with_a_tuple_of_states_and_open_length() -> None:
    def batch(n: int, t: int) -> Any:
        return torch.randn(n, t, 5), (torch.randn(4, n, 7), torch.randn(4, n, 7))

    program = compare(
        Recurrent(), ["f32[B,T,5]", ("f32[4,B,7]", "f32[4,B,7]")], batch(3, 6), batch(1, 9), batch(2, 1)
    )
    assert [v.name for v in program.main.inputs] == ["x", "state_0", "state_1"]


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.out = nn.Linear(8, 11, bias=False)

    def forward(self, ids: Any) -> Any:
        h = self.embed(ids)
        a, _ = self.attend(h, h, h, need_weights=False)
        return self.out(nn.functional.gelu(self.norm(h + a)))


def test_attention_of_one_length() -> None:
    compare(Attention(), ["i64[B,6]"], *[(torch.randint(0, 11, (n, 6)),) for n in (1, 4)])


def test_attention_of_any_length_needs_the_other_exporter() -> None:
    pytest.importorskip("onnxscript")
    module = Attention()
    program = compare(module, ["i64[B,T]"], *[(torch.randint(0, 11, s),) for s in ((3, 4), (2, 9))])
    assert set(program.store) == set(module.state_dict())


def test_an_imported_module_trains() -> None:
    module = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
    module[0].weight.requires_grad_(False)
    net = ProgramModule(nv.from_torch(module, "f32[B,4]"))
    step = nv.compile(nv.training_step(net, nv.nn.cross_entropy, nv.optim.SGD(lr=0.5), "f32[B,4]", "i64[B]"))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 4)).astype(np.float32)
    y = (x[:, 0] > x[:, 1]).astype(np.int64)
    before = module[0].weight.detach().numpy().copy()
    losses = [float(step(x, y)) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]
    state = step.state_dict()
    np.testing.assert_array_equal(state["0.weight"], before)  # it requires no gradient there
    assert not np.array_equal(state["2.weight"], module[2].weight.detach().numpy())
    np.testing.assert_array_equal(module[0].weight.detach().numpy(), before)


def test_what_cannot_be_exported_is_told() -> None:
    class Odd(nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.special.i0(x)

    with pytest.raises(nv.NervureError, match=r"cannot export Odd: .*aten::i0"):
        nv.from_torch(Odd(), "f32[3]")
    with pytest.raises(nv.NervureError, match=r"Linear does not run on f32\[B,5\]"):
        nv.from_torch(nn.Linear(3, 4), "f32[B,5]")
    with pytest.raises(nv.NervureError, match="found function"):
        nv.from_torch(lambda x: x, "f32[3]")


def test_control_flow_that_the_trace_fixes_is_warned_of() -> None:
    class Branching(nn.Module):
        def forward(self, x: Any) -> Any:
            return x + 1 if x.sum() > 0 else x

    with pytest.warns(torch.jit.TracerWarning, match="Python boolean"):
        nv.from_torch(Branching(), "f32[3]")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nv.from_torch(Recurrent(), "f32[B,T,5]", ("f32[4,B,7]", "f32[4,B,7]"))


def test_weights_saved_by_pytorch_as_safetensors_load_into_the_same_network(tmp_path: Any) -> None:
    from safetensors.torch import save_file

    theirs = stir(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    )
    path = tmp_path / "weights.safetensors"
    save_file(theirs.state_dict(), path)

    class Net(nv.nn.Module):
        inputs = ("f32[B,3,6,6]",)

        def __init__(self) -> None:
            self.layers = [nv.nn.Conv2d(3, 4, 3), nv.nn.BatchNorm2d(4), nv.nn.Linear(64, 5)]

        def __call__(self, x: Any) -> Any:
            conv, norm, fc = self.layers
            return fc(nv.nn.flatten(nv.nn.relu(norm(conv(x)))))

    ours = Net()
    prefixes = {"0": "layers.0", "1": "layers.1", "4": "layers.2"}
    ours.load_state_dict(path, prefixes=prefixes, strict=False)
    x = torch.randn(3, 3, 6, 6)
    theirs.eval()
    found = nv.compile(ours, "f32[B,3,6,6]")(x.numpy())
    with pytest.raises(nv.NervureError, match="no such file"):
        ours.load_state_dict(tmp_path / "gone.safetensors")
    with pytest.raises(nv.NervureError, match="holds Python objects"):
        ours.load_state_dict(tmp_path / "weights.pt")
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:-9])
    with pytest.raises(nv.NervureError, match="damaged"):
        ours.load_state_dict(tmp_path / "cut.safetensors")
    np.testing.assert_allclose(found, theirs(x).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_example_tensors_say_the_types_of_the_inputs() -> None:
    module, x, h = nn.GRU(3, 4), torch.randn(5, 2, 3), torch.randn(1, 2, 4)
    found = nv.compile(nv.from_torch(module, x, h))(x.numpy(), h.numpy())
    for got, want in zip(found, module(x, h), strict=True):
        np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert nv.nn.Linear(2, 3, dtype=torch.float64).weight.type.dtype is nv.ir.types.f64
