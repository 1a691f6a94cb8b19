"""Runs inputs in processes of their own, which are ended where one takes too long, and may not take much memory."""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from benchmarks.fuzzing.known import find
from benchmarks.fuzzing.trials import Format, Verdict, drawn, kept, tried

_START = 120.0  # seconds for a process to import what a format needs


@dataclass(frozen=True)
class Limits:
    """Bounds of a single input."""

    seconds: float
    memory: int
    """Bytes of address space beyond what the process had before."""


@dataclass(frozen=True)
class Job:
    """An input by its number."""

    format: str
    number: int


class _Process:
    """One worker and the job that it has."""

    def __init__(self, seed: int, limits: Limits, keep: Path | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, seed, limits, keep), daemon=True)
        self._process.start()
        theirs.close()
        self.job: Job | None = None
        self.deadline = float("inf")

    def give(self, job: Job) -> None:
        self.job, self.deadline = job, time.monotonic() + _START
        self.pipe.send(job)

    def end(self) -> str:
        """Kill it; returns how it had ended before, if it had."""
        self._process.join(timeout=0.2 if self._process.is_alive() else None)
        code = self._process.exitcode
        self._process.kill()
        self._process.join()
        self.pipe.close()
        return "hang" if code is None else f"died: exit code {code}"


def run(
    jobs: Iterable[Job],
    *,
    seed: int,
    workers: int,
    limits: Limits,
    keep: Path | None = None,
) -> Iterator[Verdict]:
    """The verdicts, in the order in which they come."""
    waiting = deque(jobs)
    processes = [_Process(seed, limits, keep) for _ in range(min(workers, len(waiting)))]
    try:
        while waiting or any(one.job for one in processes):
            for one in processes:
                if one.job is None and waiting:
                    one.give(waiting.popleft())
            ready = wait([one.pipe for one in processes if one.job], timeout=0.5)
            for place, one in enumerate(processes):
                if one.job is None or (one.pipe not in ready and time.monotonic() < one.deadline):
                    continue
                said = _said(one) if one.pipe in ready else None
                if said == "started":
                    one.deadline = time.monotonic() + limits.seconds
                elif isinstance(said, Verdict):
                    one.job = None
                    yield said
                else:
                    yield _ended(one, seed, limits, keep)
                    processes[place] = _Process(seed, limits, keep)
    finally:
        for one in processes:
            one.end()


def _said(one: _Process) -> object:
    try:
        return one.pipe.recv()
    except (EOFError, ConnectionError):
        return None


def _ended(one: _Process, seed: int, limits: Limits, keep: Path | None) -> Verdict:
    assert one.job is not None
    why, form = one.end(), find(one.job.format)
    given = drawn(form, seed, one.job.number)
    if keep is not None:
        kept(given, keep / f"{form.name}-{seed}-{one.job.number}")
    why = f"hang: no end within {limits.seconds:g} s" if why == "hang" else why
    return Verdict(form.name, one.job.number, given.mutation, "wrong", why)


def _work(pipe: Connection, seed: int, limits: Limits, keep: Path | None) -> None:
    known: dict[str, Format] = {}
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        if job.format not in known:
            known[job.format] = find(job.format)
            # Libraries reserve address space when they are first used, so the limit counts from the first inputs on.
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            for number in range(3):
                tried(known[job.format], 0, number)
            _limit(limits.memory)
        pipe.send("started")
        pipe.send(tried(known[job.format], seed, job.number, keep=keep))


def _limit(more: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + more, resource.RLIM_INFINITY))
