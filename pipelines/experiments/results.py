"""The scores of a table with confidence intervals: of each row, and of its differences to other rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cache.annotations import Dataset
from cache.detections import DetectionTable
from cache.errors import CacheError
from pipelines.experiments.arms import Arm
from pipelines.experiments.grid import Cell, CellRun, TableRun, metrics_file
from pipelines.run_folder.files import DETECTIONS_FILE
from pipelines.run_folder.metrics import Metrics
from pipelines.runs.evaluate import EvalRun
from training.evaluation.evaluate import protocol_videos
from training.evaluation.intervals import Interval, Redraws, class_hits, resampled_scores
from training.evaluation.protocol import Protocol

Scores = dict[int, np.ndarray]
"""Of one row, by seed: mAP at every tIoU and their mean (columns) on every bootstrap sample of the videos (rows)."""


@dataclass(frozen=True)
class Row:
    """Results of one row; None where no seed is finished."""

    arm: Arm
    own: Interval | None
    """mAP at each tIoU, then their mean."""
    gain: Interval | None
    """The same for the paired differences to the row's baseline."""
    validation: Interval | None
    """mAP on the validation subset."""
    same: bool = False
    """Whether its runs are those of its baseline, because the preset has the same setting."""


@dataclass(frozen=True)
class Difference:
    """A further comparison of two rows."""

    arm: Arm
    other: Arm
    gain: Interval | None


@dataclass(frozen=True)
class Results:
    """All that is written of a table."""

    rows: tuple[Row, ...]
    further: tuple[Difference, ...]
    protocol: Protocol
    """Protocol of the reported figures."""
    videos: int
    validation: str | None

    def row(self, name: str) -> Row:
        """The row of that name."""
        return next(row for row in self.rows if row.arm.name == name)


def collect(recipe: TableRun, cells: Sequence[Cell]) -> Results:
    """Read the finished runs and compute the intervals of the table.

    Raises CacheError if no run is finished, or if detections do not reproduce the mAP in their metrics.json.
    """
    done = [cell for cell in cells if cell.done]
    if not done:
        raise CacheError("no run of the table is finished, so there is nothing to write")
    reported = _Subset(recipe, done, place=0)
    beside = None if recipe.validation is None else _Subset(recipe, done, place=1)
    rows = [
        Row(
            arm,
            own=reported.own(arm.name),
            gain=reported.gain(arm.name, arm.baseline),
            validation=None if beside is None else beside.own(arm.name),
            same=arm.baseline is not None and _runs(cells, arm.name) == _runs(cells, arm.baseline),
        )
        for arm in recipe.plan.arms
    ]
    further = [
        Difference(recipe.plan.arm(one), recipe.plan.arm(other), reported.gain(one, other))
        for one, other in recipe.plan.further
    ]
    return Results(tuple(rows), tuple(further), reported.protocol, reported.videos, recipe.validation)


def _runs(cells: Sequence[Cell], name: str) -> list[CellRun]:
    return [cell.run for cell in cells if cell.arm.name == name]


class _Subset:
    """The scores of all runs on one subset, on the same bootstrap samples of its videos. Folds are resampled each by
    itself."""

    def __init__(self, recipe: TableRun, cells: Sequence[Cell], *, place: int) -> None:
        self.protocol = cells[0].run.evaluations[place].chosen()
        folders = dict.fromkeys(part.dataset for _, part in recipe.parts)
        self.datasets = {folder: Dataset.load(folder / "annotations.json") for folder in folders}
        self.drawn = {
            folder: Redraws.draw(len(protocol_videos(dataset, self.protocol)), recipe.bootstrap)
            for folder, dataset in self.datasets.items()
        }
        known: dict[EvalRun, np.ndarray] = {}
        self.by_arm: dict[str, Scores] = {}
        for cell in cells:
            evaluation = cell.run.evaluations[place]
            if evaluation not in known:
                known[evaluation] = self._scores(evaluation)
            self.by_arm.setdefault(cell.arm.name, {})[cell.seed] = known[evaluation]

    def own(self, name: str) -> Interval | None:
        """Interval of a row."""
        scores = self.by_arm.get(name)
        return None if scores is None else self._redraws.interval(np.stack(list(scores.values())))

    def gain(self, name: str, baseline: str | None) -> Interval | None:
        """Interval of the paired differences of a row to another."""
        return self._redraws.difference(self.by_arm.get(name, {}), self.by_arm.get(baseline or "", {}))

    @property
    def videos(self) -> int:
        """Test videos, of all folds."""
        return sum(len(protocol_videos(dataset, self.protocol)) for dataset in self.datasets.values())

    @property
    def _redraws(self) -> Redraws:
        """Any of them: intervals over scores depend on their seed and level alone."""
        return next(iter(self.drawn.values()))

    def _scores(self, evaluation: EvalRun) -> np.ndarray:
        assert evaluation.dataset is not None
        metrics = Metrics.load(metrics_file(evaluation))
        path = metrics_file(evaluation).with_name(DETECTIONS_FILE)
        hits = class_hits(self.datasets[evaluation.dataset], DetectionTable.read(path), self.protocol)
        scores = resampled_scores(hits, self.drawn[evaluation.dataset].videos)
        if not np.allclose(scores[0], (*metrics.map, metrics.average), atol=1e-4):
            raise CacheError(
                f"{path}: found an average mAP of {scores[0, -1]:.4f}, expected {metrics.average:.4f} as in "
                f"{metrics_file(evaluation).name} beside it; delete that folder to compute the score again"
            )
        return scores
