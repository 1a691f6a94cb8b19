"""Choose settings of a host from video labels alone: trials on held-out, weakly labelled videos, with resuming.

All trials are known before the first is trained (a Sobol sequence), so the choice depends neither on the number of
workers nor on the order in which they end. No time of an action is read.
"""

from __future__ import annotations

from pathlib import Path

from cache.files.atomic import atomic_path
from pipelines.console import fail, say, table
from pipelines.experiments.jobs import failures_told, run_jobs
from pipelines.run_folder.tuned import TUNED_FILE, TunedHost, load_tuned
from pipelines.tuning.recipe import SEARCH_FILE, TuneRun
from pipelines.tuning.trials import Best, Trial, budget, choose, make_trials

_SHOWN = 8
"""Trials in the table on the terminal."""


def main(recipe: TuneRun) -> int:
    """Run the missing trials, then write the settings and the page; 1 if a trial failed."""
    trials = make_trials(recipe)
    recipe.save(recipe.train.run / SEARCH_FILE)
    waiting = [trial for trial in trials if not trial.done]
    say(f"{recipe.train.run}: {len(trials) - len(waiting)} of {len(trials)} trials are finished")
    failures = run_jobs(waiting, workers=recipe.workers, devices=recipe.devices, label="trials")
    done = [trial for trial in trials if trial.done]
    best = choose(done, recipe.criterion)
    file = write_tuned(recipe, best, len(done))
    _print(recipe, done, best)
    from pipelines.tuning.page import search_page

    page = recipe.train.run / "tune.html"
    with atomic_path(page) as unfinished:
        unfinished.write_text(search_page(recipe, done, best), encoding="utf-8")
    say(f"settings: {file}; page: {page}")
    if failures:
        fail(failures_told(failures, of=len(trials), what="trials"))
    return 1 if failures else 0


def write_tuned(recipe: TuneRun, best: Best, trials: int) -> Path:
    """Write the chosen settings beside those of other hosts; returns the file."""
    file = recipe.output or recipe.train.dataset / TUNED_FILE
    chosen = TunedHost(
        train={**budget(recipe), **best.trial.settings},
        localize=best.localize,
        criterion=recipe.criterion,
        score=best.score,
        trials=trials,
    )
    host = recipe.train.resolved().train.model.host.kind
    load_tuned(file).with_host(host, chosen).save(file)
    return file


def _print(recipe: TuneRun, done: list[Trial], best: Best) -> None:
    name = recipe.criterion
    ranked = sorted(done, key=lambda trial: -choose([trial], name).score)
    fields = list(best.trial.settings) or list(done[-1].settings)
    rows = []
    for trial in ranked[:_SHOWN]:
        own = choose([trial], name)
        read = ", ".join(f"{value}" for value in own.localize.values())
        rows.append(
            [f"{trial.number}", *(f"{trial.settings.get(field, '-')}" for field in fields), read, f"{own.score:.3f}"]
        )
    header = ["trial", *(field.rpartition(".")[2] for field in fields), "post-processing", name]
    table(f"The best of {len(done)} trials", header, rows)
