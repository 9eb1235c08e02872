"""The same source gives the same bytes: in every process, whatever the hash seed, from every checkout path."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nervure

TESTS = Path(__file__).parents[1]
PACKAGE = Path(nervure.__file__).parent

SCRIPT = """
import hashlib, json, sys
from pathlib import Path
import nervure as nv
from nervure import nn, optim
from nervure.backends.onnx import export_onnx
from networks import lenet, vgg_with_batch_norm

found = {"where": nv.__file__}

def note(name, content):
    data = content.encode() if isinstance(content, str) else content
    found[name] = f"{len(data)} bytes {hashlib.sha256(data).hexdigest()}"

def artefacts(label, program):
    note(f"{label} text", str(program))
    run = nv.compile(program, cache=False)
    note(f"{label} optimised text", str(run.program))
    note(f"{label} notes", "\\n".join(map(str, run.notes)))
    note(f"{label} kernels", str(run.assembled.program))
    note(f"{label} llvm", run.text)
    note(f"{label} object", run.object)
    for name, saved in (("program", program), ("optimised", run.program)):
        nv.save(saved, f"{name}.nv")
        note(f"{label} {name}.nv", Path(f"{name}.nv").read_bytes())
        note(f"{label} {name}.safetensors", Path(f"{name}.safetensors").read_bytes())
    export_onnx(program, "program.onnx")
    note(f"{label} onnx", Path("program.onnx").read_bytes())
    return run

nv.seed(int(sys.argv[1]))
model = lenet(nn)
artefacts("inference", nv.trace(model, "f32[B,1,28,28]"))
artefacts("folded", nv.trace(vgg_with_batch_norm(nn), "f32[B,1,12,12]"))
step = nv.training_step(model, nn.cross_entropy, optim.SGD(0.02, momentum=0.9), "f32[B,1,28,28]", "i64[B]")
artefacts("step", step)
print(json.dumps(found, indent=1))
"""

KINDS = [
    "text", "optimised text", "notes", "kernels", "llvm", "object", "program.nv", "program.safetensors",
    "optimised.nv", "optimised.safetensors", "onnx",
]  # fmt: skip


def made_by(folder: Path, packages: Path, tests: Path, hash_seed: int, seed: int = 0) -> dict[str, str]:
    """What a process of its own makes of LeNet, as hashes."""
    folder.mkdir(parents=True)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(packages), str(tests)]),
        "PYTHONHASHSEED": str(hash_seed),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(seed)],
        cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    assert Path(found.pop("where")).parents[1] == packages
    assert list(found) == [f"{label} {kind}" for label in ("inference", "folded", "step") for kind in KINDS]
    return found


def differing(first: dict[str, str], second: dict[str, str]) -> list[str]:
    return [name for name in first if first[name] != second[name]]


def checkout(folder: Path) -> tuple[Path, Path]:
    """A copy of the sources, and of the networks that tests share."""
    shutil.copytree(PACKAGE, folder / "nervure", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").mkdir()
    shutil.copy(TESTS / "networks.py", folder / "tests")
    return folder, folder / "tests"


def test_hash_seeds_do_not_show(tmp_path: Path) -> None:
    makers = [made_by(tmp_path / str(k), PACKAGE.parent, TESTS, hash_seed=k) for k in (0, 1, 4242)]
    for other in makers[1:]:
        assert differing(makers[0], other) == []


def test_checkout_paths_do_not_show(tmp_path: Path) -> None:
    places = [tmp_path / "a", tmp_path / "a much longer path" / "with spaces" / "b"]
    makers = [made_by(place / "work", *checkout(place / "source"), hash_seed=7) for place in places]
    assert differing(*makers) == []


def test_other_weights_are_other_bytes_in_the_side_files_and_the_same_code(tmp_path: Path) -> None:
    makers = [made_by(tmp_path / str(k), PACKAGE.parent, TESTS, hash_seed=3, seed=k) for k in (0, 1)]
    changed = set(differing(*makers))
    same = ["optimised text", "notes", "kernels", "llvm", "object"]
    assert {"inference program.safetensors", "inference program.nv", "inference onnx"} <= changed
    assert not {f"{label} {kind}" for label in ("inference", "step") for kind in same[1:]} & changed


@pytest.mark.long
def test_ten_processes_and_two_checkouts_make_the_same_bytes(tmp_path: Path) -> None:
    places = [checkout(tmp_path / name) for name in ("one", "another one")]
    makers = [made_by(tmp_path / f"work {k}", *places[k % 2], hash_seed=101 * k + 5) for k in range(10)]
    for other in makers[1:]:
        assert differing(makers[0], other) == []
