"""What benchmarks/cuda/check.sh installs: what is missing, and nothing that is there."""

import zipfile
from pathlib import Path

import pytest

from benchmarks.cuda import missing_wheels
from benchmarks.cuda.missing_wheels import missing


def wheel(folder: Path, name: str, *needs: str) -> Path:
    """A wheel of nothing but its metadata."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        lines = [
            "Metadata-Version: 2.1",
            f"Name: {name}",
            "Version: 1.0",
            *(f"Requires-Dist: {need}" for need in needs),
        ]
        archive.writestr(f"{name}-1.0.dist-info/METADATA", "\n".join(lines))
    return path


def require(monkeypatch: pytest.MonkeyPatch, folder: Path, *requirements: str) -> None:
    """In place of the project's own list."""
    path = folder / "requirements.txt"
    path.write_text("\n".join(requirements))
    monkeypatch.setattr(missing_wheels, "REQUIREMENTS", path)


def test_what_is_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the folder holds another version of it."""
    wheel(tmp_path, "numpy")
    require(monkeypatch, tmp_path, "numpy", "pydantic>=2")
    assert missing(tmp_path) == []


def test_what_is_missing_comes_with_its_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that hold here, their own, and an installed one that is too old for it; nothing else in the folder."""
    first = wheel(tmp_path, "absent_one", "absent-two", "numpy", "torch", 'absent-four; python_version < "3"')
    second = wheel(tmp_path, "absent_two", "numpy>=99", 'absent-five; extra == "more"')
    numpy = wheel(tmp_path, "numpy")
    wheel(tmp_path, "stranger")
    require(monkeypatch, tmp_path, "absent.one")
    assert missing(tmp_path) == [first, second, numpy]


def test_a_package_that_is_nowhere_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is installed, with the command that fetches it."""
    require(monkeypatch, tmp_path, "absent-one>=2")
    with pytest.raises(SystemExit, match=r"absent-one>=2 is neither installed nor in .*make cuda-wheels"):
        missing(tmp_path)


def test_the_project_s_list_is_served_here(tmp_path: Path) -> None:
    """The environment that runs the tests lacks nothing of it."""
    assert missing(tmp_path) == []
