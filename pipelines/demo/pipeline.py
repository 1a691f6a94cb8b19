"""The whole road of the embedded world, stage by stage: each stage is one of the other commands, run as a process.

Stages that do not wait for each other run side by side, one thread each, so two cores are enough for all of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cache.errors import UserError
from cache.recipe import Recipe
from pipelines.console import duration, say, table

HOST_ALONE, WHOLE = "host alone", "MLLM4WTAL"
_PATIENCE = 20.0
"""Seconds that an interrupted command is given to write what is finished."""
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""Of every command: one thread, output as it comes, and models from the repository alone."""


@dataclass(frozen=True)
class Task:
    """One command of a stage."""

    label: str
    arguments: tuple[str, ...]
    """What follows `python -m`."""


@dataclass(frozen=True)
class Stage:
    """Commands that run side by side."""

    name: str
    tasks: tuple[Task, ...]


class StageError(UserError):
    """A command of a stage ended with an error; the message names it."""


class DemoRun(Recipe):
    """One walk down the whole road."""

    preset: str
    """Preset of every command."""
    seed: int = 0
    """Seed of both trainings."""


def main(recipe: DemoRun) -> None:
    """Run every stage; print how long each took, the mAP of host alone beside MLLM4WTAL, and where the report is."""
    began = time.monotonic()
    stages = road(recipe)
    times = []
    for number, stage in enumerate(stages, start=1):
        say(f"\n== {number}/{len(stages)} {stage.name}")
        start = time.monotonic()
        run_stage(stage)
        times.append((stage.name, duration(time.monotonic() - start)))
    say("")
    table("Time", ["stage", "took"], [*times, ("in all", duration(time.monotonic() - began))])
    run_stage(comparison(recipe))
    say(f"Report: {Path('runs') / recipe.preset / 'report.html'}")


def road(recipe: DemoRun) -> list[Stage]:
    """The stages: videos; priors and features; host alone and MLLM4WTAL; their scores; the report."""

    def task(label: str, command: str, *options: str) -> Task:
        return Task(label, ("pipelines", command, recipe.preset, *options))

    host = ("--run", f"runs/{recipe.preset}-host")
    parts = ("--model.no-use-ksm", "--model.no-use-csr", "--model.no-use-dpid", "--model.no-use-head")
    # Anew: what an earlier version of the demo left behind must not stop this one.
    seed = ("--seed", str(recipe.seed), "--no-resume")
    return [
        Stage("videos", (task("videos", "videos"),)),
        Stage("priors and features", (task("priors", "priors"), task("features", "features"))),
        Stage("training", (task(HOST_ALONE, "train", *host, *parts, *seed), task(WHOLE, "train", *seed))),
        Stage("evaluation", (task(HOST_ALONE, "eval", *host), task(WHOLE, "eval", "--csr-curves"))),
        Stage("report", (task("report", "report", "--compare", f"runs/{recipe.preset}-host"),)),
    ]


def comparison(recipe: DemoRun) -> Stage:
    """The closing table: both runs under the names of the stages that made them."""
    runs = (f"runs/{recipe.preset}-host", f"runs/{recipe.preset}")
    options = ("--runs", *runs, "--names", HOST_ALONE, WHOLE)
    return Stage("comparison", (Task("compare", ("pipelines", "compare", recipe.preset, *options)),))


def run_stage(stage: Stage) -> None:
    """Run the stage's commands side by side; where there are several, each line of output begins with its label.

    The first command that fails ends the others. Raises StageError naming it.
    """
    alone = len(stage.tasks) == 1
    running = [_start(task, piped=not alone) for task in stage.tasks]
    readers = [] if alone else [_pass_on(task, process) for task, process in zip(stage.tasks, running, strict=True)]
    try:
        while any(process.poll() is None for process in running):
            if any(process.poll() for process in running):
                break
            time.sleep(0.05)
    finally:
        # After Ctrl-C the terminal has told the commands, too: they are writing what is finished.
        _end(running, patience=_PATIENCE if isinstance(sys.exc_info()[1], KeyboardInterrupt) else 0.0)
        for reader in readers:
            reader.join()
    for task, process in zip(stage.tasks, running, strict=True):
        if process.returncode not in (0, -signal.SIGTERM):
            command = " ".join(("python -m", *task.arguments))
            raise StageError(
                f"{stage.name}: {task.label} ended with exit code {process.returncode}; its command: {command}\n"
                "If another version of the demo left its caches here, `make clean-demo` removes them."
            )


def _start(task: Task, *, piped: bool) -> subprocess.Popen[str]:
    environment = {**os.environ, **_ENVIRONMENT}
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
