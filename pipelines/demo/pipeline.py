"""Run the full pipeline on the embedded demo, stage by stage; each stage runs other commands as processes.

Commands of one stage run in parallel with one thread each, so two cores are enough.
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
"""Seconds in which an interrupted command may write its finished work."""
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""Environment of every command: one thread, unbuffered output, only models of the repository."""


@dataclass(frozen=True)
class Task:
    """One command of a stage."""

    label: str
    arguments: tuple[str, ...]
    """The arguments after `python -m`."""


@dataclass(frozen=True)
class Stage:
    """Commands that run in parallel."""

    name: str
    tasks: tuple[Task, ...]


class StageError(UserError):
    """A command of a stage ended with an error; the message names it."""


class DemoRun(Recipe):
    """One pass through the full pipeline."""

    preset: str
    """Preset of every command: demo or smoke."""
    seed: int = 0
    """Random seed of both trainings."""


def main(recipe: DemoRun) -> None:
    """Run every stage; print the time of each, the mAP of host alone and MLLM4WTAL, and the path of the report."""
    began = time.monotonic()
    stages = stages_of(recipe)
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


def stages_of(recipe: DemoRun) -> list[Stage]:
    """The stages: videos; priors and features; training of host alone and MLLM4WTAL; evaluation; report."""

    def task(label: str, command: str, *options: str) -> Task:
        return Task(label, ("pipelines", command, recipe.preset, *options))

    host = ("--run", f"runs/{recipe.preset}-host")
    parts = ("--model.no-use-ksm", "--model.no-use-csr", "--model.no-use-dpid", "--model.no-use-head")
    # --no-resume: checkpoints of an earlier version of the demo must not stop this one.
    seed = ("--seed", str(recipe.seed), "--no-resume")
    return [
        Stage("videos", (task("videos", "videos"),)),
        Stage("priors and features", (task("priors", "priors"), task("features", "features"))),
        Stage("training", (task(HOST_ALONE, "train", *host, *parts, *seed), task(WHOLE, "train", *seed))),
        Stage("evaluation", (task(HOST_ALONE, "eval", *host), task(WHOLE, "eval", "--csr-curves"))),
        Stage("report", (task("report", "report", "--compare", f"runs/{recipe.preset}-host"),)),
    ]


def comparison(recipe: DemoRun) -> Stage:
    """The final table: both runs, named like the tasks that made them."""
    runs = (f"runs/{recipe.preset}-host", f"runs/{recipe.preset}")
    options = ("--runs", *runs, "--names", HOST_ALONE, WHOLE)
    return Stage("comparison", (Task("compare", ("pipelines", "compare", recipe.preset, *options)),))


def run_stage(stage: Stage) -> None:
    """Run the stage's commands in parallel; if there are several, each line of output begins with the command's label.

    If one fails, the others are stopped. Raises StageError naming the failed command.
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
        # The terminal sends Ctrl-C to the commands as well: they are writing their finished work.
        _end(running, patience=_PATIENCE if isinstance(sys.exc_info()[1], KeyboardInterrupt) else 0.0)
        for reader in readers:
            reader.join()
    for task, process in zip(stage.tasks, running, strict=True):
        if process.returncode not in (0, -signal.SIGTERM):
            command = " ".join(("python -m", *task.arguments))
            raise StageError(
                f"{stage.name}: {task.label} ended with exit code {process.returncode}; its command: {command}\n"
                "If the caches were made by another version of the demo, remove them with `make clean-demo`."
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
