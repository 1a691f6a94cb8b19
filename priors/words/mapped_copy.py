"""Memory-mapped copy of a big word vector file, as an array and a list of words: made once, then loaded instantly."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Float32

from cache.errors import CacheError
from cache.files.atomic import atomic_path, remove_unfinished
from cache.files.lock import hold
from priors.words.word_files import WordFile, WordReader

FALLBACK = Path("cache/data/word_vectors")
"""Folder of copies whose source is in a read-only folder."""

OnShare = Callable[[float], None]
"""Called every few seconds with the share of the file that is read, 0 to 1."""

_VERSION = 1
_VECTORS, _WORDS, _NOTE = "vectors.npy", "words.json", "source.json"
_TELL_SECONDS = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Table:
    """Words and their vectors, row by row."""

    words: list[str]
    vectors: Float32[np.ndarray, "n w"]
    sha256: str
    """Hash of the uncompressed source."""
    odd: tuple[str, ...] = ()
    """Data issues of the source: how it differs from a well-formed table."""


def read_whole(file: WordFile) -> Table:
    """Read a small table into memory. Raises CacheError if it cannot be read."""
    reader = WordReader(file)
    blocks = list(reader.blocks())
    words = [word for block in blocks for word in block.words]
    return Table(words, np.concatenate([block.vectors for block in blocks]), reader.sha256, tuple(reader.odd))


def mapped_copy(file: WordFile, folder: Path | None = None, *, on_share: OnShare | None = None) -> Table:
    """Load the memory-mapped copy of a table, which is made first if there is none or the source has changed.

    The copy is `<name>.mapped` in `folder`, by default beside the source or, if that folder is read-only, in FALLBACK.
    One of several processes makes it while the others wait; a copy left unfinished is made again. At most a few
    thousand vectors are in memory at once. Raises CacheError if the source cannot be read, or the disk is full.
    """
    name = f"{file.name}.mapped"
    homes = [folder / name] if folder is not None else [file.path.parent / name, FALLBACK / name]
    for home in homes:
        if (table := _load(home, file)) is not None:
            return table
    home = homes[0] if folder is not None or _writable(homes[0]) else homes[-1]
    if home != homes[0]:
        _log.warning("%s cannot be written: the memory-mapped copy of %s goes to %s", homes[0].parent, name, home)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with hold(home, wait=True):
            if (table := _load(home, file)) is None:  # else another process made it meanwhile
                _convert(file, home, on_share)
                table = _load(home, file)
    except OSError as error:
        raise CacheError(
            f"glove.converted: {home}: the memory-mapped copy of {file.where} cannot be written: {error.strerror}; "
            "it needs about half as much space as the text: free some, or choose another folder (--glove.converted)"
        ) from error
    if table is None:
        raise CacheError(f"glove.path: {file.where}: changed while it was read; run this again")
    return table


def _load(home: Path, file: WordFile) -> Table | None:
    state = _state(file)
    try:
        note = json.loads((home / _NOTE).read_text(encoding="utf-8"))
        if {name: note.get(name) for name in state} != state:
            return None
        words = json.loads((home / _WORDS).read_text(encoding="utf-8"))
        vectors = np.load(home / _VECTORS, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    odd = tuple(note.get("odd", ()))  # copies of earlier versions do not have it
    return Table(words, vectors, note["sha256"], odd) if len(words) == len(vectors) else None


def _convert(file: WordFile, home: Path, on_share: OnShare | None) -> None:
    remove_unfinished(home)
    (home / _NOTE).unlink(missing_ok=True)
    _log.info("converting %s to %s, once", file.where, home)
    state = _state(file)
    reader = WordReader(file)
    words: list[str] = []
    reported_at = time.monotonic()
    with atomic_path(home / _VECTORS) as unfinished, unfinished.open("wb") as out:
        width = start = 0
        for block in reader.blocks():
            if not words:
                width = block.vectors.shape[1]
                start = _write_header(out, rows=0, width=width)
            words += block.words
            out.write(np.ascontiguousarray(block.vectors, "<f4").data)
            if time.monotonic() - reported_at >= _TELL_SECONDS:
                reported_at = time.monotonic()
                _log.info("converting %s: %d words, %.0f %%", file.name, len(words), 100 * block.share)
                if on_share is not None:
                    on_share(block.share)
        out.seek(0)
        if _write_header(out, rows=len(words), width=width) != start:
            raise AssertionError("numpy leaves room in its headers for the number of rows to grow")
    with atomic_path(home / _WORDS) as unfinished:
        unfinished.write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
    with atomic_path(home / _NOTE) as unfinished:  # written last: its presence means that the copy is complete
        note = {**state, "sha256": reader.sha256, "odd": reader.odd}
        unfinished.write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


def _write_header(out: IO[bytes], *, rows: int, width: int) -> int:
    np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": (rows, width)})
    return out.tell()


def _state(file: WordFile) -> dict[str, object]:
    """What identifies the contents of a file without reading it: sizes and modification times."""
    stats = [(path.name, path.stat()) for path in file.files]
    files = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
    return {"version": _VERSION, "files": files, "member": file.member}


def _writable(home: Path) -> bool:
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / ".lock").open("a").close()
    except OSError:
        return False
    return True
