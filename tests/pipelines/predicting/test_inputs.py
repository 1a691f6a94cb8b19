"""What arguments mean: files, folders, patterns and lists, each file once, and names that no two share."""

from pathlib import Path

import pytest

from pipelines.predicting.inputs import Failure, find_inputs


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with videos (by their names), a hidden one, a text, and a sub-folder; the working folder."""
    for name in ("b.mp4", "a.mp4", "a.avi", ".hidden.mp4", "notes.md", "more/c.mkv", "more/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*asked: str) -> list[tuple[str, str]]:
    """Name and path of each input; nothing may have failed."""
    inputs, failures = find_inputs(asked)
    assert failures == []
    return [(one.name, one.path.as_posix()) for one in inputs]


def test_files_folders_and_patterns(clips: Path) -> None:
    """In the order of the arguments, those of a folder by name; a file that is meant twice comes once."""
    assert names("b.mp4", "more/c.mkv", "b.mp4") == [("b", "b.mp4"), ("c", "more/c.mkv")]
    assert names("more") == [("a", "more/a.mp4"), ("c", "more/c.mkv")]
    assert names("[ab].mp4") == [("a", "a.mp4"), ("b", "b.mp4")]
    assert names("**/c.*") == [("c", "more/c.mkv")]


def test_names_are_unique(clips: Path) -> None:
    """Where stems are the same, file names, then folders tell videos apart."""
    assert [name for name, _ in names("a.mp4", "a.avi")] == ["a.mp4", "a.avi"]
    assert [name for name, _ in names(".")] == ["a.avi", f"{clips.name}_a.mp4", "b", "more_a.mp4", "c"]


def test_lists(clips: Path) -> None:
    """One argument a line, relative to the list; comments and empty lines are passed over."""
    (clips / "more/list.txt").write_text("# clips\n\nc.mkv\n../b.mp4\n")
    assert [name for name, _ in names("more/list.txt")] == ["c", "b"]


def test_features(clips: Path) -> None:
    """A file of features is one; in a folder with features.json they are meant, beside videos else not."""
    (clips / "f").mkdir()
    for name in ("f/x.npy", "f/y.mp4"):
        (clips / name).touch()
    assert names("f/x.npy") == [("x", "f/x.npy")]
    assert names("f") == [("y", "f/y.mp4")]
    (clips / "f/features.json").touch()
    assert names("f") == [("x", "f/x.npy")]


def test_what_means_nothing(clips: Path) -> None:
    """Every such argument has its reason; the others stand."""
    (clips / "empty").mkdir()
    (clips / "list.txt").write_text("b.mp4\ngone.mp4\n")
    inputs, failures = find_inputs(["no.mp4", "*.webm", "empty", "notes.md", "list.txt"])
    assert [one.name for one in inputs] == ["b"]
    assert failures[:3] == [
        Failure("no.mp4", "no such file"),
        Failure("*.webm", "no file fits this pattern"),
        Failure("empty", "holds neither a video nor features (.npy)"),
    ]
    assert failures[3].reason.startswith("has the suffix .md, not known as that of a video")
    assert failures[4] == Failure("gone.mp4", "no such file")
