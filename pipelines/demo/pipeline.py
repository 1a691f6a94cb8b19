"""Run the full pipeline on the embedded demo, stage by stage; each stage runs other commands as processes.

Each command has one thread, so two cores are enough.
"""

from __future__ import annotations

import time
from pathlib import Path

from cache.recipe import Recipe
from pipelines.console import duration, say, table
from pipelines.stages import Stage, Task, run_stage

HOST_ALONE, WHOLE = "host alone", "MLLM4WTAL"
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
"""Environment of every command: one thread, only models of the repository."""
_REMEDY = "If the caches were made by another version of the demo, remove them with `make clean-demo`."


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
        run_stage(stage, environment=_ENVIRONMENT, remedy=_REMEDY)
        times.append((stage.name, duration(time.monotonic() - start)))
    say("")
    table("Time", ["stage", "took"], [*times, ("in all", duration(time.monotonic() - began))])
    run_stage(comparison(recipe), environment=_ENVIRONMENT, remedy=_REMEDY)
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
