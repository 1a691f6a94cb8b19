"""Stages of a longer road: commands as processes of their own, in parallel where a stage has several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cache.errors import UserError
from pipelines.console import say

_PATIENCE = 20.0
"""Seconds in which an interrupted command may write its finished work."""


@dataclass(frozen=True)
class Task:
    """One command of a stage."""

    label: str
    arguments: tuple[str, ...]
    """The arguments after `python -m`."""
    accepted: tuple[int, ...] = ()
    """Exit codes other than 0 that do not stop what comes after."""


@dataclass(frozen=True)
class Stage:
    """Commands that run in parallel."""

    name: str
    tasks: tuple[Task, ...]


class StageError(UserError):
    """A command of a stage ended with an error; the message names it."""


def run_stage(stage: Stage, *, environment: Mapping[str, str], remedy: str) -> dict[str, int]:
    """Run the stage's commands in parallel; if there are several, each line of output begins with the command's label.

    Returns their exit codes by label. If one fails, the others are stopped. Raises StageError naming the failed
    command, which ends with `remedy`.
    """
    alone = len(stage.tasks) == 1
    running = [_start(task, environment, piped=not alone) for task in stage.tasks]
    readers = [] if alone else [_pass_on(task, process) for task, process in zip(stage.tasks, running, strict=True)]
    try:
        while any(process.poll() is None for process in running):
            if any(_failed(task, process) for task, process in zip(stage.tasks, running, strict=True)):
                break
            time.sleep(0.05)
    finally:
        # The terminal sends Ctrl-C to the commands as well: they are writing their finished work.
        _end(running, patience=_PATIENCE if isinstance(sys.exc_info()[1], KeyboardInterrupt) else 0.0)
        for reader in readers:
            reader.join()
    for task, process in zip(stage.tasks, running, strict=True):
        if _failed(task, process) and process.returncode != -signal.SIGTERM:
            ended = f"{task.label} ended with exit code {process.returncode}"
            command = " ".join(("python -m", *task.arguments))
            raise StageError(f"{stage.name}: {ended}; its command: {command}\n{remedy}")
    return {task.label: process.returncode for task, process in zip(stage.tasks, running, strict=True)}


def _failed(task: Task, process: subprocess.Popen[str]) -> bool:
    code = process.poll()
    return code is not None and code not in (0, *task.accepted)


def _start(task: Task, environment: Mapping[str, str], *, piped: bool) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
    command = [sys.executable, "-m", *task.arguments]
    pipe = subprocess.PIPE if piped else None
    return subprocess.Popen(
        command, env=environment, stdout=pipe, stderr=subprocess.STDOUT if piped else None, text=True
    )


def _pass_on(task: Task, process: subprocess.Popen[str]) -> threading.Thread:
    def read() -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                say(f"[{task.label}] {line}".rstrip())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    return reader


def _end(running: Sequence[subprocess.Popen[str]], *, patience: float) -> None:
    deadline = time.monotonic() + patience
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
