"""Settings that hold on any data: mAP of the plain host on made-up datasets of many shapes, under many settings.

`python -m benchmarks brittleness [--shapes 3x15%-20c-40v ...] [--settings top7/relative ...] [--steps 200] [--seed 0]
[--many]` trains the host on each shape (classes a video, share of action, classes, videos) under each setting, and
prints mAP over tIoU 0.1 to 0.7, with the mean rank and the worst case of each setting: what it loses on a shape beside
the best setting there. A setting is never bad if its worst case is small. `--many` adds shapes of 4,000 videos. All
settings share the schedule. Of another host (`--host`) those fields are changed that it has.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.training.brittleness_shapes import Shape, make_dataset
from cache.annotations import Dataset
from cache.features import FeatureStore
from training.batches.data import WtalData
from training.checkpoints.checkpoint import Trained
from training.evaluation.metrics import mean_average_precision
from training.hosts.recipes import default_recipe
from training.inference import detect
from training.localization.localize import LocalizeRecipe
from training.loop.trainer import Trainer
from training.recipe import TrainRecipe

SHAPES = (
    "1x15%-20c-400v",
    "3x15%-20c-40v",
    "6x15%-20c-40v",
    "1x90%-20c-400v",
    "3x90%-5c-40v",
    "6x90%-20c-400v",
    "1x1%-5c-40v",
    "3x1%-20c-400v",
    "1x15%-200c-400v",
    "6x90%-200c-400v",
)
MANY = ("1x15%-20c-4000v", "3x15%-200c-4000v")
TIOUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
BASE: Mapping[str, Any] = {
    "model.use_ksm": False,
    "model.use_csr": False,
    "model.use_dpid": False,
    "model.use_head": False,
    "loop.host_lr": 2e-3,
    "loop.schedule": "cosine",
    "model.host.width": 128,
    "loop.tensorboard": False,
    "loop.device": "cpu",
    "data.num_snippets": 250,
    "data.num_pairs": 2,
}
"""What all settings share, where they say nothing else."""


@dataclass(frozen=True)
class Setting:
    """A training (changes of the host's recipe), and how it is read."""

    host: Mapping[str, Any] = field(default_factory=dict)
    localize: Mapping[str, Any] = field(default_factory=dict)


MILD: Mapping[str, Any] = {"norm": 0.2, "dropout": 0.3}
"""Less sparsity and less dropout than the public code of the hosts has on THUMOS14."""
TRAININGS: Mapping[str, Mapping[str, Any]] = {
    "published": {},
    "top4": MILD | {"mil_ratio": 4},
    "top7": MILD | {"mil_ratio": 7},
    "top16": MILD | {"mil_ratio": 16},
    "top32": MILD | {"mil_ratio": 32},
    "spread": MILD | {"pooling.kind": "spread"},
    "fitted": MILD | {"pooling.kind": "fitted", "mil_ratio": 16},
    "lse": MILD | {"pooling.kind": "log_sum_exp"},
    "attention": MILD | {"pooling.kind": "attention"},
    "auto": MILD | {"pooling.kind": "auto"},
    "spread-narrow": MILD | {"pooling.kind": "spread", "width": 32},
    "spread-dropout": MILD | {"pooling.kind": "spread", "dropout": 0.5},
}
"""Changes of the host's recipe. `published` has its defaults, those of THUMOS14; `narrow` has the features' width."""
READINGS: Mapping[str, Mapping[str, Any]] = {
    "": {},
    "/relative": {"class_choice": "relative"},
    "/against": {"video_scores": "against_background"},
    "/both": {"video_scores": "against_background", "class_choice": "relative"},
    "/both+cas": {
        "video_scores": "against_background",
        "class_choice": "relative",
        "curves": ("attention", "cas"),
    },
}
"""Changes of the post-processing, which a training of that name serves, too."""
SETTINGS = {
    f"{training}{reading}": Setting(changes, localize)
    for training, changes in TRAININGS.items()
    for reading, localize in READINGS.items()
}


def train(data: WtalData, recipe: TrainRecipe, folder: Path) -> Trained:
    """The model after all steps."""
    trainer = Trainer(data, recipe, run=folder)
    for _ in range(recipe.loop.steps):
        trainer.advance()
    return trainer.trained()


def score(trained: Trained, dataset: Dataset, store: FeatureStore, localize: Mapping[str, Any]) -> float:
    """Average mAP in percent on the test videos."""
    videos = [video for video in dataset.videos if video.subset == "testing"]
    recipe = LocalizeRecipe(source="cam").changed(localize)
    found = [d for _, detections in detect(trained, store, videos, recipe=recipe) for d in detections]
    truth = {video.video_id: video.segments for video in videos}
    return 100 * mean_average_precision(found, truth, tious=TIOUS, classes=dataset.classes).average


def run_shape(shape: Shape, settings: Sequence[str], *, host: str, steps: int, seed: int) -> dict[str, float]:
    """mAP of each setting."""
    result: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        dataset, store = make_dataset(folder / "features", shape, seed=seed)
        chosen = {"model.host": default_recipe(host), "loop.steps": steps, "seed": seed}
        base = TrainRecipe().changed(chosen).changed(BASE)
        models: dict[str, Trained] = {}
        for name in settings:
            setting = SETTINGS[name]
            key = name.partition("/")[0]
            if key not in models:
                recipe = base.changed(_of_host(setting.host, base))
                data = WtalData(dataset, store, None, recipe=recipe.data, seed=seed, choice=recipe.model.text_choice)
                models[key] = train(data, recipe, folder / "run")
            result[name] = score(models[key], dataset, store, setting.localize)
    return result


def _of_host(changes: Mapping[str, Any], recipe: TrainRecipe) -> Mapping[str, Any]:
    """Those that the host has a field for."""
    known = type(recipe.model.host).model_fields
    return {f"model.host.{name}": value for name, value in changes.items() if name.partition(".")[0] in known}


def table(figures: Mapping[str, Mapping[str, float]], settings: Sequence[str]) -> str:
    """A line a setting, a column a shape; then its mean, mean rank and worst loss."""
    values = np.array([[figures[shape][name] for shape in figures] for name in settings])
    rank = (-values).argsort(axis=0).argsort(axis=0) + 1
    lost = values.max(axis=0) - values
    width = max(map(len, settings)) + 1
    lines = [" " * width + " ".join(f"{number:>5}" for number in range(1, len(figures) + 1)) + "   mean  rank  worst"]
    for row in np.argsort(-values.mean(axis=1)):
        cells = " ".join(f"{value:5.1f}" for value in values[row])
        lines.append(
            f"{settings[row]:{width}}{cells}  {values[row].mean():5.1f} {rank[row].mean():5.1f} {lost[row].max():6.1f}"
        )
    return "\n".join([*lines, *(f"  {number}: {shape}" for number, shape in enumerate(figures, 1))])


def main() -> int:
    """All shapes and settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES))
    parser.add_argument("--settings", nargs="+", choices=tuple(SETTINGS), default=tuple(SETTINGS))
    parser.add_argument("--host", default="plain")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--many", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    figures: dict[str, dict[str, float]] = {}
    for name in (*asked.shapes, *(MANY if asked.many else ())):
        began = time.monotonic()
        figures[name] = run_shape(
            Shape.parse(name), asked.settings, host=asked.host, steps=asked.steps, seed=asked.seed
        )
        told = ", ".join(f"{setting} {value:.1f}" for setting, value in figures[name].items())
        print(f"{name} ({time.monotonic() - began:.0f} s): {told}", file=sys.stderr, flush=True)
    print(table(figures, asked.settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
