"""The mAP of several evaluated runs in one table; also as a page, with their classes and videos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from cache.annotations import Dataset
from cache.atomic import atomic_path
from cache.detections import read_detections
from cache.recipe import Recipe
from cache.schema import CacheError
from pipelines.compare_page import ComparedRun, comparison
from pipelines.console import launch, say
from pipelines.evaluate import DETECTIONS_FILE, METRICS_FILE, Metrics, print_map
from pipelines.report import REPORT_FILE
from pipelines.report_videos import judge_subset
from pipelines.train import RECIPE_FILE, TrainRun


class CompareRun(Recipe):
    """Which runs stand beside each other."""

    runs: tuple[Path, ...]
    """Folders of evaluated runs, in the order of the rows; differences are those to the first."""
    names: tuple[str, ...] = ()
    """What the rows are called; the names of the runs when not given."""
    html: Path | None = None
    """Write a page of the runs, their classes and videos to this file."""
    dataset: Path | None = None
    """Folder of the dataset; the one that the first run was trained on when not given. Only the page needs it."""


def main(recipe: CompareRun) -> None:
    """Print one row a run. Raises CacheError if they were evaluated on different subsets or thresholds."""
    if recipe.names and len(recipe.names) != len(recipe.runs):
        raise CacheError(f"names: found {len(recipe.names)}, expected {len(recipe.runs)}, one for each run")
    results = [Metrics.load(run / METRICS_FILE) for run in recipe.runs]
    for run, one in zip(recipe.runs, results, strict=True):
        for field in ("subset", "videos", "tious", "classes"):
            found, expected = getattr(one, field), getattr(results[0], field)
            if found != expected:
                raise CacheError(
                    f"{run / METRICS_FILE}: {field}: found {found}, expected {expected} as in {recipe.runs[0]}; "
                    "evaluate both alike with `make eval`"
                )
    print_map(results, names=recipe.names)
    if recipe.html is not None:
        write_page(recipe, recipe.html, results)
        say(f"page: {recipe.html}")


def write_page(recipe: CompareRun, path: Path, results: Sequence[Metrics]) -> None:
    """Write the page of runs that may be compared. Raises CacheError if detections or annotations cannot be read."""
    trained = [TrainRun.load(run / RECIPE_FILE) for run in recipe.runs]
    dataset = Dataset.load((recipe.dataset or trained[0].dataset) / "annotations.json")
    entries = dataset.split(results[0].subset)
    names = recipe.names or [one.run for one in results]
    runs = [
        ComparedRun(name, metrics, _facts(made), judge_subset(read_detections(run / DETECTIONS_FILE), entries), link)
        for name, metrics, made, run, link in zip(
            names, results, trained, recipe.runs, [_link(run, path) for run in recipe.runs], strict=True
        )
    ]
    with atomic_path(path) as unfinished:
        unfinished.write_text(comparison(dataset.name, runs), encoding="utf-8")


def _facts(run: TrainRun) -> str:
    model = run.train.model
    parts = {"KSM": model.use_ksm, "CSR": model.use_csr, "DPID": model.use_dpid, "head": model.use_head}
    return " + ".join([model.host.kind, *(name for name, on in parts.items() if on)]) + f" · seed {run.train.seed}"


def _link(run: Path, page: Path) -> str:
    """Address of the run's report as seen from the page."""
    report = run / REPORT_FILE
    if not report.exists():
        return ""
    return quote(Path(os.path.relpath(report.resolve(), page.parent.resolve())).as_posix())


if __name__ == "__main__":
    from pipelines import compare, presets

    launch("compare", presets.choices(lambda preset: preset.compare()), compare.main)
