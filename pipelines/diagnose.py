"""Say what detections get wrong, and how incomplete and over-complete the found ones are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import PositiveFloat

from cache.annotations import Dataset
from cache.detections import read_detections
from cache.recipe import Recipe
from cache.schema import CacheError
from pipelines.console import launch, say
from pipelines.diagnose_print import print_diagnosis, print_runs
from training.diagnosis.diagnose import diagnose
from training.diagnosis.schema import FILE, RUNS_FILE, Diagnosis, DiagnosisRecipe
from training.diagnosis.seeds import Run, over_runs


class DiagnoseRun(Recipe):
    """Which detections are diagnosed."""

    run: Path
    """Folder of the evaluated run; receives diagnosis.json."""
    runs: tuple[Path, ...] = ()
    """Folders of evaluated runs that differ in their seed, in place of `run`: mean and spread of their figures."""
    against: tuple[Path, ...] = ()
    """Folders of the evaluated runs that `runs` (or `run`) are held against, such as the host alone."""
    detections: Path | None = None
    """Results JSON of any other origin, in place of a run; with `annotations`."""
    annotations: Path | None = None
    """Annotations of these detections; the dataset's of the training of a run when not given."""
    subset: str = "testing"
    """Subset that is diagnosed."""
    tious: tuple[PositiveFloat, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    """Temporal IoU from which a detection is right; everything that depends on it is given for each."""
    shown: PositiveFloat = 0.5
    """The nearest of the thresholds is the one that the tables are printed for."""
    output: Path | None = None
    """Folder of diagnosis.json, or of diagnosis_runs.json where there are several runs; when not given, that of the
    run or of the detections, or of the first of several runs."""
    diagnosis: DiagnosisRecipe = DiagnosisRecipe()
    """What counts as which error, and which detections count."""


def main(recipe: DiagnoseRun) -> None:
    """Write diagnosis.json of everything that is diagnosed, and print the tables."""
    if recipe.detections is not None:
        if recipe.runs or recipe.against:
            raise CacheError("detections: expected alone; runs that differ in their seed are folders of runs")
        folder = recipe.output or recipe.detections.parent
        print_diagnosis(_of_file(recipe, recipe.detections, folder), shown=recipe.shown)
    elif recipe.runs or recipe.against:
        _several(recipe, recipe.runs or (recipe.run,))
    else:
        print_diagnosis(_of_run(recipe, recipe.run, recipe.output or recipe.run).diagnosis, shown=recipe.shown)


def _several(recipe: DiagnoseRun, folders: Sequence[Path]) -> None:
    runs = [_of_run(recipe, folder, folder) for folder in folders]
    against = [_of_run(recipe, folder, folder) for folder in recipe.against]
    for folder, run in zip([*folders, *recipe.against], [*runs, *against], strict=True):
        for field in ("videos", "truths"):
            found, expected = getattr(run.diagnosis, field), getattr(runs[0].diagnosis, field)
            if found != expected:
                raise CacheError(f"{folder}: {field}: found {found}, expected {expected} as in {folders[0]}")
    found = over_runs(runs, against)
    path = (recipe.output or folders[0]) / RUNS_FILE
    found.save(path)
    print_runs(found, runs[0].diagnosis, shown=recipe.shown)
    say(f"written: {path}, and {FILE} in the folder of every run")


def _of_run(recipe: DiagnoseRun, folder: Path, output: Path) -> Run:
    # Not at the top: they bring torch, which takes seconds to load and which a file of detections does not need.
    from pipelines.evaluate import DETECTIONS_FILE
    from pipelines.train import RECIPE_FILE, TrainRun

    if not (folder / DETECTIONS_FILE).exists():
        raise CacheError(f"{folder / DETECTIONS_FILE}: no such file, so the run is not evaluated; run `make eval`")
    trained = TrainRun.load(folder / RECIPE_FILE)
    annotations = recipe.annotations or trained.dataset / "annotations.json"
    return Run(_diagnosed(recipe, folder / DETECTIONS_FILE, annotations, folder.name, output), trained.train.seed)


def _of_file(recipe: DiagnoseRun, detections: Path, output: Path) -> Diagnosis:
    if recipe.annotations is None:
        raise CacheError("annotations: not given; name the annotations that --detections belong to with --annotations")
    return _diagnosed(recipe, detections, recipe.annotations, detections.stem, output)


def _diagnosed(recipe: DiagnoseRun, detections: Path, annotations: Path, name: str, output: Path) -> Diagnosis:
    dataset = Dataset.load(annotations)
    videos = dataset.split(recipe.subset)
    try:
        found = diagnose(
            read_detections(detections),
            videos,
            tious=recipe.tious,
            recipe=recipe.diagnosis,
            name=name,
            subset=recipe.subset,
            classes=dataset.classes,
        )
    except ValueError as error:
        raise CacheError(f"{detections}, {annotations}: {error}") from error
    found.save(output / FILE)
    say(f"diagnosis: {output / FILE}")
    return found


if __name__ == "__main__":
    from pipelines import diagnose as command
    from pipelines import presets

    launch("diagnose", presets.choices(lambda preset: preset.diagnose()), command.main)
