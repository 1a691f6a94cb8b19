"""The paper's Table 3 over several seeds: what the host gains by KSM, by CSR, and by both.

A cell of the table is one run (an arm with a seed). A finished cell is never run again, so a stopped table goes on
where it was. Seeds give all arms the same batches, so differences between arms are paired.
"""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Literal

from pydantic import PositiveInt

from cache.atomic import atomic_path
from cache.recipe import Recipe
from pipelines import evaluate, train
from pipelines.console import launch, progress, say, table
from pipelines.evaluate import EvalRun, Metrics
from pipelines.train import TrainRun

Arm = Literal["host", "head", "ksm", "csr", "both"]
Scores = dict[tuple[Arm, int], list[Metrics]]
"""Of every cell: on the reported subset, then on the validation subset."""


@dataclass(frozen=True)
class Parts:
    """Which parts of the model an arm has beside the host."""

    title: str
    ksm: bool = False
    csr: bool = False
    head: bool = False


ARMS: Mapping[Arm, Parts] = {
    "host": Parts("host alone"),
    "head": Parts("host + head", head=True),
    "ksm": Parts("+ KSM", ksm=True, head=True),
    "csr": Parts("+ CSR", csr=True, head=True),
    "both": Parts("+ both (MLLM4WTAL)", ksm=True, csr=True, head=True),
}
"""The rows. Those with a branch carry the localization head, which reads what the branches teach the host; "host +
head" shows what the head does by itself. CSR reaches the host through the distillation (DPID), so that goes with it."""


class AblateRun(Recipe):
    """Which cells, and what they are made from."""

    train: TrainRun
    """What every cell is trained with, but for its parts and seed; `run` is where the table goes."""
    evaluate: EvalRun
    """How every cell is evaluated."""
    validation: str | None = "validation"
    """Subset that is scored beside the reported one: the one to choose settings by. None scores no other."""
    arms: tuple[Arm, ...] = ("host", "head", "ksm", "csr", "both")
    """Rows of the table; the first is what the others are compared with."""
    seeds: PositiveInt = 3
    """Seeds 0, 1, 2 ... of each arm."""
    workers: PositiveInt = 2
    """Cells that are trained at the same time, one thread each on a CPU."""

    @property
    def folder(self) -> Path:
        """Where cells and table lie: a folder named after everything that all cells share."""
        shared = self.model_copy(update={"arms": (), "seeds": 1, "workers": 1})
        return self.train.run / shared.fingerprint()


@dataclass(frozen=True)
class Cell:
    """One run of the table."""

    arm: Arm
    seed: int
    train: TrainRun
    evaluations: tuple[EvalRun, ...]

    @property
    def name(self) -> str:
        """For people."""
        return f"{ARMS[self.arm].title}, seed {self.seed}"

    @property
    def done(self) -> bool:
        """Whether all its scores are there."""
        return all((one.output or one.run).joinpath(evaluate.METRICS_FILE).exists() for one in self.evaluations)

    def scores(self) -> list[Metrics]:
        """Its scores, in the order of `evaluations`."""
        return [Metrics.load((one.output or one.run) / evaluate.METRICS_FILE) for one in self.evaluations]


def main(recipe: AblateRun) -> None:
    """Run the cells that are missing, then write and print the table."""
    grid = cells(recipe)
    missing = [cell for cell in grid if not cell.done]
    say(f"{recipe.folder}: {len(grid) - len(missing)} of {len(grid)} runs are there")
    run_cells(missing, recipe.workers)
    write_table(recipe, grid)


def cells(recipe: AblateRun) -> list[Cell]:
    """All cells, seed by seed, so that a table that was stopped has whole seeds."""
    return [_cell(recipe, arm, seed) for seed in range(recipe.seeds) for arm in recipe.arms]


