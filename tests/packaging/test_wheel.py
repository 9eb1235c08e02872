"""What is shipped: the contents of sdist and wheel, and the installed package. `make wheel` sets the scene."""

from __future__ import annotations

import importlib.metadata
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import nervure

LAYERS = ["ir", "frontend", "passes", "runtime", "backends"]


def wheel_files(path: Path) -> set[str]:
    """The plain files of a wheel."""
    with zipfile.ZipFile(path) as wheel:
        return {i.filename for i in wheel.infolist() if not stat.S_ISLNK(i.external_attr >> 16)}


def sdist_files(path: Path) -> set[str]:
    """The plain files of an sdist, without its top folder."""
    with tarfile.open(path) as sdist:
        return {member.name.partition("/")[2] for member in sdist.getmembers() if member.isfile()}


def package_files(checkout: Path) -> set[str]:
    """What the package holds in a checkout, under the names it is installed by."""
    rooms = [path for path in (checkout / "nervure").iterdir() if not path.is_symlink()]
    inside = [found for room in rooms if room.is_dir() for found in room.rglob("*")]
    own = {
        path.relative_to(checkout).as_posix()
        for path in (*rooms, *inside)
        if path.is_file() and "__pycache__" not in path.parts
    }
    layers = {
        f"nervure/{path.relative_to(checkout).as_posix()}"
        for layer in LAYERS
        for path in (checkout / layer).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return own | layers


@pytest.fixture(scope="module")
def dist() -> Path:
    return Path(os.environ["NERVURE_DIST"])


@pytest.fixture(scope="module")
def shipped() -> set[str]:
    return package_files(Path(os.environ["NERVURE_CHECKOUT"]))


@pytest.mark.wheel
def test_the_wheel_holds_the_package_and_nothing_else(dist: Path, shipped: set[str]) -> None:
    (wheel,) = dist.glob("*.whl")
    files = wheel_files(wheel)
    assert {"nervure/py.typed", *(f"nervure/{layer}/__init__.py" for layer in LAYERS)} <= shipped
    assert {name for name in files if ".dist-info/" not in name} == shipped
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in files)


@pytest.mark.wheel
def test_the_sdist_holds_the_links_as_files(dist: Path, shipped: set[str]) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    assert {"pyproject.toml", "README.md", "LICENSE"} | shipped <= sdist_files(sdist)


@pytest.mark.wheel
def test_what_is_imported_is_what_was_installed() -> None:
    assert Path(nervure.__file__).resolve().is_relative_to(Path(sys.prefix).resolve())
    assert nervure.__version__ == importlib.metadata.version("nervure")
    for layer in LAYERS:
        assert not (Path(nervure.__file__).parent / layer).is_symlink()


@pytest.mark.wheel
def test_the_command_line_runs() -> None:
    command = Path(sys.executable).with_name("nervure")
    run = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert nervure.__version__ in run.stdout


@pytest.mark.wheel
@pytest.mark.parametrize("name", ["reference", "onnx", "llvm"])
def test_a_backend_is_found_by_its_entry_point(name: str) -> None:
    (entry,) = importlib.metadata.entry_points(group="nervure.backends", name=name)
    assert entry.load()().name == name


def test_a_planted_loss_and_a_planted_link_are_found(tmp_path: Path) -> None:
    (tmp_path / "nervure").mkdir()
    (tmp_path / "nervure/__init__.py").write_text("")
    for layer in LAYERS:
        (tmp_path / layer).mkdir()
        (tmp_path / layer / "__init__.py").write_text("")
    with zipfile.ZipFile(tmp_path / "planted.whl", "w") as wheel:
        for layer in LAYERS[1:]:
            wheel.writestr(f"nervure/{layer}/__init__.py", "")
        link = zipfile.ZipInfo("nervure/__init__.py")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        wheel.writestr(link, "../__init__.py")
    missing = package_files(tmp_path) - wheel_files(tmp_path / "planted.whl")
    assert missing == {"nervure/__init__.py", "nervure/ir/__init__.py"}
