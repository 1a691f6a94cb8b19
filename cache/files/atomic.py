"""Atomic writing: files are written under a temporary dot-name, fsynced, then renamed."""

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

    The dot-file keeps the suffix of `path` (writers such as `numpy.save` depend on it) and is locked while it is
    written, so that `remove_unfinished` can distinguish an active writer from a killed one; without locks it goes by
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
    """Add `path` to OSErrors that name no file, such as those of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def remove_unfinished(folder: Path) -> list[Path]:
    """Delete, and return, unfinished files of killed writers in `folder`; those of active writers stay.

    On a file system without locks, files that were modified within a day stay: no write takes that long, clocks of
    machines do not differ that much, and the only cost is disk space.
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
            if unfinished.exists():  # else `remove_unfinished` ran between creating and locking it
                return unfinished, descriptor
        except BaseException:
            unfinished.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        os.close(descriptor)


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
