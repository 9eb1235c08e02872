# long file: one reader after the other over one way to distrust a file
"""Readers of labelled data: ``.npz``, IDX (MNIST's format), CSV, folders of images, text.

Everything here is read without trust: sizes that a file claims are held against its length before anything is
allocated, nothing is unpickled, and what does not fit is one error that names the file and the place.
"""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np

from .ir.errors import InputError, reason_of
from .ir.types import Array

__all__ = ["load", "load_csv", "load_folder", "load_idx", "load_npz", "load_text", "read_idx"]

MAX_BYTES = 1 << 34
"""More than this is refused: 16 GiB."""

DEFLATE_RATIO = 1032
"""Deflate makes no more bytes of one than this (zlib, technical details), so that a claim beyond it is false."""

IDX_TYPES: dict[int, Any] = {
    0x08: np.uint8, 0x09: np.int8, 0x0B: np.dtype(">i2"), 0x0C: np.dtype(">i4"), 0x0D: np.dtype(">f4"), 0x0E: np.dtype(">f8"),
}  # fmt: skip

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")

LABEL_NAMES = ("label", "y", "target", "class")

Pair = tuple[Array, Array]
Row = tuple[int, list[str]]


def load(path: str | os.PathLike[str], steps: int = 50) -> Pair:
    """Samples and labels of a file or folder, by its kind.

    An IDX file of samples finds its labels beside it, as MNIST and Fashion-MNIST name them; a folder that holds IDX
    files gives the training part. A ``.txt`` gives sequences of `steps` characters and what follows each.

    Returns:
        x, whose first axis counts the samples, and y, one for each

    Raises:
        InputError: no such file, an unknown kind, damaged or contradictory content
    """
    source = Path(path)
    if source.is_dir():
        found = [p for p in _entries(source) if _is_idx(p) and "images" in p.name]
        training = [p for p in found if "train" in p.name] or found
        return load_idx(training[0]) if training else load_folder(source)
    if not source.is_file():
        raise InputError(f"cannot read {source}: no such file", code="NV0304")
    if source.suffix == ".npz":
        return load_npz(source)
    if source.suffix == ".csv":
        return load_csv(source)
    if source.suffix == ".txt":
        return load_text(source, steps)
    if _is_idx(source):
        return load_idx(source)
    raise InputError(
        f"{source}: {source.suffix or 'a name without ending'} is no kind of data",
        hint=".npz, .csv, .txt, IDX or a folder",
        code="NV0606",
    )


def load_npz(path: str | os.PathLike[str]) -> Pair:
    """The arrays ``x`` and ``y`` of an ``.npz``, or ``x_train`` and ``y_train`` where it has those.

    Raises:
        InputError: the file is damaged, one of the two is missing, or their lengths differ
    """
    source = Path(path)
    with _reading(source), zipfile.ZipFile(source) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        end = "_train" if "x" not in names and "x_train" in names else ""
        x, y = (_member(source, archive, name + end, names) for name in ("x", "y"))
    return _paired(source, x, y)


def load_text(path: str | os.PathLike[str], steps: int = 50) -> Pair:
    """Sequences of characters, i64 [n, steps], and for each the characters one further on.

    Characters are their ASCII codes; others count as ``?``. What is left behind the last whole sequence is left out.

    Raises:
        InputError: the file is no UTF-8 text, or too short for one sequence
    """
    source = Path(path)
    with _reading(source):
        raw = source.read_bytes()
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{source} is no UTF-8 text, at byte {error.start}", code="NV0606") from None
    codes = np.frombuffer(text.encode("ascii", "replace"), np.uint8).astype(np.int64)
    count = (len(codes) - 1) // steps
    if count < 1:
        raise InputError(
            f"{source} has {len(codes)} characters, expected more than {steps} for a sequence", code="NV0606"
        )
    end = count * steps
    return codes[:end].reshape(count, steps), codes[1 : end + 1].reshape(count, steps)


