"""What a report shows, as it was read: runs, videos, texts. No markup."""

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
    """What a run folder holds."""

    name: str
    recipe: TrainRun
    metrics: Metrics | None
    """None where there was no truth to compare with."""
    history: tuple[Mapping[str, float], ...]
    """Lines of metrics.jsonl."""


@dataclass(frozen=True)
class VideoView:
    """One video of the subset."""

    judged: JudgedVideo
    duration: float
    """In seconds."""
    cas: Mapping[str, np.ndarray]
    """T-CAM over snippets, of the classes that can be shown."""
    attention: np.ndarray | None
    """A_KSM, over snippets."""
    attention_csr: np.ndarray | None
    """A_CSR, over snippets; None where the curves do not hold it."""
    pictures: tuple[str, ...] = ()
    """Frames at the middles of equal slices of the duration, as data URIs; only a few videos have them."""
    player: str = ""
    """Address of the file, relative to the page; empty where no player is wanted or there is no file."""
    problem: str = ""
    """Why there are neither frames nor player, where there should be."""


@dataclass(frozen=True)
class ReportContent:
    """Everything on the page."""

    dataset: str
    classes: tuple[str, ...]
    run: RunResult
    other: RunResult | None
    """The run that stands beside it, such as the host alone."""
    grid: FeatureGrid
    videos: tuple[VideoView, ...]
    """All of the subset, the worst first."""
    priors: PriorsShown
    diagnosis: Diagnosis | None = None
    """None where there was no truth to compare with."""

    @property
    def scored(self) -> bool:
        """True if any video has a truth to compare with."""
        return any(view.judged.entry.segments for view in self.videos)
