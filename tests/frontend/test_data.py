"""Readers of data, with honest and hostile files."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
import zlib
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


HEADS = {
    "iris has none": ("5.1,3.5,setosa\n4.9,3.0,setosa\n6.2,2.9,other\n", [1, 1, 0]),
    "names that are numbers": ("0,1,label\n5,6,7\n8,9,4\n", [7, 4]),
    "one name over numbers": ("0,1,digit\n5,6,7\n8,9,4\n", [7, 4]),
    "a known name over words": ("0,1,class\n5,6,b\n8,9,a\n", [1, 0]),
    "a word among the features": ("a,1,2\n5,6,7\n8,9,4\n", [7, 4]),
}


@pytest.mark.parametrize("name", HEADS)
def test_csv_a_first_line_is_a_head_only_where_it_names_columns(tmp_path: Path, name: str) -> None:
    text, labels = HEADS[name]
    (tmp_path / "d.csv").write_text(text)
    x, y = data.load(tmp_path / "d.csv")
    assert y.tolist() == labels
    assert x.shape == (len(labels), 2)


def test_csv_labels_beyond_whole_numbers_stay_floats(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("1,inf\n2,nan\n3,1e300\n")
    assert data.load(tmp_path / "d.csv")[1].dtype == np.float64


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
    "short sizes": ("a-idx3", b"\0\0\x08\3\0\0", "ends at byte 6, within the sizes of 3 axes"),
    "huge sizes": ("a-idx3", b"\0\0\x08\3" + b"\xff" * 12, "byte 4: .* claims .* the file has 16"),
    "sizes that gzip cannot hold": (
        "a-idx3.gz",
        gzip.compress(b"\0\0\x08\3" + struct.pack(">3I", 9000, 1000, 1000)),
        r"byte 4: shape \[9000, 1000, 1000\] claims 9000000000 bytes",
    ),
    "short data": ("a-images-idx3", idx(IMAGES)[:-3], "ends at byte 37: "),
    "more data": ("a-images-idx3", idx(IMAGES) + b"x", "goes on behind byte 40: "),
    "bad gzip": ("a-idx3.gz", b"\x1f\x8bgarbage", "damaged"),
    "cut gzip": ("a-idx3.gz", gzip.compress(idx(IMAGES))[:-12], "damaged"),
    "nothing": ("a-idx3", b"", "it begins with nothing"),
    "labels given as images": ("a-labels-idx1", idx(LABELS), "no name that says where its labels are"),
    "no labels": ("a-images-idx3", idx(IMAGES), "no labels beside it: expected a-labels-idx1"),
    "empty csv": ("d.csv", "", "is empty"),
    "ragged csv": ("d.csv", "1,2,0\n1,2\n", "line 2: 2 columns, expected 3"),
    "word in csv": ("d.csv", "a,b,y\n1,2,0\n1,x,0\n", "line 3, column 2: 'x' is no number"),
    "binary csv": ("d.csv", b"1,2\n3,\xff\n", "line 2: byte 0xff is no UTF-8"),
    "one column": ("d.csv", "1\n2\n", "line 1: 1 column, expected numbers and a label"),
    "a head only": ("d.csv", "a,b,y\n", "holds a head and no samples"),
    "no label": ("d.csv", "1,2,0\n1,2,\n", "line 2, column 3: the label is empty"),
    "underscores": ("d.csv", "1,2,0\n1,2_0,0\n", "line 2, column 2: '2_0' is no number"),
    "open quote": ("d.csv", '1,2,0\n1,"2,0\n', "line 2: unexpected end of data"),
    "huge cell": ("d.csv", "1,2,0\n1," + "9" * 140_000 + ",0\n", "line 2: field larger than"),
}


def test_npz_as_keras_names_its_parts(tmp_path: Path) -> None:
    npz(tmp_path / "d.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:1], y_test=LABELS[:1])
    same(data.load(tmp_path / "d.npz"), IMAGES, LABELS)


def test_sixteen_bits_of_grey_keep_their_upper_eight(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "a").mkdir()
    image.fromarray(np.array([[0, 255, 256, 65535]], np.uint16)).save(tmp_path / "a" / "1.png")
    assert data.load(tmp_path)[0].tolist() == [[[0, 0, 1, 255]]]
    image.fromarray(np.ones((1, 4), np.float32)).save(tmp_path / "a" / "0.tif")
    with pytest.raises(InputError, match=r"0\.tif has pixels of 32 bits, expected 8 or 16"):
        data.load(tmp_path)


def test_a_picture_too_large_for_its_file_is_not_decoded(tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image")
    (tmp_path / "a").mkdir()
    size = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", size), (b"IDAT", zlib.compress(b"\0"))]
    chunks = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in parts]
    (tmp_path / "a" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    with pytest.raises(InputError, match=r"1\.png is no image that can be read: .*144000000 pixels"):
        data.load(tmp_path)


def seeds() -> dict[str, bytes]:
    """A whole file of each kind."""
    found = {"d.csv": b"label,a,b\nno,1,2\nyes,3,4.5\n", "x-images-idx3": idx(IMAGES)}
    found["y-images-idx3.gz"] = gzip.compress(idx(IMAGES))
    for name, save in (("a.npz", np.savez), ("b.npz", np.savez_compressed)):
        stream = io.BytesIO()
        save(stream, x=IMAGES, y=LABELS)
        found[name] = stream.getvalue()
    image = pytest.importorskip("PIL.Image")
    for kind in ("PNG", "JPEG", "GIF"):
        stream = io.BytesIO()
        image.fromarray(IMAGES[0]).save(stream, kind)
        found[f"p/k/1.{kind.lower()}"] = stream.getvalue()
    return found


def damage(content: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, cut off, put in or taken out."""
    out = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(5):
            case 0 | 1 if at < len(out):
                out[at] = rng.choice([0, 255, rng.randrange(256), ord("9"), ord("-"), ord(",")])
            case 2:
                del out[at:]
            case 3:
                out[at:at] = rng.randbytes(rng.randint(1, 5))
            case _:
                del out[at : at + rng.randint(1, 6)]
    return bytes(out)


