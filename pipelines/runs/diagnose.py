"""Diagnose detections: error types, false negatives, and incompleteness and over-completeness of the true positives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import PositiveFloat, field_validator

from cache.annotations import Dataset
from cache.detections import DetectionTable
from cache.errors import CacheError
from cache.recipe import Recipe
from pipelines.console import say
from pipelines.runs.diagnose_print import print_diagnosis, print_runs
from pipelines.runs.evaluate_file import named_as_annotated
from training.evaluation.diagnosis.diagnose import diagnose
from training.evaluation.diagnosis.schema import (
    FILE,
    PSEUDO_FILE,
    PSEUDO_RUNS_FILE,
    RUNS_FILE,
    Diagnosis,
    DiagnosisRecipe,
)
from training.evaluation.diagnosis.seeds import Run, over_runs
from training.evaluation.evaluate import UnknownLabels, counted
from training.evaluation.protocol import PROTOCOLS, Protocol, ProtocolName, tiou_grid


class DiagnoseRun(Recipe):
    """Which detections are diagnosed, under which protocol."""

    run: Path
    """Folder of the evaluated run; receives diagnosis.json."""
    runs: tuple[Path, ...] = ()
    """Folders of evaluated runs that differ only in their seed, instead of `run`: mean and standard deviation."""
    against: tuple[Path, ...] = ()
    """Folders of evaluated runs that `runs` (or `run`) are compared with, such as the host alone (baseline)."""
    pseudo_segments: bool = False
    """Diagnose, instead of the detections of `run` (or of `runs` and `against`), the pseudo segments that its
    localization head was last trained on, against the ground truth of its training videos, which training never reads;
    written to pseudo_diagnosis.json."""
    detections: Path | None = None
    """Results JSON of any program, instead of a run; needs `annotations`."""
    annotations: Path | None = None
    """Annotations for these detections; when not given, those of the dataset that the run was trained on."""
    protocol: ProtocolName | None = None
    """Evaluation protocol: videos, units, thresholds; when not given, that of the run's metrics.json, else seconds (as
    for pseudo segments)."""
    subset: str | None = None
    """Subset that is diagnosed; the protocol's when not given, for pseudo segments that of the training."""
    tious: str | None = None
    """Thresholds of temporal IoU: start:step:end, or numbers separated by commas; the protocol's when not given."""
    unknown_labels: UnknownLabels = "error"
    """Detections of a class that is not in the annotations. error: stop. ignore: leave them out and count them."""
    shown: PositiveFloat = 0.5
    """Threshold that the printed tables are for; the nearest one of the protocol is used."""
    output: Path | None = None
    """Folder that receives diagnosis.json (diagnosis_runs.json for several runs); when not given, the folder of the
    run, of the detections, or of the first of several runs."""
    diagnosis: DiagnosisRecipe = DiagnosisRecipe()
    """Definitions of the error types, and which detections are used for completeness."""

    @field_validator("tious")
    @classmethod
    def _thresholds(cls, value: str | None) -> str | None:
        if value is not None:
            tiou_grid(value)
        return value

    @property
    def file(self) -> str:
        """Name of the file that a diagnosis is written to."""
        return PSEUDO_FILE if self.pseudo_segments else FILE


def main(recipe: DiagnoseRun) -> None:
    """Write diagnosis.json and print its tables."""
    if recipe.detections is not None:
        if recipe.runs or recipe.against or recipe.pseudo_segments:
            raise CacheError(
                "detections: expected alone, found with --runs, --against or --pseudo-segments, which are of runs"
            )
        folder = recipe.output or recipe.detections.parent
        print_diagnosis(_of_file(recipe, recipe.detections, folder), shown=recipe.shown)
    elif recipe.runs or recipe.against:
        _several(recipe, recipe.runs or (recipe.run,))
    else:
        print_diagnosis(_of_run(recipe, recipe.run, recipe.output or recipe.run).diagnosis, shown=recipe.shown)


def _several(recipe: DiagnoseRun, folders: Sequence[Path]) -> None:
    from pipelines.runs.compare import refuse_mixture  # not at the top: see _of_run

    runs = [_of_run(recipe, folder, folder) for folder in folders]
    against = [_of_run(recipe, folder, folder) for folder in recipe.against]
    every = [run.diagnosis for run in (*runs, *against)]
    refuse_mixture([*folders, *recipe.against], every, file=recipe.file, fields=("videos", "truths"))
    found = over_runs(runs, against)
    path = (recipe.output or folders[0]) / (PSEUDO_RUNS_FILE if recipe.pseudo_segments else RUNS_FILE)
    found.save(path)
    print_runs(found, runs[0].diagnosis, shown=recipe.shown)
    say(f"written: {path}, and {recipe.file} in the folder of every run")


def _of_run(recipe: DiagnoseRun, folder: Path, output: Path) -> Run:
    # Not at the top: these import torch, which takes seconds and which a file of detections does not need.
    from pipelines.run_folder.files import DETECTIONS_FILE, METRICS_FILE, RECIPE_FILE
    from pipelines.run_folder.metrics import Metrics
    from pipelines.run_folder.recipe import TrainRun
    from training.checkpoints.pseudo_detections import pseudo_detections

    if not recipe.pseudo_segments and not (folder / DETECTIONS_FILE).exists():
        raise CacheError(f"{folder / DETECTIONS_FILE}: no such file, so the run is not evaluated; run `make eval`")
    trained = TrainRun.load(folder / RECIPE_FILE)
    dataset = Dataset.load(recipe.annotations or trained.dataset / "annotations.json")
    name = folder.resolve().name
    if recipe.pseudo_segments:
        table, name = pseudo_detections(folder), f"pseudo segments of {name}"
        subset = recipe.subset or trained.train.data.subset  # that of the run's protocol is for testing
        protocol = _protocol(recipe, None).model_copy(update={"subset": subset})
    else:
        table = DetectionTable.read(folder / DETECTIONS_FILE)
        own = Metrics.load(folder / METRICS_FILE).protocol if (folder / METRICS_FILE).exists() else None
        protocol = _protocol(recipe, own)
    found = _diagnosed(recipe, dataset, table, protocol, name, output)
    return Run(found, trained.train.seed)


def _of_file(recipe: DiagnoseRun, detections: Path, output: Path) -> Diagnosis:
    if recipe.annotations is None:
        raise CacheError("annotations: not given; name the annotations that --detections belong to with --annotations")
    dataset = Dataset.load(recipe.annotations)
    table = named_as_annotated(DetectionTable.read(detections), dataset)
    return _diagnosed(recipe, dataset, table, _protocol(recipe, None), detections.stem, output)


def _protocol(recipe: DiagnoseRun, own: Protocol | None) -> Protocol:
    base = PROTOCOLS[recipe.protocol or "seconds"] if recipe.protocol or own is None else own
    varied: dict[str, object] = {} if recipe.subset is None else {"subset": recipe.subset}
    return base.model_copy(update=varied if recipe.tious is None else varied | {"tious": tiou_grid(recipe.tious)})


def _diagnosed(
    recipe: DiagnoseRun, dataset: Dataset, table: DetectionTable, protocol: Protocol, name: str, output: Path
) -> Diagnosis:
    what = counted(dataset, table, protocol, unknown_labels=recipe.unknown_labels)
    found = diagnose(what, recipe=recipe.diagnosis, name=name, classes=dataset.classes)
    found.save(output / recipe.file)
    say(f"diagnosis: {output / recipe.file}")
    return found
