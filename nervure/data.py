"""Readers of labelled data: ``.npz``, IDX (MNIST's format), CSV, folders of images.

Everything here is read without trust: sizes that a file claims are held against its length before anything is
allocated, nothing is unpickled, and what does not fit is one error that names the file and the place.
"""

from __future__ import annotations

import csv
import gzip
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np

from .ir.errors import InputError
from .ir.types import Array

__all__ = ["load", "load_csv", "load_folder", "load_idx", "load_npz", "read_idx"]

MAX_BYTES = 1 << 34
"""More than this is refused: 16 GiB."""

IDX_TYPES: dict[int, Any] = {
    0x08: np.uint8, 0x09: np.int8, 0x0B: np.dtype(">i2"), 0x0C: np.dtype(">i4"), 0x0D: np.dtype(">f4"), 0x0E: np.dtype(">f8"),
}  # fmt: skip

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")

Pair = tuple[Array, Array]


def load(path: str | os.PathLike[str]) -> Pair:
    """Samples and labels of a file or folder, by its kind.

    An IDX file of samples finds its labels beside it, as MNIST and Fashion-MNIST name them; a folder that holds IDX
    files gives the training part.

    Returns:
        x, whose first axis counts the samples, and y, one for each

    Raises:
        InputError: no such file, an unknown kind, damaged or contradictory content
    """
    source = Path(path)
    if source.is_dir():
        found = sorted(p for p in source.iterdir() if _is_idx(p) and "images" in p.name)
        training = [p for p in found if "train" in p.name] or found
        return load_idx(training[0]) if training else load_folder(source)
    if not source.is_file():
        raise InputError(f"cannot read {source}: no such file")
    if source.suffix == ".npz":
        return load_npz(source)
    if source.suffix == ".csv":
        return load_csv(source)
    if _is_idx(source):
        return load_idx(source)
    raise InputError(
        f"{source}: {source.suffix or 'a name without ending'} is no kind of data",
        hint=".npz, .csv, IDX or a folder",
    )


def load_npz(path: str | os.PathLike[str]) -> Pair:
    """The arrays ``x`` and ``y`` of an ``.npz``.

    Raises:
        InputError: the file is damaged, one of the two is missing, or their lengths differ
    """
    source = Path(path)
    with _reading(source), zipfile.ZipFile(source) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        for name in ("x", "y"):
            if name not in names:
                raise InputError(
                    f"{source} has no array {name}", hint=f"it has {', '.join(names) or 'nothing'}"
                )
        return _paired(source, _member(source, archive, "x"), _member(source, archive, "y"))


def _member(source: Path, archive: zipfile.ZipFile, name: str) -> Array:
    """One array of an archive; what its head claims is held against what is there."""
    size = archive.getinfo(f"{name}.npy").file_size
    with archive.open(f"{name}.npy") as stream:
        reader: Any = np.lib.format
        major, _ = reader.read_magic(stream)
        shape, _, dtype = (
            reader.read_array_header_1_0(stream) if major == 1 else reader.read_array_header_2_0(stream)
        )
    claimed = dtype.itemsize
    for d in shape:
        claimed *= d
    if claimed > min(size, MAX_BYTES):
        raise InputError(f"{source}: {name} claims {claimed} bytes, the file holds {size}")
    with archive.open(f"{name}.npy") as stream:
        return reader.read_array(stream, allow_pickle=False)


def load_csv(path: str | os.PathLike[str], label: int | str = -1) -> Pair:
    """Numbers in columns, one of which is the label; a first line that is no number is a head.

    Args:
        label: the column of the label, by index or by its name in the head; a column named ``label`` or ``y`` where
               there is one, else the last

    Raises:
        InputError: with the line, where it has another count of columns or something that is no number
    """
    source = Path(path)
    with _reading(source), source.open(newline="", encoding="utf-8-sig") as file:
        rows = [(n, row) for n, row in enumerate(csv.reader(file), start=1) if row]
    if not rows:
        raise InputError(f"{source} is empty")
    head = [cell.strip() for cell in rows[0][1]]
    names = None if all(map(_is_number, head)) else head
    if names is not None:
        rows = rows[1:]
    column = _label_column(source, label, names, len(head))
    width = len(head)
    table = np.empty((len(rows), width))
    texts: dict[str, int] = {}
    labels_are_words = any(not _is_number(row[column]) for _, row in rows if len(row) == width)
    for k, (line, row) in enumerate(rows):
        if len(row) != width:
            raise InputError(f"{source}, line {line}: {len(row)} columns, expected {width}")
        for c, cell in enumerate(row):
            if c == column and labels_are_words:
                table[k, c] = texts.setdefault(cell.strip(), len(texts))
            elif not _is_number(cell):
                raise InputError(f"{source}, line {line}, column {c + 1}: {cell!r} is no number")
            else:
                table[k, c] = float(cell)
    y = table[:, column]
    if labels_are_words:
        order = {word: n for n, word in enumerate(sorted(texts))}
        y = np.array([order[word] for word in texts], np.int64)[y.astype(np.int64)]
    elif np.array_equal(y, np.round(y)):
        y = y.astype(np.int64)
    return _paired(source, np.delete(table, column, axis=1), y)


