"""Writing to what is no file: devices and pipes take the content and stay what they are."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nervure.ir.errors import InputError
from nervure.ir.text.files import is_stream, write_atomically

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="wants a system with pipes that have names")


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, [b"one", b"two"])
    reader.join()
    assert got == [b"onetwo"] and stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("path", ["/dev/null", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_what_the_system_shows_of_devices_is_never_replaced(path: str) -> None:
    assert is_stream(Path(path))


def test_files_and_folders_are_no_streams(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not any(is_stream(p) for p in (tmp_path, tmp_path / "file", tmp_path / "new", Path("new")))
    with pytest.raises(InputError, match="cannot write"):
        write_atomically(tmp_path, b"")


def test_standard_output_as_a_file_gets_the_content(tmp_path: Path) -> None:
    code = "from pathlib import Path; from nervure.ir.text.files import write_atomically as w; w(Path('/dev/stdout'), b'x')"
    with (tmp_path / "out").open("wb") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert (tmp_path / "out").read_bytes() == b"x" and sorted(tmp_path.iterdir()) == [tmp_path / "out"]
