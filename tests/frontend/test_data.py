"""Readers of data, with honest and hostile files."""

from __future__ import annotations

import gzip
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nervure import data
from nervure.ir.errors import InputError

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
LABELS = np.array([7, 1], np.uint8)


def idx(array: Any, code: int = 8) -> bytes:
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def same(found: Any, x: Any, y: Any) -> None:
    np.testing.assert_array_equal(found[0], x)
    np.testing.assert_array_equal(found[1], y)


def test_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=IMAGES, y=LABELS)
    same(data.load(tmp_path / "d.npz"), IMAGES, LABELS)


@pytest.mark.parametrize("packed", [False, True])
def test_idx_finds_its_labels_by_name(tmp_path: Path, packed: bool) -> None:
    end = ".gz" if packed else ""
    pack: Callable[[bytes], bytes] = gzip.compress if packed else bytes
    (tmp_path / f"train-images-idx3-ubyte{end}").write_bytes(pack(idx(IMAGES)))
    (tmp_path / f"train-labels-idx1-ubyte{end}").write_bytes(pack(idx(LABELS)))
    (tmp_path / f"t10k-images-idx3-ubyte{end}").write_bytes(pack(idx(IMAGES[:1])))
    same(data.load(tmp_path / f"train-images-idx3-ubyte{end}"), IMAGES, LABELS)
    same(data.load(tmp_path), IMAGES, LABELS)


def test_idx_of_wide_elements_is_big_endian(tmp_path: Path) -> None:
    wide = np.array([1.5, -2.0])
    (tmp_path / "a-idx1").write_bytes(idx(wide.astype(">f8"), 0x0E))
    found = data.read_idx(tmp_path / "a-idx1")
    assert found.dtype == np.float64
    assert found.tolist() == [1.5, -2.0]


def test_csv_with_a_head_and_labels_that_are_words(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("label,a,b\nno,1,2\nyes,3,4.5\nno,5,6\n")
    same(data.load(tmp_path / "d.csv"), [[1, 2], [3, 4.5], [5, 6]], [0, 1, 0])


def test_csv_without_a_head_has_its_label_last(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("1,2,0\n3,4,1\n")
    x, y = data.load(tmp_path / "d.csv")
    assert y.dtype == np.int64
    same((x, y), [[1, 2], [3, 4]], [0, 1])
    same(data.load_csv(tmp_path / "d.csv", 0), [[2, 0], [4, 1]], [1, 3])


def test_csv_of_numbers_to_predict(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("x,y\n1,0.5\n2,1.5\n")
    same(data.load(tmp_path / "d.csv"), [[1], [2]], [0.5, 1.5])


@pytest.mark.parametrize("colour", [False, True])
def test_a_folder_of_images_for_each_class(tmp_path: Path, colour: bool) -> None:
    image = pytest.importorskip("PIL.Image")
    for k, name in enumerate(["cat", "dog"]):
        (tmp_path / name).mkdir()
        (tmp_path / name / "note.txt").write_text("no image")
        image.fromarray(np.full((2, 3), 10 * k, np.uint8)).save(tmp_path / name / "a.png")
    if colour:
        image.fromarray(np.full((2, 3, 3), 99, np.uint8)).save(tmp_path / "dog" / "b.png")
    x, y = data.load(tmp_path)
    assert x.shape == ((3, 3, 2, 3) if colour else (2, 2, 3))
    assert y.tolist() == ([0, 1, 1] if colour else [0, 1])
    assert x[1].max() == 10


def npz(path: Path, **arrays: Any) -> None:
    np.savez(path, **arrays)


BROKEN: dict[str, tuple[str, bytes | str, str]] = {
    "missing": ("", b"", "no such file"),
    "kind": ("d.bin", b"x", "is no kind of data"),
    "not npz": ("d.npz", b"hello", "d.npz"),
    "no magic": ("a-idx3", b"\1\2\3\4", "is no IDX file: it begins with 01 02 03 04"),
    "short sizes": ("a-idx3", b"\0\0\x08\3\0\0", "ends within its sizes"),
    "huge sizes": ("a-idx3", b"\0\0\x08\3" + b"\xff" * 12, "claims"),
    "short data": ("a-images-idx3", idx(IMAGES)[:-3], "claims 24 bytes|holds 21 of 24"),
    "more data": ("a-images-idx3", idx(IMAGES) + b"x", "more than 24"),
    "bad gzip": ("a-idx3.gz", b"\x1f\x8bgarbage", "damaged"),
    "cut gzip": ("a-idx3.gz", gzip.compress(idx(IMAGES))[:-12], "damaged|holds"),
    "no labels": ("a-images-idx3", idx(IMAGES), "no labels beside it: expected a-labels-idx1"),
    "empty csv": ("d.csv", "", "is empty"),
    "ragged csv": ("d.csv", "1,2,0\n1,2\n", "line 2: 2 columns, expected 3"),
    "word in csv": ("d.csv", "a,b,y\n1,2,0\n1,x,0\n", "line 3, column 2: 'x' is no number"),
    "binary csv": ("d.csv", b"\xff\xfe\0\0", "damaged"),
}


def test_an_npz_that_claims_more_than_it_holds_allocates_nothing(tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", x=np.zeros(3), y=np.zeros(3))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        head = archive.read("x.npy").replace(b"(3,), }            ", b"(3000000000000,), }")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x.npy", head)
        archive.writestr("y.npy", head)
    with pytest.raises(InputError, match="x claims 24000000000000 bytes"):
        data.load(tmp_path / "b.npz")


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_fit_is_one_error_that_names_the_file(tmp_path: Path, name: str) -> None:
    file, content, message = BROKEN[name]
    path = tmp_path / (file or "gone.npz")
    if file:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=message) as caught:
        data.load(path)
    assert path.name in str(caught.value)


def test_arrays_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", x=IMAGES)
    with pytest.raises(InputError, match="has no array y"):
        data.load(tmp_path / "a.npz")
    npz(tmp_path / "b.npz", x=IMAGES, y=np.zeros(5))
    with pytest.raises(InputError, match="2 samples and 5 labels"):
        data.load(tmp_path / "b.npz")
    npz(tmp_path / "c.npz", x=np.array([{}], object), y=np.zeros(1))
    with pytest.raises(InputError, match="damaged"):
        data.load(tmp_path / "c.npz")


def test_images_of_other_sizes_and_damaged_ones_are_named(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        data.load(tmp_path)
    image.fromarray(np.zeros((2, 3), np.uint8)).save(tmp_path / "a" / "1.png")
    image.fromarray(np.zeros((4, 3), np.uint8)).save(tmp_path / "a" / "2.png")
    with pytest.raises(InputError, match=r"2\.png has 3 x 4 pixels, .*1\.png has 3 x 2"):
        data.load(tmp_path)
    (tmp_path / "a" / "2.png").write_bytes(b"no")
    with pytest.raises(InputError, match=r"2\.png is no image"):
        data.load(tmp_path)
