"""Folder of a run's checkpoints: its layout, which checkpoints are complete, and which is the last or the best.

    <run>/checkpoint/step-00000500/     weights, optimizer, and, written last, state.json with the sizes of all files
    <run>/checkpoint/step-00001000/
    <run>/checkpoint/latest             name of the last one
    <run>/checkpoint/best               name and score of the one with the best validation score, if there is any

A checkpoint gets its name when it is complete, and the pointer is replaced atomically, so there is always one to resume
from. Only writers change files here; a reader skips incomplete checkpoints with a warning.
"""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.errors import CacheError
from cache.files.atomic import atomic_path, sync
from cache.files.json_text import read_json
from training.errors import TrainingError

FOLDER, STATE_FILE = "checkpoint", "state.json"
KEPT = 2
"""Number of checkpoints to keep: the last, and the one before it in case the last is damaged."""
_POINTER, _BEST, _UNFINISHED = "latest", "best", ".unfinished-"
_log = logging.getLogger(__name__)


def find_checkpoint(run: Path) -> Path | None:
    """The folder of the last complete checkpoint of a run, or None if it has none.

    Damaged ones are skipped, with a warning. Raises `TrainingError` if all are damaged, because a run must not start
    over unnoticed.
    """
    damaged = []
    for folder in _candidates(run):
        problem = _damage(folder)
        if problem is None:
            if damaged:
                _log.warning("damaged checkpoints are skipped, %s is used: %s", folder, "; ".join(damaged))
            return folder
        damaged.append(f"{folder / problem}")
    if damaged:
        raise TrainingError(
            f"{run / FOLDER}: found no complete checkpoint: {'; '.join(damaged)}; restore a copy, or start over with "
            "`make train` (--no-resume)"
        )
    return None


@dataclass(frozen=True)
class Best:
    """The checkpoint with the best score so far."""

    folder: Path
    score: float
    criterion: str
    """What is scored, such as "validation.labels"."""