def _member(source: Path, archive: zipfile.ZipFile, name: str, names: Sequence[str]) -> Array:
    """One array of an archive; what its head claims is held against what can be there."""
    if name not in names:
        raise InputError(
            f"{source} has no array {name}", hint=f"it has {', '.join(names) or 'nothing'}", code="NV0606"
        )
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(
            f"{source}: {name} is compressed by method {info.compress_type}, expected deflate", code="NV0606"
        )
    packed = min(info.compress_size, source.stat().st_size)
    most = packed * (1 if info.compress_type == zipfile.ZIP_STORED else DEFLATE_RATIO)
    reader: Any = np.lib.format
    with archive.open(info) as stream:
        major, _ = reader.read_magic(stream)
        head = reader.read_array_header_1_0 if major == 1 else reader.read_array_header_2_0
        shape, _, dtype = head(stream)
    claimed = dtype.itemsize
    for d in shape:
        claimed *= d
    if not 0 <= claimed <= min(info.file_size, most, MAX_BYTES):
        raise InputError(
            f"{source}: {name} claims {claimed} bytes, the file holds {min(info.file_size, most)}",
            code="NV0606",
        )
    with archive.open(info) as stream:
        return reader.read_array(stream, allow_pickle=False)


def load_csv(path: str | os.PathLike[str], label: int | str = -1) -> Pair:
    """Numbers in columns, one of which is the label; a first line of names is a head.

    Labels that are words are numbered in the order of the alphabet; labels that are whole numbers are i64.

    Args:
        label: the column of the label, by index or by its name in the head; a column named ``label``, ``y``,
               ``target`` or ``class`` where there is one, else the last

    Raises:
        InputError: with the line, where it has another count of columns or something that is no number
    """
    source = Path(path)
    rows = _rows(source)
    head = [cell.strip() for cell in rows[0][1]]
    width = len(head)
    if width < 2:
        raise InputError(
            f"{source}, line {rows[0][0]}: {width} column, expected numbers and a label", code="NV0606"
        )
    names = head if _is_head(head, rows[1:], label) else None
    rows = rows[1:] if names else rows
    if not rows:
        raise InputError(f"{source} holds a head and no samples", code="NV0606")
    column = _label_column(source, label, names, width)
    x, labels = np.empty((len(rows), width - 1)), list[str]()
    for k, (line, row) in enumerate(rows):
        if len(row) != width:
            raise InputError(f"{source}, line {line}: {len(row)} columns, expected {width}", code="NV0606")
        labels.append(row[column].strip())
        if not labels[-1]:
            raise InputError(f"{source}, line {line}, column {column + 1}: the label is empty", code="NV0606")
        cells = row[:column] + row[column + 1 :]
        wrong = None if _are_numbers(cells) else next(c for c in cells if not _are_numbers([c]))
        if wrong is not None:
            place = next(c for c, cell in enumerate(row) if c != column and cell == wrong)
            raise InputError(
                f"{source}, line {line}, column {place + 1}: {wrong[:40]!r} is no number", code="NV0606"
            )
        x[k] = [float(cell) for cell in cells]
    return x, _numbered(labels)


