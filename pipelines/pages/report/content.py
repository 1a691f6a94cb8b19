"""The contents of a report as data: runs, videos, descriptions. No markup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cache.features import FeatureGrid
from pipelines.pages.marked_texts import PriorsShown
from pipelines.pages.report.videos import JudgedVideo
from pipelines.run_folder.metrics import Metrics
from pipelines.run_folder.recipe import TrainRun
from training.evaluation.diagnosis.schema import Diagnosis


@dataclass(frozen=True)
class RunResult:
    """The contents of a run folder."""

    name: str
    recipe: TrainRun
    metrics: Metrics | None
    """None without ground truth."""
    history: tuple[Mapping[str, float], ...]
    """Lines of metrics.jsonl."""
    warnings: tuple[str, ...] = ()
    """What its weights have not learned."""


@dataclass(frozen=True)
class VideoView:
    """One video of the subset."""

    judged: JudgedVideo
    duration: float
    """In seconds."""
    cas: Mapping[str, np.ndarray]
    """Class -> T-CAM over snippets, of the classes that can be shown."""
    attention: np.ndarray | None
    """A_KSM, over snippets."""
    attention_csr: np.ndarray | None
    """A_CSR, over snippets; None if it is not in curves.npz."""
    pictures: tuple[str, ...] = ()
    """Frames at the middles of equal slices of the duration, as data URIs; only a few videos have them."""
    player: str = ""
    """URL of the file relative to the page; empty without --player or without a file."""
    problem: str = ""
    """Reason why frames and player are missing, if they are."""


@dataclass(frozen=True)
class ReportContent:
    """Everything on the page."""

    dataset: str
    classes: tuple[str, ...]
    run: RunResult
    other: RunResult | None
    """The run that it is compared with, such as the host alone (baseline)."""
    grid: FeatureGrid
    videos: tuple[VideoView, ...]
    """All videos of the subset, lowest F1 first."""
    priors: PriorsShown
    diagnosis: Diagnosis | None = None
    """None without ground truth."""

    @property
    def scored(self) -> bool:
        """Whether any video has ground truth."""
        return any(view.judged.entry.segments for view in self.videos)