def _label_column(source: Path, label: int | str, names: Sequence[str] | None, width: int) -> int:
    if isinstance(label, str):
        if names is None or label not in names:
            raise InputError(f"{source} has no column {label}", hint=f"it has {', '.join(names or ())}")
        return names.index(label)
    if label == -1 and names is not None:
        known = [n for n in ("label", "y", "target", "class") if n in names]
        return names.index(known[0]) if known else width - 1
    if not -width <= label < width:
        raise InputError(f"{source} has {width} columns, none is {label}")
    return label % width


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
        stem = name.removesuffix(".gz")
        beside = [source.with_name(n) for n in (name, stem, f"{stem}.gz")]
        found = next((p for p in beside if p.is_file() and p != source), None)
        if found is None:
            raise InputError(f"{source} has no labels beside it: expected {name}")
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
            raise InputError(f"{source} is no IDX file: it begins with {magic.hex(' ')}")
        dtype, rank = np.dtype(IDX_TYPES[magic[2]]), magic[3]
        sizes = stream.read(4 * rank)
        if len(sizes) < 4 * rank:
            raise InputError(f"{source} ends within its sizes")
        shape = struct.unpack(f">{rank}I", sizes)
        wanted = dtype.itemsize
        for d in shape:
            wanted *= d
        if wanted > MAX_BYTES or (not packed and wanted > source.stat().st_size):
            raise InputError(f"{source} claims {wanted} bytes, it has {source.stat().st_size}")
        content = stream.read(wanted + 1)
    if len(content) != wanted:
        more = "more than" if len(content) > wanted else f"{len(content)} of"
        raise InputError(f"{source} holds {more} {wanted} bytes, shape {list(shape)}")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def load_folder(path: str | os.PathLike[str]) -> Pair:
    """Images in one folder a class; labels number the folders in the order of their names.

    Returns:
        x u8[N, H, W] for grey images, u8[N, 3, H, W] where one has colours; y i64[N]

    Raises:
        InputError: no folders or images, sizes that differ, a damaged file, or Pillow is missing
    """
    source = Path(path)
    classes = sorted(p for p in source.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [(p, k) for k, folder in enumerate(classes) for p in sorted(folder.iterdir()) if _is_image(p)]
    if not files:
        raise InputError(f"{source} holds no images", hint="expected one folder a class, with images in it")
    pictures = [_image(p) for p, _ in files]
    colour = any(p.ndim == 3 for p in pictures)
    first = pictures[0].shape[:2]
    for (file, _), picture in zip(files, pictures, strict=True):
        if picture.shape[:2] != first:
            raise InputError(f"{file} has {_size(picture.shape)} pixels, {files[0][0]} has {_size(first)}")
    if colour:
        pictures = [p if p.ndim == 3 else np.repeat(p[:, :, None], 3, axis=2) for p in pictures]
        pictures = [np.moveaxis(p, 2, 0) for p in pictures]
    return np.stack(pictures), np.array([k for _, k in files], np.int64)


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[0]}"


def _image(path: Path) -> Array:
    try:
        pillow: Any = import_module("PIL.Image")
    except ImportError as error:
        raise InputError("folders of images need Pillow", hint="pip install 'nervure[images]'") from error
    try:
        with pillow.open(path) as image:
            return np.asarray(
                image.convert("L" if image.mode in ("1", "L", "I", "I;16", "F", "LA") else "RGB")
            )
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise InputError(f"{path} is no image that can be read: {error}") from error


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_ENDINGS and path.is_file()


def _is_idx(path: Path) -> bool:
    name = path.name.removesuffix(".gz")
    return path.is_file() and ("idx" in name or name.endswith("ubyte"))


def _paired(source: Path, x: Array, y: Array) -> Pair:
    if not x.ndim or not y.ndim or len(x) != len(y):
        raise InputError(f"{source}: {len(x) if x.ndim else 0} samples and {len(y) if y.ndim else 0} labels")
    return x, y


class _reading:
    """Errors of the system and of formats, told as one of nervure's."""

    def __init__(self, source: Path) -> None:
        self.source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile) and error.strerror:
            raise InputError(f"cannot read {self.source}: {error.strerror}") from error
        if isinstance(
            error, (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, csv.Error)
        ):
            raise InputError(f"{self.source} is damaged: {error}") from error
