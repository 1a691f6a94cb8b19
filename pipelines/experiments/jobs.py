"""Train and evaluate the missing runs of a table in parallel processes, with progress."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cache.recipe import Recipe
from pipelines.console import progress, say
from pipelines.experiments.grid import Cell, CellRun

LOG_FILE = "log.txt"
_ROOT = Path(__file__).parents[2]
_POLL = 0.2
_PATIENCE = 30.0
"""Seconds in which workers may write their checkpoints after the command was interrupted."""


class Work(Protocol):
    """What one worker does: the module that it runs, and the task that the module reads."""

    @property
    def module(self) -> str:
        """Its module, which calls `cell.work`."""
        ...

    @property
    def run(self) -> Recipe:
        """Its task."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """What it is for, in messages."""
        ...

    @property
    def log(self) -> Path:
        """File that receives its output."""
        ...

    @property
    def steps(self) -> int:
        """Its size."""
        ...

    def steps_done(self) -> int:
        """How much of it is done."""
        ...


@dataclass(frozen=True)
class Job:
    """One training with all its wanted scores, for all runs of the table that share it."""

    run: CellRun
    names: tuple[str, ...]
    module: str = "pipelines.experiments.cell"

    @property
    def log(self) -> Path:
        """File that receives the output of its worker."""
        return self.run.train.run / LOG_FILE

    @property
    def steps(self) -> int:
        """Steps of its training, plus one for its scores."""
        return self.run.train.train.loop.steps + 1

    def steps_done(self) -> int:
        """Steps so far, read while its worker runs."""
        return steps_of(self.run.train.run)


def steps_of(run: Path) -> int:
    """Steps that a training has taken, as its metrics.jsonl says."""
    try:
        *_, last = (run / "metrics.jsonl").read_bytes().splitlines()
        return int(json.loads(last)["step"])
    except (OSError, ValueError, KeyError):
        return 0  # nothing yet, or a line that is being written


@dataclass(frozen=True)
class Failure:
    """A job whose worker failed."""

    job: Work
    why: str
    """Exit code and last line of its log."""

    def __str__(self) -> str:
        return f"{'; '.join(self.job.names)}: {self.why} (log: {self.job.log})"


def failures_told(failures: Sequence[Failure], *, of: int, what: str) -> str:
    """The closing message of a command some of whose jobs failed; `what` is what it calls them."""
    first = f"{len(failures)} of {of} {what} failed; run the same command again to retry them:"
    return "\n".join([first, *(f"  {failure}" for failure in failures)])


def missing_jobs(cells: Sequence[Cell]) -> list[Job]:
    """The missing trainings and scores, each only once, in the order of the runs that need them."""
    wanted: dict[Path, list[Cell]] = {}
    for cell in cells:
        if not cell.done:
            wanted.setdefault(cell.run.train.run, []).append(cell)
    jobs = []
    for sharing in wanted.values():
        evaluations = dict.fromkeys(one for cell in sharing for one in cell.run.evaluations)
        run = CellRun(train=sharing[0].run.train, evaluations=tuple(evaluations))
        jobs.append(Job(run, tuple(cell.name for cell in sharing)))
    return jobs


def run_jobs(jobs: Sequence[Work], *, workers: int, devices: Sequence[int] = (), label: str = "table") -> list[Failure]:
    """Run every job, `workers` at a time. A failure is printed at once, and the other jobs continue."""
    failures: list[Failure] = []
    waiting, ended = deque(jobs), 0
    total = sum(job.steps for job in jobs)
    over = 0
    running: dict[int, tuple[Work, subprocess.Popen[bytes]]] = {}
    with _workers(running), progress(label, unit="steps") as report:
        while waiting or running:
            for place in range(workers):
                if waiting and place not in running:
                    job = waiting.popleft()
                    running[place] = (job, _start(job, devices[place % len(devices)] if devices else None))
            time.sleep(_POLL)
            for place, (job, process) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[place]
                _close(process)
                ended, over = ended + 1, over + job.steps
                if process.returncode:
                    failures.append(Failure(job, _reason(job, process.returncode)))
                    say(f"failed: {failures[-1]}")
            report(over + sum(job.steps_done() for job, _ in running.values()), total, f"{ended} of {len(jobs)} runs")
    return failures


def _start(job: Work, device: int | None) -> subprocess.Popen[bytes]:
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = str(device)
    job.log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", job.module]
    with job.log.open("ab") as log:
        # in its own session: Ctrl-C in the terminal reaches only this command, which then stops its workers once
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has already ended; its exit code is read later
        process.stdin.write(job.run.model_dump_json().encode() + b"\n")
        process.stdin.flush()
    return process


def _close(process: subprocess.Popen[bytes]) -> None:
    """Close a worker's input; a worker that still runs then stops."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()


@contextmanager
def _workers(running: dict[int, tuple[Work, subprocess.Popen[bytes]]]) -> Iterator[None]:
    """At the end, stop workers that still run; a training writes its checkpoint first."""
    try:
        yield
    finally:
        left = [process for _, process in running.values()]
        for process in left:
            _close(process)
        deadline = time.monotonic() + _PATIENCE
        for process in left:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _reason(job: Work, code: int) -> str:
    lines = [line for line in job.log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    return f"exit code {code}, {lines[-1].strip() if lines else 'nothing in its log'}"
