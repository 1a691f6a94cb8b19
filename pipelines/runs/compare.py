"""Compare the mAP of several evaluated runs in one table; also as an HTML page with classes and videos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from cache.annotations import Dataset
from cache.detections import DetectionTable
from cache.errors import CacheError
from cache.files.atomic import atomic_path
from cache.recipe import Recipe
from pipelines.console import say
from pipelines.pages.compare import ComparedRun, comparison
from pipelines.pages.report.videos import judge_counted
from pipelines.run_folder.files import DETECTIONS_FILE, METRICS_FILE, RECIPE_FILE, REPORT_FILE
from pipelines.run_folder.metrics import Metrics
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs.evaluate import print_map
from training.evaluation.diagnosis.schema import Diagnosis
from training.evaluation.protocol import differences


class CompareRun(Recipe):
    """Which runs are compared."""

    runs: tuple[Path, ...]
    """Folders of evaluated runs, in the order of the rows; differences are relative to the first."""
    names: tuple[str, ...] = ()
    """Names of the rows, one for each run; the names of their folders when not given."""
    html: Path | None = None
    """Write an HTML page of the runs, their classes and videos to this file."""
    dataset: Path | None = None
    """Folder of the dataset, needed only for the page; the one that the first run was trained on when not given."""


def main(recipe: CompareRun) -> None:
    """Print one row per run. Raises CacheError if they were not evaluated under the same protocol."""
    names = row_names(recipe)
    results = [Metrics.load(run / METRICS_FILE) for run in recipe.runs]
    refuse_mixture(recipe.runs, results)
    print_map(results, names=names)
    if recipe.html is not None:
        write_page(recipe, recipe.html, results)
        say(f"page: {recipe.html}")


def row_names(recipe: CompareRun) -> tuple[str, ...]:
    """Name of each run: from `names`, or its folder's name, or its path where two folders have the same name. Raises
    CacheError if there is no run, or if the number of names differs."""
    if not recipe.runs:
        raise CacheError("runs: found none, expected the folder of at least one evaluated run")
    if recipe.names and len(recipe.names) != len(recipe.runs):
        raise CacheError(f"names: found {len(recipe.names)}, expected {len(recipe.runs)}, one for each run")
    folders = tuple(run.resolve().name for run in recipe.runs)
    unique = len(set(folders)) == len(folders)
    return recipe.names or (folders if unique else tuple(map(str, recipe.runs)))


def refuse_mixture(
    runs: Sequence[Path],
    results: Sequence[Metrics] | Sequence[Diagnosis],
    *,
    file: str = METRICS_FILE,
    fields: Sequence[str] = ("videos", "classes"),
) -> None:
    """Raise CacheError, naming the difference, if runs were evaluated under different protocols or on different videos
    or classes, because their figures are not comparable. `file` is where the results were read from."""
    for run, one in zip(runs, results, strict=True):
        differing = [f"protocol.{difference}" for difference in differences(one.protocol, results[0].protocol)]
        for field in fields:  # annotations of the same protocol may differ
            found, expected = getattr(one, field), getattr(results[0], field)
            if found != expected:
                differing.append(f"{field}: found {found!r}, expected {expected!r}")
        if differing:
            raise CacheError(
                f"{run / file}: {'; '.join(differing)} as in {runs[0]}. Figures of different protocols are not "
                "comparable; evaluate both runs under the same protocol with `make eval`"
            )


def write_page(recipe: CompareRun, path: Path, results: Sequence[Metrics]) -> None:
    """Write the page of comparable runs. Raises CacheError if detections or annotations cannot be read."""
    trained = [TrainRun.load(run / RECIPE_FILE) for run in recipe.runs]
    dataset = Dataset.load((recipe.dataset or trained[0].dataset) / "annotations.json")
    runs = []
    for name, metrics, made, run in zip(row_names(recipe), results, trained, recipe.runs, strict=True):
        detections = DetectionTable.read(run / DETECTIONS_FILE)
        judged = judge_counted(dataset, detections, metrics.protocol)
        runs.append(ComparedRun(name, metrics, _facts(made), judged, _link(run, path)))
    with atomic_path(path) as unfinished:
        unfinished.write_text(comparison(dataset.name, runs), encoding="utf-8")


def _facts(run: TrainRun) -> str:
    model = run.train.model
    parts = {"KSM": model.use_ksm, "CSR": model.use_csr, "DPID": model.use_dpid, "head": model.use_head}
    return " + ".join([model.host.kind, *(name for name, on in parts.items() if on)]) + f" · seed {run.train.seed}"


def _link(run: Path, page: Path) -> str:
    """URL of the run's report relative to the page; empty if there is none."""
    report = run / REPORT_FILE
    if not report.exists():
        return ""
    return quote(Path(os.path.relpath(report.resolve(), page.parent.resolve())).as_posix())
