"""Files that are either whole or not there: written under a dot-name, fsynced, renamed."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cache.files.flock import NoLocks, flock

_PREFIX = ".unfinished-"
_OLD_SECONDS = 24 * 3600.0


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a dot-file beside `path` to write to; on success it is fsynced and renamed to `path`, on any error removed.

    The dot-file keeps the suffix of `path` (writers such as `numpy.save` look at it) and is locked while it is being
    written, so `remove_unfinished` can tell a writer at work from a killed one; where the file system has no locks, by
    the file's age. OSErrors name `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished, lock = _claim(path)
    try:
        with naming(path):
            yield unfinished
            sync(unfinished)
            os.replace(unfinished, path)
            sync(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let OSErrors that name no file, as those of a full disk do, name `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def remove_unfinished(folder: Path) -> list[Path]:
    """Delete, and return, what killed writers left in `folder`; what a living writer holds stays.

    On a file system without locks, files stay that were written to within a day: no file takes nearly so long, clocks
    of machines are not so far apart, and all that patience costs is room on the disk.
    """
    removed = []
    for path in sorted(folder.glob(f"{_PREFIX}*")):
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue  # its writer finished in between
        try:
            if _left_behind(descriptor):
                path.unlink(missing_ok=True)
                removed.append(path)
        finally:
            os.close(descriptor)
    return removed


def _left_behind(descriptor: int) -> bool:
    try:
        return flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except NoLocks:
        return time.time() - os.fstat(descriptor).st_mtime > _OLD_SECONDS


def _claim(path: Path) -> tuple[Path, int]:
    while True:
        unfinished = path.with_name(f"{_PREFIX}{secrets.token_hex(6)}-{path.name}")
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with suppress(NoLocks):
                flock(descriptor, fcntl.LOCK_EX)
            if unfinished.exists():  # else `remove_unfinished` ran between the two lines above
                return unfinished, descriptor
        except BaseException:
            unfinished.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        os.close(descriptor)


def sync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
