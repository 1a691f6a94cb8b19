"""Stored digests of the files in a folder, so that an unchanged file is not read again."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

from cache.files.atomic import atomic_path

FILE = ".digests.json"
_VERSION = 1
_SETTLED_NS = 2_000_000_000
"""A file younger than this could be changed without a change of its modification time, which some file systems store in
steps of two seconds."""


@dataclass(frozen=True)
class FileDigest:
    """A feature file that was read completely and is valid, with what identifies an unchanged file."""

    size: int
    """Bytes of the file."""
    mtime_ns: int
    """Modification time."""
    snippets: int
    """Rows of its array."""
    width: int
    """Columns of its array."""
    content: str
    """Hexadecimal blake2b of its name and all of its bytes."""


class Digests:
    """The digests of the files of one folder. They are only a cache: without them every file is read again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._known: dict[str, FileDigest] | None = None
        self._added: dict[str, FileDigest] = {}

    def find(self, name: str, stamp: os.stat_result) -> FileDigest | None:
        """The stored digest of a file with this size and time; None if it is unknown or has changed."""
        if self._known is None:
            self._known = _read(self._path)
        known = self._known.get(name)
        return known if known and (known.size, known.mtime_ns) == (stamp.st_size, stamp.st_mtime_ns) else None

    def add(self, name: str, digest: FileDigest) -> None:
        """Store the digest of a file, unless the file was written a moment ago."""
        if self._known is not None and time.time_ns() - digest.mtime_ns > _SETTLED_NS:
            self._known[name] = self._added[name] = digest

    def save(self) -> None:
        """Write added digests, merged with what others added meanwhile; does nothing if the folder cannot be
        written."""
        if not self._added:
            return
        files = {name: astuple(digest) for name, digest in (_read(self._path) | self._added).items()}
        with suppress(OSError), atomic_path(self._path) as unfinished:
            unfinished.write_text(json.dumps({"version": _VERSION, "files": files}), encoding="utf-8")
        self._added = {}


def _read(path: Path) -> dict[str, FileDigest]:
    """The stored digests; empty if the file is missing, damaged or of another version."""
    try:
        document = json.loads(path.read_bytes())
        if document["version"] != _VERSION:
            return {}
        return {name: FileDigest(*fields) for name, fields in document["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
