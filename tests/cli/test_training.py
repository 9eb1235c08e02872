"""``nervure train`` and ``nervure predict``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nervure as nv

Run = Callable[..., Any]
RNG = np.random.default_rng(2)


@pytest.fixture
def data() -> Path:
    """Points in four dimensions of three classes that a linear layer separates."""
    y = np.arange(120) % 3
    x = np.eye(4, dtype=np.float32)[y] * 3 + RNG.normal(size=(120, 4)).astype(np.float32) / 4
    np.savez("data.npz", x=x, y=y)
    return Path("data.npz")


TRAIN = ("train", "net.py:Net", "--loss", "cross_entropy", "--optimizer", "adam:lr=0.05")


def test_a_model_is_trained_saved_and_predicts(nervure: Run, data: Path) -> None:
    ran = nervure(
        *TRAIN, "--data", str(data), "--split", "0.25", "--epochs", "12", "-o", "net.nv", "--plot", "loss.png"
    )
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].startswith("epoch  1/12  loss ")
    assert lines[-2].endswith(" s left")
    assert "val loss" in lines[-1] and lines[-1].endswith("0 s")
    assert Path("loss.png").read_bytes()[:4] == b"\x89PNG"
    assert list(nv.load("net.nv").store) == ["fc.weight", "fc.bias"]
    predicted = nervure("predict", "net.nv", "--data", str(data), "--json").json
    assert predicted["count"] == 120
    assert predicted["accuracy"] > 0.9
    assert nervure("predict", "net.nv", "--data", str(data), "-o", "p.npy").code == 0
    assert np.load("p.npy").tolist() == predicted["predictions"]
    assert nervure("predict", "net.nv", "--data", str(data), "-o", "p.txt").code == 0
    assert [int(line) for line in Path("p.txt").read_text().split()] == predicted["predictions"]


def test_a_saved_model_is_trained_on(nervure: Run, data: Path) -> None:
    assert nervure(*TRAIN, "--data", str(data), "--epochs", "2", "-o", "a.nv").code == 0
    first = nervure("train", "a.nv", "--data", str(data), "--epochs", "3", "--json", "-o", "b.nv").json
    assert first["epochs"][-1]["loss"] < first["epochs"][0]["loss"]
    assert list(nv.load("b.nv").store) == ["fc.weight", "fc.bias"]


def test_a_language_model_is_trained_on_a_text(nervure: Run) -> None:
    Path("a.txt").write_text("".join(f"{k} bottles of b\u00e9er on the wall\n" for k in range(600)))
    ran = nervure(
        "train", "char-lstm", "--data", "a.txt", "--split", "0.2", "--epochs", "4", "--batch", "16",
        "--optimizer", "adam:lr=0.005", "--clip", "1", "--json", "-o", "lm.nv",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    first, *_, last = ran.json["epochs"]
    assert last["val_loss"] < 0.8 * first["val_loss"]
    assert 0.3 < last["accuracy"] < 1, "the share of characters that were said right"
    assert "lstm" in [n.op.mnemonic for n in nv.load("lm.nv").main.nodes]
    said = nervure("predict", "lm.nv", "--data", "a.txt", "--json").json
    assert np.shape(said["predictions"]) == (said["count"], 50)
    assert said["accuracy"] > 0.3


def test_early_stop_is_told(nervure: Run, data: Path) -> None:
    np.savez("noise.npz", x=RNG.normal(size=(30, 4)).astype(np.float32), y=np.arange(30) % 3)
    ran = nervure(*TRAIN, "--data", str(data), "--val", "noise.npz", "--epochs", "500", "--early-stop", "3")
    assert ran.code == 0
    assert "stopped after 3 epochs without a better one; the best was epoch" in ran.out


def test_a_resumed_run_writes_the_same_file(nervure: Run, data: Path) -> None:
    given = (*TRAIN, "--data", str(data), "--seed", "4")
    assert nervure(*given, "--epochs", "5", "-o", "whole.nv").code == 0
    assert nervure(*given, "--epochs", "2", "--checkpoint", "c").code == 0
    assert nervure(*given, "--epochs", "5", "--checkpoint", "c", "--resume", "-o", "parts.nv").code == 0
    assert Path("whole.safetensors").read_bytes() == Path("parts.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "0 is not in the range"),
        (["--loss", "mze"], "did you mean mse?"),
        (["--optimizer", "adm"], "did you mean adam?"),
        (["--optimizer", "adam:rate=1"], "rate=1 is no argument"),
        (["--val", "data.npz", "--split", "0.5"], "not both"),
        (["--resume"], "--resume needs --checkpoint"),
        (["--split", "0.001"], "leaves 120 samples to learn from and 0 held out"),
        (["--checkpoint", "net.py/c"], "cannot write checkpoints"),
        (["--val", "gone.npz"], "cannot read gone.npz"),
    ],
)
def test_wrong_use_is_one_message(nervure: Run, data: Path, arguments: list[str], message: str) -> None:
    ran = nervure(*TRAIN, "--data", str(data), *arguments)
    assert ran.code == 2
    assert message in ran.err


def test_data_that_does_not_fit_is_one_message(nervure: Run) -> None:
    np.savez("wide.npz", x=np.zeros((6, 5), np.float32), y=np.arange(6) % 3)
    assert "samples are [5], the model takes f32[B,4]" in nervure(*TRAIN, "--data", "wide.npz").err
    np.savez("labels.npz", x=np.zeros((6, 4), np.float32), y=np.arange(6))
    ran = nervure(*TRAIN, "--data", "labels.npz")
    assert ran.code == 2
    assert "is outside 0..2" in ran.err


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(nv.__file__).parents[1])}


def test_ctrl_c_ends_with_exit_code_130_and_a_whole_checkpoint(nervure: Run, data: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "nervure",
        *TRAIN,
        "--data",
        str(data),
        "--epochs",
        "100000",
        "--checkpoint",
        "c",
    ]
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with --resume from epoch" in error
    assert Path("c/last.safetensors").exists()


@pytest.mark.long
def test_a_run_killed_at_thirty_moments_ends_with_the_same_bits(nervure: Run, data: Path) -> None:
    given = [*TRAIN, "--data", str(data), "--val", str(data), "--epochs", "3000", "--batch", "8"]
    assert nervure(*given, "-o", "whole.nv").code == 0
    command = [sys.executable, "-m", "nervure", *given, "--checkpoint", "c", "--resume", "-o", "killed.nv"]
    moments = np.random.default_rng(0).uniform(0.3, 1.6, 30)
    kills = 0
    for moment in moments:
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL)
        time.sleep(float(moment))
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills == 30
    assert subprocess.run(command, env=environment(), stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert Path("whole.safetensors").read_bytes() == Path("killed.safetensors").read_bytes()


def test_an_output_that_cannot_be_written_is_refused_before_training(nervure: Run, data: Path) -> None:
    ran = nervure("train", "net.py:Net", "--data", str(data), "-o", "net.py/out.nv")
    assert ran.code == 2 and "net.py is a file" in ran.err and "epoch" not in ran.out


def test_a_model_that_is_not_kept_is_told(nervure: Run, data: Path) -> None:
    ran = nervure("train", "net.py:Net", "--data", str(data), "--epochs", "1")
    assert ran.code == 0 and "is not kept: -o FILE.nv" in ran.err


def test_an_error_that_no_line_of_the_user_caused_names_none(nervure: Run, data: Path) -> None:
    """What called a command is the shell, and no library on the way is the user's code."""
    np.savez("steps.npz", x=np.load(data)["x"], y=np.zeros((120, 7), np.int64))
    found = nervure("train", "net.py:Net", "--data", "steps.npz", "--loss", "cross_entropy")
    assert found.code != 0
    assert "cross_entropy: labels and logits differ in batch" in found.err
    assert "  at " not in found.err