def best_checkpoint(run: Path) -> Best | None:
    """The best checkpoint; None if there was no validation, and, with a warning, if it is damaged."""
    path = run / FOLDER / _BEST
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        best = Best(run / FOLDER / document["checkpoint"], document["score"], document["criterion"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("%s: cannot be read (%s); so there is no best checkpoint", path, error)
        return None
    problem = _damage(best.folder)
    if problem is not None:
        _log.warning("%s; so there is no best checkpoint", best.folder / problem)
    return best if problem is None else None


def mark_best(run: Path, best: Best) -> None:
    """Make this checkpoint the best one; it is kept until another one is marked."""
    with atomic_path(run / FOLDER / _BEST) as unfinished:
        document = {"checkpoint": best.folder.name, "score": best.score, "criterion": best.criterion}
        unfinished.write_text(json.dumps(document) + "\n", encoding="utf-8")


def steps_taken(run: Path) -> tuple[int, int] | None:
    """Steps taken by the last complete checkpoint, and the steps of its recipe; None without one. Reads no weights."""
    state = _last_state(run)
    return None if state is None else (state["step"], state["recipe"]["loop"]["steps"])


def is_finished(run: Path) -> bool:
    """Whether the training of a run is finished; that of an imported checkpoint always is."""
    state = _last_state(run)
    return state is not None and finished(state)


def finished(state: Mapping[str, Any]) -> bool:
    """Whether a state.json is that of a finished run. Version 0.1 has no such field, and imported weights have step
    0."""
    return state.get("finished", state["step"] in (0, state["recipe"]["loop"]["steps"]))


def write_checkpoint(run: Path, step: int, write: Callable[[Path], None]) -> Path:
    """Write the run's latest checkpoint, whose files `write` puts into a given folder, and delete all but `KEPT`.

    `write` writes state.json last, with the `sizes` of the other files, so that an incomplete checkpoint is recognised.
    """
    home = run / FOLDER
    final, fresh = home / f"step-{step:08d}", home / f"{_UNFINISHED}step-{step:08d}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    write(fresh)
    for path in (*fresh.iterdir(), fresh):
        sync(path)
    if final.exists():  # it is damaged, else the run would have resumed from it; the pointer is removed first
        _point(home, None)
        shutil.rmtree(final)
    fresh.rename(final)
    sync(home)
    _point(home, final.name)
    # those of later steps are damaged, too
    _forget(run, keep=[folder for folder in _steps(home) if folder.name <= final.name][:KEPT])
    return final


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file of a checkpoint but state.json, which holds this."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != STATE_FILE}


def reopen(run: Path, steps: int) -> None:
    """Extend a finished run to `steps` steps: its last checkpoint becomes that of an unfinished run."""
    folder = find_checkpoint(run)
    assert folder is not None
    state = _read_state(folder)
    state["finished"], state["recipe"]["loop"]["steps"] = False, steps
    _write_state(folder, state)


def remove_checkpoints(run: Path) -> None:
    """Delete the checkpoints of a run that starts over."""
    (run / FOLDER / _BEST).unlink(missing_ok=True)
    if (run / FOLDER).is_dir():
        _point(run / FOLDER, None)
    _forget(run, keep=[])


def drop_training_state(run: Path, name: str) -> None:
    """Keep only the last weights of a finished run: delete earlier checkpoints, and the file `name` of the last one."""
    folder = find_checkpoint(run)
    if folder is None:
        return
    state = _read_state(folder)
    if isinstance(state.get("files"), dict):
        state["files"].pop(name, None)
        _write_state(folder, state)
    (folder / name).unlink(missing_ok=True)
    _forget(run, keep=[folder])


def _last_state(run: Path) -> dict[str, Any] | None:
    """state.json of the last complete checkpoint. Raises `TrainingError` if it is not that of a training run."""
    folder = find_checkpoint(run)
    if folder is None:
        return None
    state = _read_state(folder)
    try:
        finished(state)
        int(state["recipe"]["loop"]["steps"])
    except (KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{folder / STATE_FILE}: is no state of a training run; train again") from error
    return state


def _read_state(folder: Path) -> Any:
    """Raises OSError or CacheError."""
    return read_json(folder / STATE_FILE)[0]


def _write_state(folder: Path, state: Mapping[str, Any]) -> None:
    with atomic_path(folder / STATE_FILE) as unfinished:
        unfinished.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")


def _candidates(run: Path) -> list[Path]:
    """Checkpoints from the last to the first: the one pointed to, the others by their steps, then those of version
    0.1."""
    home = run / FOLDER
    folders = _steps(home)
    try:
        pointed = home / (home / _POINTER).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        pointed = None
    if pointed in folders:
        folders = [pointed, *(folder for folder in folders if folder != pointed)]
    old = [place for place in (home, run / f".{FOLDER}.old") if (place / STATE_FILE).exists()]
    return folders + old


def _steps(home: Path) -> list[Path]:
    return sorted((path for path in home.glob("step-*") if path.is_dir()), reverse=True)


def _damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, as "<file>: <problem>"; None if nothing is. Checked twice, since state.json may
    be replaced between reading it and checking the files that it names."""
    problem = _problem(folder)
    return problem and _problem(folder)


def _problem(folder: Path) -> str | None:
    try:
        state = _read_state(folder)
    except (OSError, CacheError) as error:
        return f"{STATE_FILE}: cannot be read: {error}"
    files = state.get("files", {}) if isinstance(state, dict) else {}
    if not isinstance(files, dict):
        return f"{STATE_FILE}: files: found {files!r:.80}, expected the size of each file"
    for name, size in files.items():
        path = folder / name
        found = path.stat().st_size if path.exists() else None
        if found != size:
            return f"{name}: found {'no such file' if found is None else f'{found} bytes'}, expected {size} bytes"
    return None


def _point(home: Path, name: str | None) -> None:
    if name is None:
        (home / _POINTER).unlink(missing_ok=True)
        return
    with atomic_path(home / _POINTER) as unfinished:
        unfinished.write_text(name + "\n", encoding="utf-8")


def _forget(run: Path, *, keep: list[Path]) -> None:
    """Delete every checkpoint except those in `keep` and the best, including unfinished ones and those of version
    0.1."""
    best = best_checkpoint(run)
    keep = keep if best is None else [*keep, best.folder]
    home = run / FOLDER
    for path in (*_steps(home), *home.glob(f"{_UNFINISHED}step-*"), run / f".{FOLDER}.old", run / f".{FOLDER}.new"):
        if path not in keep:
            # a reader on a network file system may keep a file open; what is left does not count as a checkpoint
            shutil.rmtree(path, ignore_errors=True)
    if home not in keep:
        for name in (STATE_FILE, "model.safetensors", "ema.safetensors", "optimizer.pt"):
            (home / name).unlink(missing_ok=True)
