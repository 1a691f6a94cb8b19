"""Locks of folders: for one run, or several shards of one run. They belong to processes, so a kill releases them.

On file systems without flock, claims are used instead: see `cache.files.claims` for how claims of killed processes are
recognised, and for what claims cannot guarantee.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from cache.errors import CacheError
from cache.files.atomic import naming
from cache.files.claims import Claim, claim, claims
from cache.files.flock import NoLocks, flock
from cache.files.workers import dismiss

_LOCK = ".lock"
_TRIES = 5
_PAUSE = 0.05, 0.4
"""Range of the random pause between two tries, in seconds; random, so that two processes do not collide every time."""


@dataclass(frozen=True)
class Shard:
    """The share of a run that one of `count` processes does."""

    index: int
    """From 0."""
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise CacheError(f"shard_index: found {self.index}, expected 0 ... {self.count - 1} (num_shards)")

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"


@contextmanager
def hold(folder: Path, *, shard: Shard | None = None, wait: bool = False) -> Iterator[None]:
    """Hold `folder` for one run, or for one shard beside the others of the same count.

    Raises CacheError naming the owner (host, pid, start) if another run, the same shard, or a shard of another count
    has it; with `wait`, waits for that run to end instead. Workers that outlive their run are waited for in any case.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(_locked(folder, shard, wait=wait))
        except NoLocks:
            stack.enter_context(_claimed(folder, shard, wait=wait))
        dismiss(folder)
        yield


@contextmanager
def _locked(folder: Path, shard: Shard | None, *, wait: bool) -> Iterator[None]:
    """Hold `folder` by flock. Raises NoLocks, before anything is locked, if the file system has none."""
    with ExitStack() as stack:
        whole = stack.enter_context(open(folder / _LOCK, "a+", encoding="utf-8"))
        if not _take(whole, fcntl.LOCK_EX if shard is None else fcntl.LOCK_SH, wait=wait):
            raise _taken(folder, _owner(whole) if shard is not None else _shards(folder) or _owner(whole))
        own = whole
        if shard is not None:
            own = stack.enter_context(open(folder / f"{_LOCK}-{shard}", "a+", encoding="utf-8"))
            if not _take(own, fcntl.LOCK_EX, wait=wait):
                raise _taken(folder, _owner(own))
            # Another count divides the videos differently, so a video could be described twice.
            if others := _shards(folder, but=shard.count):
                raise _taken(folder, others)
        _sign(own, "" if shard is None else f", shard {shard}")
        yield
        own.truncate(0)


def _take(file: TextIO, how: int, *, wait: bool) -> bool:
    return flock(file, how if wait else how | fcntl.LOCK_NB)


@contextmanager
def _claimed(folder: Path, shard: Shard | None, *, wait: bool) -> Iterator[None]:
    """Hold `folder` by a claim, which is withdrawn if there are conflicting claims of others."""
    others: list[Claim] = []
    for _ in itertools.count() if wait else range(_TRIES):
        if not (others := _conflicting(folder, shard)):
            with claim(folder, "run" if shard is None else f"shard-{shard}") as own:
                if not (others := [other for other in _conflicting(folder, shard) if other.path != own]):
                    yield
                    return
        time.sleep(random.uniform(*_PAUSE))
    owners = "; ".join(f"{other.owner} ({other.what}; claimed by {other.path.name})" for other in others)
    raise _taken(folder, owners)


def _conflicting(folder: Path, shard: Shard | None) -> list[Claim]:
    active = [*claims(folder, "run"), *claims(folder, "shard-*")]
    if shard is None:
        return active
    siblings = {f"shard-{Shard(index, shard.count)}" for index in range(shard.count) if index != shard.index}
    return [other for other in active if other.what not in siblings]


def _sign(file: TextIO, what: str) -> None:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with naming(Path(file.name)):
        file.truncate(0)
        file.write(f"host {socket.gethostname()}, pid {os.getpid()}, started {started}{what}")
        file.flush()


def _owner(file: TextIO) -> str:
    file.seek(0)
    return file.read().strip() or "another run"


def _shards(folder: Path, *, but: int | None = None) -> str:
    """The owners of active shards, without those of a division into `but` shards."""
    owners = []
    for path in sorted(folder.glob(f"{_LOCK}-*-of-*")):
        if but is not None and path.name.endswith(f"-of-{but}"):
            continue
        with path.open("r+", encoding="utf-8") as file:
            if not _take(file, fcntl.LOCK_SH, wait=False):
                owners.append(_owner(file))
    return "; ".join(owners)


def _taken(folder: Path, owner: str) -> CacheError:
    return CacheError(f"{folder}: is being written by {owner}; wait until it ends, or stop it")
