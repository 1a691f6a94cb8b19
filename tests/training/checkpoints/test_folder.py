"""Where checkpoints lie: what a kill, a half deletion and a reader at the wrong moment leave."""

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from training.checkpoints import folder as checkpoint_folder
from training.checkpoints.folder import (
    FOLDER,
    STATE_FILE,
    drop_training_state,
    find_checkpoint,
    is_finished,
    remove_checkpoints,
    sizes,
    steps_taken,
    write_checkpoint,
)
from training.errors import TrainingError


def save(run: Path, step: int, *, total: int = 9) -> Path:
    """A checkpoint with two files of made-up content."""

    def write(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"weights" * step)
        (folder / "optimizer.pt").write_bytes(b"moments" * step)
        state = {"step": step, "recipe": {"loop": {"steps": total}}, "finished": step == total, "files": sizes(folder)}
        (folder / STATE_FILE).write_text(json.dumps(state))

    return write_checkpoint(run, step, write)


def everything(run: Path) -> dict[str, tuple[int, int]]:
    """Every path below a run with its inode and time."""
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in run.rglob("*")}


def test_the_last_two_stay_and_the_pointer_names_the_last(tmp_path: Path):
    """However many were written."""
    for step in (3, 6, 9):
        folder = save(tmp_path, step)
    assert find_checkpoint(tmp_path) == folder == tmp_path / FOLDER / "step-00000009"
    assert sorted(path.name for path in (tmp_path / FOLDER).glob("step-*")) == ["step-00000006", "step-00000009"]
    assert (tmp_path / FOLDER / "latest").read_text() == "step-00000009\n"
    assert steps_taken(tmp_path) == (9, 9)
    assert is_finished(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"step": 3, "recipe": {}}'])
def test_a_state_of_something_else_is_named(tmp_path: Path, content: str):
    """Whoever asks how far a run is gets the file's name, not a traceback."""
    folder = save(tmp_path, 3)
    (folder / STATE_FILE).write_text(content)
    for ask in (steps_taken, is_finished):
        with pytest.raises(TrainingError, match=r"state.json: is no state of a training run"):
            ask(tmp_path)


def test_without_a_checkpoint_there_is_none(tmp_path: Path):
    """Nor is a run finished that has none."""
    assert find_checkpoint(tmp_path) is None
    assert steps_taken(tmp_path) is None
    assert not is_finished(tmp_path)


@pytest.mark.parametrize("damage", ["shorter", "deleted", "no state", "torn state"])
def test_a_damaged_one_is_passed_over_for_the_one_before(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture):
    """With a warning that names the file; the run then goes on from there and writes that step anew."""
    before, last = save(tmp_path, 3), save(tmp_path, 6)
    match damage:
        case "shorter":
            (last / "model.safetensors").write_bytes(b"wei")
        case "deleted":
            (last / "optimizer.pt").unlink()
        case "no state":
            (last / STATE_FILE).unlink()
        case "torn state":
            (last / STATE_FILE).write_text('{"step": 6, "fi')
    assert find_checkpoint(tmp_path) == before
    assert str(last) in caplog.text
    save(tmp_path, 5)
    assert steps_taken(tmp_path) == (5, 9)
    assert save(tmp_path, 6) == find_checkpoint(tmp_path) == last


def test_where_all_are_damaged_nothing_starts_anew_in_silence(tmp_path: Path):
    """The message names every one and the way out."""
    for step in (3, 6):
        (save(tmp_path, step) / "model.safetensors").unlink()
    with pytest.raises(TrainingError, match=r"step-00000006/model.*no such file.*step-00000003/model.*--no-resume"):
        find_checkpoint(tmp_path)


