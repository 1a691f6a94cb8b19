"""Claims: files that replace locks on file systems without flock.

Each process that works in a folder first creates a file of its own there, a claim, and then looks for claims of others.
If two start at the same moment, at least one sees the other, so they never both continue. A claim names its process,
and its modification time is renewed every few seconds while the process lives.

A kill leaves the claim behind. On the same machine the process is looked up, so the claim expires at once; on another
machine (or after a reboot) it expires when it has not been renewed for `SILENT` seconds. This is weaker than a lock: if
clocks differ by more than this, or a process is suspended for longer (or waits for the file server) and then continues,
two runs can work at the same time. Such a process logs an error when it continues.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cache.files.atomic import naming

SILENT = 300.0
"""Seconds without renewal after which a claim of another machine has expired."""
_RENEWED = 15.0
_PREFIX = ".claim-"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claim:
    """A claim of a process that is alive, as far as is known."""

    path: Path
    what: str
    """The kind of work, such as "run"."""
    owner: str
    """Host, process id and start, for messages."""


@contextmanager
def claim(folder: Path, what: str) -> Iterator[Path]:
    """Create a claim, and renew it until the block is left. The caller has to check the claims of others after that."""
    path = folder / f"{_PREFIX}{what}-{secrets.token_hex(6)}"
    started = datetime.now(UTC).isoformat(timespec="seconds")
    owner = f"host {socket.gethostname()}, pid {os.getpid()}, started {started}"
    note = {"machine": _machine(), "pid": os.getpid(), "born": _born(os.getpid()), "owner": owner}
    left = threading.Event()
    keeper = threading.Thread(target=_renew, args=(path, left), name="claim", daemon=True)
    try:
        with naming(path):
            path.write_text(json.dumps(note), encoding="utf-8")
        keeper.start()
        yield path
    finally:
        left.set()
        path.unlink(missing_ok=True)


def claims(folder: Path, what: str = "*") -> list[Claim]:
    """Claims of living processes in `folder` on `what` (a glob pattern). Expired claims are removed, with a warning."""
    living = []
    for path in sorted(folder.glob(f"{_PREFIX}{what}-*")):
        try:
            note, silent = _note(path), time.time() - path.stat().st_mtime
        except FileNotFoundError:
            continue  # it ended in between
        owner = note.get("owner", "another run")
        if _alive(note, silent):
            living.append(Claim(path, path.name.removeprefix(_PREFIX).rpartition("-")[0], owner))
        else:
            _log.warning("%s: was left behind by %s, which is gone: removed", path, owner)
            path.unlink(missing_ok=True)
    return living


def _note(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}  # it is just being written


def _alive(note: dict[str, Any], silent: float) -> bool:
    if note.get("machine") != _machine():
        return silent < SILENT
    try:
        os.kill(note["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return note["born"] == _born(note["pid"])


def _machine() -> str:
    """The scope in which a process id is unique: host, boot, and pid namespace (containers have their own)."""
    known = [socket.gethostname()]
    with suppress(OSError):  # not on Linux
        known += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return " ".join(known)


def _born(pid: int) -> str | None:
    """Start time of a process by the kernel's clock, since its id may be reused. None if it has ended."""
    try:
        state, *others = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else others[18]


def _renew(path: Path, left: threading.Event) -> None:
    while not left.wait(_RENEWED):
        try:
            os.utime(path)
        except FileNotFoundError:
            if not left.is_set():
                _log.error("%s: this process was suspended so long that another one took over: end one of them", path)
            return
        except OSError as error:
            _log.warning("%s: could not be renewed (%s)", path, error.strerror)