@pytest.mark.parametrize(
    "name",
    ["d.csv", "x-images-idx3", "y-images-idx3.gz", "a.npz", "b.npz", "p/k/1.png", "p/k/1.jpeg", "p/k/1.gif"],
)
def test_damage_is_read_or_refused_and_nothing_else(tmp_path: Path, name: str) -> None:
    rng, content = random.Random(name), seeds()[name]
    (tmp_path / "x-labels-idx1").write_bytes(idx(LABELS))
    (tmp_path / "y-labels-idx1.gz").write_bytes(gzip.compress(idx(LABELS)))
    (tmp_path / "p" / "k").mkdir(parents=True)
    refused = 0
    for _ in range(400):
        hurt = damage(content, rng)
        (tmp_path / name).write_bytes(hurt)
        try:
            data.load(tmp_path / "p" if name.startswith("p/") else tmp_path / name)
        except InputError as error:
            refused += 1
            assert str(tmp_path) in str(error), hurt
    assert refused > 20


def test_an_npz_that_claims_more_than_it_holds_allocates_nothing(tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", x=np.zeros(3), y=np.zeros(3))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        head = archive.read("x.npy").replace(b"(3,), }            ", b"(3000000000000,), }")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x.npy", head)
        archive.writestr("y.npy", head)
    with pytest.raises(InputError, match="x claims 24000000000000 bytes"):
        data.load(tmp_path / "b.npz")


def test_an_npz_whose_directory_agrees_with_a_false_claim_allocates_nothing(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(3), y=np.zeros(3))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        head = archive.read("x.npy").replace(b"(3,), }        ", b"(150000000,), }")
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", head)
        archive.writestr("y.npy", head)
    content = (tmp_path / "b.npz").read_bytes()
    # the directory's entry: the size before compression stands 24 bytes behind the mark
    at = content.index(b"PK\1\2") + 24
    (tmp_path / "b.npz").write_bytes(content[:at] + struct.pack("<I", 1_200_000_128) + content[at + 4 :])
    with pytest.raises(InputError, match=r"x claims 1200000000 bytes, the file holds \d{5,6}$"):
        data.load(tmp_path / "b.npz")


def test_an_npz_of_another_compression_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", b"")
    with pytest.raises(InputError, match="x is compressed by method 14, expected deflate"):
        data.load(tmp_path / "a.npz")


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


def test_a_text_becomes_sequences_and_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("abcdéfghij", encoding="utf-8")
    x, y = data.load(path, steps=3)
    assert ["".join(map(chr, row)) for row in x] == ["abc", "d?f", "ghi"]
    assert ["".join(map(chr, row)) for row in y] == ["bcd", "?fg", "hij"]
    with pytest.raises(InputError, match=r"has 10 characters, expected more than 50 for a sequence"):
        data.load(path)
    path.write_bytes(b"abc\xff")
    with pytest.raises(InputError, match="is no UTF-8 text, at byte 3"):
        data.load(path)
