"""Prints what each row of a table misses and adds: mean over its runs, and the difference to its baseline."""

from __future__ import annotations

from collections.abc import Sequence

from cache.annotations import Dataset
from cache.detections import DetectionTable
from pipelines.console import table
from pipelines.experiments.grid import Cell, metrics_file
from pipelines.run_folder.files import DETECTIONS_FILE
from pipelines.run_folder.metrics import Metrics
from pipelines.runs.evaluate import EvalRun
from training.evaluation.diagnosis.diagnose import diagnose
from training.evaluation.diagnosis.schema import Diagnosis, DiagnosisRecipe
from training.evaluation.diagnosis.seeds import Run, over_runs
from training.evaluation.evaluate import counted

_SHOWN = {
    "average mAP": "average mAP",
    "without a pair": "not found",
    "incompleteness": "missed",
    "over-completeness": "outside",
    "localization@0.5": "localization",
    "confusion@0.5": "confusion",
    "wrong_label@0.5": "wrong label",
    "background@0.5": "background",
}
"""Figures of the diagnosis, and what they are called here: shares of the instances (not found), of the instances' time
(missed, outside), of the best G detections (the rest, at tIoU 0.5)."""


def print_diagnoses(cells: Sequence[Cell]) -> None:
    """Print one row for each row of the table that has finished runs."""
    runs: dict[str, list[Run]] = {}
    arms = {cell.arm.name: cell.arm for cell in cells}
    for cell in cells:
        if cell.done:
            runs.setdefault(cell.arm.name, []).append(Run(_diagnosed(cell.run.evaluations[0]), cell.seed))
    rows = []
    for name, of_row in runs.items():
        baseline = runs.get(arms[name].baseline or "", [])
        found = over_runs(of_row, baseline)
        values = []
        for figure in _SHOWN:
            mean, change = found.figures.get(figure), found.differences.get(figure)
            told = "" if mean is None else f"{100 * mean.mean:.1f}"
            values.append(told if change is None else f"{told} ({100 * change.mean:+.1f})")
        rows.append([arms[name].title, *values])
    table("Diagnosis [%], mean over the runs; in brackets the difference to the baseline", ["", *_SHOWN.values()], rows)


def _diagnosed(evaluation: EvalRun) -> Diagnosis:
    assert evaluation.dataset is not None
    path = metrics_file(evaluation)
    dataset = Dataset.load(evaluation.dataset / "annotations.json")
    found = counted(dataset, DetectionTable.read(path.with_name(DETECTIONS_FILE)), Metrics.load(path).protocol)
    return diagnose(found, recipe=DiagnosisRecipe(), name=path.parent.name, classes=dataset.classes)
