"""Workers of a run in other processes or on other machines: they may write into its folder only while the run lasts.

The run that holds the folder writes a signature into a file there, and each of its workers locks that file (or, without
locks, claims the folder: see `cache.files.claims`) while it works on a unit. A worker that outlives its run finds
another signature, or none, before it starts another unit, and the next run waits until it has finished the current one.
So no work is done twice, however a run ended.
"""

from __future__ import annotations

import fcntl
import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cache.errors import CacheError
from cache.files.claims import SILENT, claim, claims
from cache.files.flock import NoLocks, flock

_FILE = ".workers"
_WORKER = "worker"
_ATTEMPTS = ".attempts-"
_log = logging.getLogger(__name__)


class Dismissed(CacheError):
    """The run of a worker has ended, or the worker sees another folder than its run."""


def engage(folder: Path) -> str:
    """Allow workers to write into `folder`; returns their signature. Call it under the lock of the folder."""
    dismiss(folder)
    signature = secrets.token_hex(8)
    (folder / _FILE).write_text(signature, encoding="utf-8")
    return signature


def dismiss(folder: Path, *, seconds: float = SILENT + 60) -> None:
    """Stop workers of an earlier run from starting more work, and wait until none is active.

    Raises CacheError if one is still active after `seconds`.
    """
    if not (folder / _FILE).exists():
        return
    with open(folder / _FILE, "r+", encoding="utf-8") as file:
        file.truncate(0)
        deadline = time.monotonic() + seconds
        warned = False
        while not _free(folder, file.fileno()):
            if time.monotonic() > deadline:
                raise CacheError(
                    f"{folder}: workers of a run that has ended are still writing, after {seconds:g} s; end them "
                    "(`ray stop` on their machines) and run this again"
                )
            if not warned:
                _log.warning("%s: waiting for workers of a run that has ended", folder)
                warned = True
            time.sleep(0.1)
        for path in folder.glob(f"{_ATTEMPTS}*"):
            path.unlink(missing_ok=True)


def check_engaged(folder: Path, signature: str) -> None:
    """Raise Dismissed unless the run with this signature still holds the folder."""
    try:
        signed = (folder / _FILE).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise _dismissed(folder) from error
    if signed != signature:
        raise _dismissed(folder)


@contextmanager
def attempt(folder: Path, name: str) -> Iterator[int]:
    """How often the unit `name` has been started without an end, this time included: earlier workers died of it.

    Use it inside `at_work`. When the block is left, with or without an exception, the count is reset.
    """
    path = folder / f"{_ATTEMPTS}{name}"
    with path.open("ab") as file:
        file.write(b".")
    try:
        yield path.stat().st_size
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def at_work(folder: Path, signature: str) -> Iterator[None]:
    """Keep other runs out of `folder` while a worker works on a unit.

    Raises Dismissed unless the run with this signature still holds the folder.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(folder / _FILE, encoding="utf-8"))
            try:
                flock(file, fcntl.LOCK_SH)
            except NoLocks:
                stack.enter_context(claim(folder, _WORKER))
        except FileNotFoundError as error:
            raise _dismissed(folder) from error
        check_engaged(folder, signature)
        yield


def _free(folder: Path, descriptor: int) -> bool:
    try:
        return flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except NoLocks:
        return not claims(folder, _WORKER)


def _dismissed(folder: Path) -> Dismissed:
    return Dismissed(
        f"{folder}: a worker does not find its run here: either the run has ended, or this is not the same folder on "
        "all machines (a cluster needs a shared file system, mounted at the same place)"
    )