@pytest.mark.parametrize("call", ["sizes", "rename", "_point", "_forget"])
def test_a_kill_at_any_point_of_saving_leaves_a_whole_checkpoint(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
):
    """While files are written, before the folder gets its name, before it is pointed to, before old ones go."""

    class Killed(BaseException):
        pass

    def kill(*args: object, **kwargs: object) -> None:
        raise Killed

    save(tmp_path, 3)
    save(tmp_path, 6)
    place = {"sizes": sys.modules[__name__], "rename": Path}.get(call, checkpoint_folder)
    with monkeypatch.context() as patch:
        patch.setattr(place, call, kill)
        with pytest.raises(Killed):
            save(tmp_path, 9)
    taken = steps_taken(tmp_path)
    assert taken is not None
    assert taken[0] in (6, 9)
    assert save(tmp_path, 9) == find_checkpoint(tmp_path)
    assert not list((tmp_path / FOLDER).glob(".unfinished-step-*"))


def test_readers_never_write(tmp_path: Path):
    """Not even where the last checkpoint is damaged, or what 0.1 left half-way is there."""
    save(tmp_path, 3)
    (save(tmp_path, 6) / "model.safetensors").unlink()
    before = everything(tmp_path)
    find_checkpoint(tmp_path)
    is_finished(tmp_path)
    assert everything(tmp_path) == before


def test_a_reader_in_the_middle_does_not_disturb_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """At every move that the writer makes, a reader finds a whole checkpoint, and the writer ends well."""
    save(tmp_path, 3)
    real = os.replace
    seen = []

    def replace(source: str, target: str) -> None:
        seen.append(find_checkpoint(tmp_path))
        real(source, target)
        seen.append(find_checkpoint(tmp_path))

    monkeypatch.setattr(os, "replace", replace)
    last = save(tmp_path, 6)
    assert seen
    assert all(folder is not None for folder in seen)
    assert find_checkpoint(tmp_path) == last


def test_a_run_that_starts_anew_has_no_checkpoint(tmp_path: Path):
    """Damaged and unfinished ones go, too."""
    save(tmp_path, 3)
    (save(tmp_path, 6) / STATE_FILE).unlink()
    (tmp_path / FOLDER / ".unfinished-step-00000009").mkdir()
    remove_checkpoints(tmp_path)
    assert find_checkpoint(tmp_path) is None
    assert list((tmp_path / FOLDER).iterdir()) == []


@pytest.mark.parametrize("place", [FOLDER, f".{FOLDER}.old"])
def test_checkpoints_of_version_0_1_are_found(tmp_path: Path, place: str):
    """There a run had one, in the folder itself, or, where it was killed while that was replaced, beside it; it goes
    with the first new one."""
    old = tmp_path / place
    old.mkdir()
    (old / "model.safetensors").write_bytes(b"weights")
    (old / STATE_FILE).write_text(json.dumps({"version": 2, "step": 4, "recipe": {"loop": {"steps": 9}}}))
    assert find_checkpoint(tmp_path) == old
    assert steps_taken(tmp_path) == (4, 9)
    assert not is_finished(tmp_path)
    shutil.copytree(old, tmp_path / "copy" / FOLDER)
    (tmp_path / "copy" / FOLDER / STATE_FILE).write_text('{"step": 9, "recipe": {"loop": {"steps": 9}}}')
    assert is_finished(tmp_path / "copy")
    new = save(tmp_path, 5)
    assert find_checkpoint(tmp_path) == new
    assert not (old / STATE_FILE).exists()


def test_what_only_training_reads_can_be_dropped(tmp_path: Path):
    """Of a finished run; its weights are whole all the same, and the checkpoint before goes."""
    save(tmp_path, 6)
    last = save(tmp_path, 9)
    drop_training_state(tmp_path, "optimizer.pt")
    assert find_checkpoint(tmp_path) == last
    assert sorted(path.name for path in last.iterdir()) == ["model.safetensors", STATE_FILE]
    assert [path.name for path in (tmp_path / FOLDER).glob("step-*")] == [last.name]
    drop_training_state(tmp_path, "optimizer.pt")
    assert find_checkpoint(tmp_path) == last


def test_files_are_for_whom_the_umask_says(tmp_path: Path):
    """A group may evaluate what one of it has trained."""
    before = os.umask(0o022)
    try:
        folder = save(tmp_path, 9)
    finally:
        os.umask(before)
    for path in (*folder.iterdir(), tmp_path / FOLDER / "latest"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o644, path
