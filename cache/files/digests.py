"""What the files of a folder were found to hold, remembered there: a file that did not change is not read twice."""

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
"""A file that was written so short a time ago could be written again without a change of its time: the clocks of some
file systems tick every two seconds."""


@dataclass(frozen=True)
class FileDigest:
    """A feature file that was read to its end and found sound, and how it can be told that it is still the same."""

    size: int
    """Bytes of the file."""
    mtime_ns: int
    """When it was written."""
    snippets: int
    """Rows of its array."""
    width: int
    """Columns of its array."""
    content: str
    """Hexadecimal blake2b of its name and all of its bytes."""


class Digests:
    """Those of the files of one folder. They are a memory alone: without them every file is read again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._known: dict[str, FileDigest] | None = None
        self._added: dict[str, FileDigest] = {}

    def find(self, name: str, stamp: os.stat_result) -> FileDigest | None:
        """What is remembered of a file that has this size and time now; None of one that is unknown or changed."""
        if self._known is None:
            self._known = _read(self._path)
        known = self._known.get(name)
        return known if known and (known.size, known.mtime_ns) == (stamp.st_size, stamp.st_mtime_ns) else None

    def add(self, name: str, digest: FileDigest) -> None:
        """Remember a file, unless it was written a moment ago."""
        if self._known is not None and time.time_ns() - digest.mtime_ns > _SETTLED_NS:
            self._known[name] = self._added[name] = digest

    def save(self) -> None:
        """Write down what was added, beside what others added meanwhile; where nothing can be written, nothing is."""
        if not self._added:
            return
        files = {name: astuple(digest) for name, digest in (_read(self._path) | self._added).items()}
        with suppress(OSError), atomic_path(self._path) as unfinished:
            unfinished.write_text(json.dumps({"version": _VERSION, "files": files}), encoding="utf-8")
        self._added = {}


def _read(path: Path) -> dict[str, FileDigest]:
    """Empty where there is no such file, or one of another version, or a damaged one."""
    try:
        document = json.loads(path.read_bytes())
        if document["version"] != _VERSION:
            return {}
        return {name: FileDigest(*fields) for name, fields in document["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