def _rows(source: Path) -> list[Row]:
    """The lines that are not empty, with their numbers."""
    with _reading(source):
        if source.stat().st_size > MAX_BYTES:
            raise InputError(
                f"{source} has {source.stat().st_size} bytes, at most {MAX_BYTES} are read", code="NV0606"
            )
        content = source.read_bytes()
    try:
        text = content.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{source}, line {line}: byte {error.object[error.start]:#04x} is no UTF-8", code="NV0606"
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise InputError(f"{source}, line {reader.line_num}: {error}", code="NV0606") from error
    if not rows:
        raise InputError(f"{source} is empty", code="NV0606")
    return rows


def _is_head(first: Sequence[str], others: Sequence[Row], label: int | str) -> bool:
    """Whether the first line holds names: a word among its numbers, or over labels that are numbers."""
    words = [c for c, cell in enumerate(first) if not _are_numbers([cell])]
    if isinstance(label, str) and label in first:
        return True
    if not words:
        return False
    column = label % len(first) if isinstance(label, int) else -1
    if words != [column] or first[column] in LABEL_NAMES:
        return True
    return bool(others) and all(_are_numbers(row[column : column + 1]) for _, row in others)


def _label_column(source: Path, label: int | str, names: Sequence[str] | None, width: int) -> int:
    if isinstance(label, str):
        if names is None or label not in names:
            raise InputError(
                f"{source} has no column {label}", hint=f"it has {', '.join(names or ())}", code="NV0606"
            )
        return names.index(label)
    if label == -1 and names is not None:
        known = [n for n in LABEL_NAMES if n in names]
        return names.index(known[0]) if known else width - 1
    if not -width <= label < width:
        raise InputError(f"{source} has {width} columns, none is {label}", code="NV0606")
    return label % width


def _are_numbers(cells: Sequence[str]) -> bool:
    try:
        for cell in cells:
            float(cell)
    except ValueError:
        return False
    return not any("_" in cell for cell in cells)


def _numbered(labels: list[str]) -> Array:
    if not _are_numbers(labels):
        return np.unique(np.array(labels), return_inverse=True)[1].astype(np.int64)
    y = np.array([float(label) for label in labels])
    whole = np.isfinite(y).all() and (y == np.round(y)).all() and (np.abs(y) < 2**53).all()
    return y.astype(np.int64) if whole else y


def load_idx(images: str | os.PathLike[str], labels: str | os.PathLike[str] | None = None) -> Pair:
    """Samples of an IDX file with the labels of another.

    Args:
        labels: found by name if not given: ``train-images-idx3-ubyte`` belongs to ``train-labels-idx1-ubyte``

    Raises:
        InputError: the labels are not there, or a file is damaged
    """
    source = Path(images)
    x = read_idx(source)
    if labels is None:
        name = source.name.replace("images", "labels").replace("idx3", "idx1")
        if name == source.name:
            raise InputError(
                f"{source} has no name that says where its labels are", hint="pass labels=PATH", code="NV0606"
            )
        stem = name.removesuffix(".gz")
        beside = [source.with_name(n) for n in (name, stem, f"{stem}.gz")]
        found = next((p for p in beside if p.is_file() and p != source), None)
        if found is None:
            raise InputError(f"{source} has no labels beside it: expected {name}", code="NV0606")
        labels = found
    return _paired(source, x, read_idx(labels))


def read_idx(path: str | os.PathLike[str]) -> Array:
    """One array of an IDX file, plain or compressed by gzip.

    Source: Y. LeCun, C. Cortes, C. Burges, the MNIST database, file formats

    Raises:
        InputError: no magic number, an unknown element type, or a length that is not what the sizes say
    """
    source = Path(path)
    with _reading(source), source.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    opened = cast(Callable[[Path, str], Any], gzip.open if packed else open)
    with _reading(source), opened(source, "rb") as stream:
        magic = stream.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_TYPES:
            raise InputError(
                f"{source} is no IDX file: it begins with {magic.hex(' ') or 'nothing'}", code="NV0606"
            )
        dtype, rank = np.dtype(IDX_TYPES[magic[2]]), magic[3]
        sizes = stream.read(4 * rank)
        if len(sizes) < 4 * rank:
            raise InputError(
                f"{source} ends at byte {4 + len(sizes)}, within the sizes of {rank} axes", code="NV0606"
            )
        shape = struct.unpack(f">{rank}I", sizes)
        wanted = dtype.itemsize
        for d in shape:
            wanted *= d
        held = source.stat().st_size
        if wanted > min(MAX_BYTES, held * (DEFLATE_RATIO if packed else 1)):
            raise InputError(
                f"{source}, byte 4: shape {list(shape)} claims {wanted} bytes, the file has {held}",
                code="NV0606",
            )
        content = stream.read(wanted + 1)
        if len(content) != wanted:
            start = 4 + len(sizes)
            more = (
                f"goes on behind byte {start + wanted}"
                if content[wanted:]
                else f"ends at byte {start + len(content)}"
            )
            raise InputError(f"{source} {more}: shape {list(shape)} has {wanted} bytes", code="NV0606")
        return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def load_folder(path: str | os.PathLike[str]) -> Pair:
    """Images in one folder a class; labels number the folders in the order of their names.

    Grey levels of 16 bits keep their upper 8; transparency is dropped.

    Returns:
        x u8[N, H, W] for grey images, u8[N, 3, H, W] where one has colours; y i64[N]

    Raises:
        InputError: no folders or images, sizes that differ, a damaged file, or Pillow is missing
    """
    source = Path(path)
    classes = [p for p in _entries(source) if p.is_dir() and not p.name.startswith(".")]
    files = [(p, k) for k, folder in enumerate(classes) for p in _entries(folder) if _is_image(p)]
    if not files:
        raise InputError(
            f"{source} holds no images", hint="expected one folder a class, with images in it", code="NV0606"
        )
    pictures: list[Array] = []
    for file, _ in files:
        pictures.append(_image(file, files[0][0], pictures[0].shape if pictures else None))
    if any(p.ndim == 3 for p in pictures):
        pictures = [p if p.ndim == 3 else np.repeat(p[:, :, None], 3, axis=2) for p in pictures]
        pictures = [np.moveaxis(p, 2, 0) for p in pictures]
    return np.stack(pictures), np.array([k for _, k in files], np.int64)


def _image(path: Path, first: Path, shape: Sequence[int] | None) -> Array:
    """The pixels of a file; its size is compared with the first one's before they are read."""
    try:
        pillow: Any = import_module("PIL.Image")
    except ImportError as error:
        raise InputError("folders of images need Pillow", hint="pip install 'nervure[images]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            with pillow.open(path) as image:
                width, height = image.size
                if shape is not None and (height, width) != tuple(shape[:2]):
                    raise InputError(
                        f"{path} has {width} x {height} pixels, {first} has {shape[1]} x {shape[0]}",
                        code="NV0606",
                    )
                if image.mode.startswith("I;16"):
                    return (np.asarray(image) >> 8).astype(np.uint8)
                if image.mode in ("I", "F"):
                    raise InputError(f"{path} has pixels of 32 bits, expected 8 or 16", code="NV0606")
                return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    except InputError:
        raise
    # Pillow's decoders raise what they like
    except Exception as error:
        raise InputError(
            f"{path} is no image that can be read: {error or type(error).__name__}", code="NV0606"
        ) from error


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_ENDINGS and path.is_file()


def _entries(folder: Path) -> list[Path]:
    with _reading(folder):
        return sorted(folder.iterdir())


def _is_idx(path: Path) -> bool:
    name = path.name.removesuffix(".gz")
    return path.is_file() and ("idx" in name or name.endswith("ubyte"))


def _paired(source: Path, x: Array, y: Array) -> Pair:
    if not x.ndim or not y.ndim or len(x) != len(y):
        raise InputError(f"{source}: {len(x) if x.ndim else 0} samples and {len(y) if y.ndim else 0} labels")
    return x, y


DAMAGE = (
    OSError, ValueError, EOFError, KeyError, OverflowError, RuntimeError, struct.error,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip


class _reading:
    """Errors of the system and of formats, told as one of nervure's."""

    def __init__(self, source: Path) -> None:
        self.source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, MemoryError):
            raise InputError(
                f"cannot read {self.source}: there is not enough memory", code="NV0304"
            ) from error
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile) and error.strerror:
            raise InputError(f"cannot read {self.source}: {reason_of(error)}", code="NV0304") from error
        if isinstance(error, DAMAGE) and not isinstance(error, InputError):
            raise InputError(
                f"{self.source} is damaged: {error or type(error).__name__}", code="NV0606"
            ) from error
