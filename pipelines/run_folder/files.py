"""File names of a run, and checks that results belong to its current weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from cache.errors import CacheError
from cache.files.atomic import atomic_path
from cache.files.json_text import read_json
from training.checkpoints.folder import is_finished, steps_taken
from training.checks.doubt import FILE as LEARNED_FILE
from training.checks.doubt import Doubt
from training.evaluation.diagnosis.schema import FILE as DIAGNOSIS_FILE
from training.evaluation.diagnosis.schema import PSEUDO_FILE, PSEUDO_RUNS_FILE
from training.evaluation.diagnosis.schema import RUNS_FILE as DIAGNOSES_FILE

RECIPE_FILE = "recipe.json"
ENCODERS_FILE = "encoders.json"
"""The encoders that made the features; `make train` copies it from their folder."""
METRICS_FILE, DETECTIONS_FILE, CURVES_FILE = "metrics.json", "detections.json", "curves.npz"
REPORT_FILE = "report.html"
RESULTS = (
    METRICS_FILE, DETECTIONS_FILE, CURVES_FILE, DIAGNOSIS_FILE, DIAGNOSES_FILE, PSEUDO_FILE, PSEUDO_RUNS_FILE,
    REPORT_FILE, LEARNED_FILE,
)  # fmt: skip
"""Files that are computed from the weights of a run; training invalidates them."""


def remove_results(run: Path) -> list[Path]:
    """Remove the results of weights that are about to change; returns the removed files."""
    removed = [run / name for name in RESULTS if (run / name).exists()]
    for path in removed:
        path.unlink()
    return removed


def keep_encoders(features: Path, run: Path, streams: Sequence[str] | None = None) -> None:
    """Copy the record of the encoders that made the features, those of the chosen `streams`, into the run, so that it
    can encode further videos. Features that were made elsewhere have none."""
    files = [features / ENCODERS_FILE, *sorted(features.glob(f"[!.]*/{ENCODERS_FILE}"))]
    records = [read_json(file)[0] for file in files if file.exists()]
    known = {name: encoder for record in reversed(records) for name, encoder in record["streams"].items()}
    if streams is None:
        streams = tuple(records[0]["streams"]) if files[0].exists() else ()
    if not streams or not set(streams) <= known.keys():
        (run / ENCODERS_FILE).unlink(missing_ok=True)
        return
    with atomic_path(run / ENCODERS_FILE) as unfinished:
        document = {**records[0], "streams": {name: known[name] for name in streams}}
        unfinished.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def warnings_of(run: Path) -> tuple[str, ...]:
    """What the weights of a run have not learned, as `make train` found; none if there is no learned.json."""
    path = run / LEARNED_FILE
    if not path.exists():
        return ()
    document, _ = read_json(path)
    return tuple(str(Doubt.parse(doubt, source=str(path))) for doubt in document["doubts"])


def refuse_unfinished(runs: Iterable[Path], *, asked: bool) -> None:
    """Raise CacheError if the training of a run is not finished, unless `asked` allows it.

    A folder without a checkpoint is accepted.
    """
    for run in runs:
        taken = steps_taken(run)
        if not asked and taken is not None and not is_finished(run):
            raise CacheError(
                f"{run}: found a training that is not finished ({taken[0]} of {taken[1]} steps); finish it "
                "with `make train`, or use it as it is with --unfinished"
            )
