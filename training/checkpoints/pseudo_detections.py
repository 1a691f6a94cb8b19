"""The pseudo segments in a checkpoint, as detections in the training videos, so that they can be diagnosed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cache.detections import DetectionTable
from training.checkpoints.checkpoint import load_state, load_training
from training.checkpoints.folder import find_checkpoint
from training.errors import TrainingError


def pseudo_detections(run: Path) -> DetectionTable:
    """The pseudo segments that the head was last trained on, in seconds, their weights as scores.

    Raises `TrainingError` if the run's last checkpoint has none.
    """
    folder = find_checkpoint(run)
    if folder is None:
        raise TrainingError(f"{run}: found no checkpoint, so nothing was trained here; run `make train`")
    state, pseudo = load_state(folder), load_training(folder)["pseudo"]
    if pseudo is None:
        raise TrainingError(
            f"{folder}: found no pseudo segments, expected those of a localization head (model.use_head) that has been "
            "trained for longer than its warm-up (model.head.pseudo_labels.warmup)"
        )
    videos = tuple(pseudo)
    counts = [len(pseudo[video].weight) for video in videos]
    columns = {
        name: np.concatenate([np.zeros(0, dtype), *(getattr(pseudo[video], name).numpy() for video in videos)])
        for name, dtype in (("start", np.float64), ("end", np.float64), ("label", np.int64), ("weight", np.float64))
    }
    bounds = np.stack([columns["start"], columns["end"]], axis=1)
    return DetectionTable(
        videos=videos,
        labels=state.classes,
        video=np.repeat(np.arange(len(videos)), counts),
        label=columns["label"],
        score=columns["weight"],
        segments=state.grid.boundary_seconds(bounds),
    )