def _cell(recipe: AblateRun, arm: Arm, seed: int) -> Cell:
    parts = ARMS[arm]
    run = recipe.folder / f"{arm}-seed{seed}"
    switches = {"use_ksm": parts.ksm, "use_csr": parts.csr, "use_dpid": parts.csr, "use_head": parts.head}
    whole = recipe.train.resolved()
    base = whole.train
    model = base.model.model_copy(update=switches)
    training = whole.model_copy(update={"run": run, "train": base.model_copy(update={"seed": seed, "model": model})})
    evaluations = [recipe.evaluate.model_copy(update={"run": run})]
    if recipe.validation is not None:
        other = {"run": run, "subset": recipe.validation, "output": run / recipe.validation}
        evaluations.append(recipe.evaluate.model_copy(update=other))
    return Cell(arm, seed, training, tuple(evaluations))


def run_cells(missing: Sequence[Cell], workers: int) -> None:
    """Train and evaluate cells side by side; what they print goes to log.txt in their folders."""
    if not missing:
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers are started anew and read it
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    waiting, running = deque(missing), {}
    try:
        with progress("table", unit="runs") as report:
            while waiting or running:
                # No more than can run: after Ctrl-C the pool would still begin what it holds.
                while waiting and len(running) < workers:
                    cell = waiting.popleft()
                    running[pool.submit(run_cell, cell)] = cell
                for job in wait(running, return_when=FIRST_COMPLETED).done:
                    say(f"{running.pop(job).name}: average mAP {100 * job.result():.1f}")
                report(len(missing) - len(waiting) - len(running), len(missing))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def run_cell(cell: Cell) -> float:
    """Train and evaluate one cell; its average mAP on the reported subset."""
    run = cell.train.run
    run.mkdir(parents=True, exist_ok=True)
    with open(run / "log.txt", "a", encoding="utf-8", buffering=1) as log, redirect_stdout(log):
        train.main(cell.train)
        for one in reversed(cell.evaluations):
            evaluate.main(one)
    return cell.scores()[0].average


def write_table(recipe: AblateRun, grid: Sequence[Cell]) -> None:
    """Write table3.csv (every run) and table3.md (mean and spread over the seeds), and print the latter."""
    scores: Scores = {(cell.arm, cell.seed): cell.scores() for cell in grid}
    header, rows = summarize(recipe, scores)
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
    first = next(iter(scores.values()))[0]
    note = (
        f"mAP [%] on {first.subset} ({first.videos} videos): mean of {recipe.seeds} seeds, ± standard deviation. "
        f"gain: mean of the differences to {ARMS[recipe.arms[0]].title} with the same seed."
    )
    _write(recipe.folder / "table3.md", "\n".join([*lines, "", note, ""]))
    _write(recipe.folder / "table3.csv", _csv(scores))
    table("Table 3", header, rows)
    say(note)
    say(f"written: {recipe.folder / 'table3.md'}, table3.csv")


def summarize(recipe: AblateRun, scores: Scores) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table, from the scores of every cell."""
    first = scores[recipe.arms[0], 0]
    header = ["", *(f"@{tiou:g}" for tiou in first[0].tious), "average", "gain"]
    header += [f"average on {one.subset}" for one in first[1:]]
    rows = []
    for arm in recipe.arms:
        own = [scores[arm, seed] for seed in range(recipe.seeds)]
        base = [scores[recipe.arms[0], seed] for seed in range(recipe.seeds)]
        row = [ARMS[arm].title, *(f"{100 * mean(values):.1f}" for values in zip(*(o[0].map for o in own), strict=True))]
        row.append(_spread([one[0].average for one in own]))
        gains = [mine[0].average - other[0].average for mine, other in zip(own, base, strict=True)]
        row.append("" if arm == recipe.arms[0] else f"{100 * mean(gains):+.1f}")
        row += [_spread([one[index].average for one in own]) for index in range(1, len(first))]
        rows.append(row)
    return header, rows


def _spread(values: Sequence[float]) -> str:
    return f"{100 * mean(values):.1f}" + (f" ± {100 * stdev(values):.1f}" if len(values) > 1 else "")


def _csv(scores: Scores) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    tious = next(iter(scores.values()))[0].tious
    writer.writerow(["arm", "seed", "subset", *(f"mAP@{tiou:g}" for tiou in tious), "average"])
    for (arm, seed), results in scores.items():
        writer.writerows([arm, seed, one.subset, *one.map, one.average] for one in results)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    from pipelines import ablate, presets

    launch("ablate", presets.choices(lambda preset: preset.ablate()), ablate.main)
