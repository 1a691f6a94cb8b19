"""How well criteria without times predict the mAP: over the trials of finished searches, on data that has segments.

For each criterion of `make tune`: the rank correlation (Spearman) with the mAP of the test subset, over trials (each
read as the criterion would read it) and over all trials with all post-processings; its interval over bootstrap samples
of the trials; and the regret, which is the mAP of the best trial minus that of the trial the criterion picks.

    python -m pipelines tune demo --host plain
    python -m benchmarks label_free --searches runs/demo-tune
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from cache.annotations import Dataset
from cache.detections import DetectionTable
from cache.features import FeatureStore
from cache.files.atomic import atomic_path
from cache.recipe import Recipe
from pipelines.console import launch, progress, say, table
from pipelines.tuning.recipe import SEARCH_FILE, TuneRun
from pipelines.tuning.trials import Trial, make_trials
from training.evaluation.evaluate import evaluate_detections
from training.evaluation.protocol import PROTOCOLS
from training.inference import draw_curves, load_run
from training.localization.localize import localize

_TRUTH = "label_free.json"


class LabelFree(Recipe):
    """Which searches."""

    searches: tuple[Path, ...]
    """Folders of finished searches."""
    subset: str = "testing"
    """Subset with segments, which no trial has seen."""
    redraws: int = 1000
    """Bootstrap samples of the trials."""


@dataclass(frozen=True)
class Measured:
    """A search: criteria and mAP (trials x post-processings)."""

    name: str
    values: dict[str, np.ndarray]
    maps: np.ndarray


@dataclass(frozen=True)
class Prediction:
    """How well a criterion predicts the mAP."""

    over_trials: float
    low: float
    high: float
    over_all: float
    picked: float
    regret: float


def predict(values: np.ndarray, maps: np.ndarray, *, redraws: int = 1000) -> Prediction:
    """Of a criterion (trials x post-processings) against the mAP of the same."""
    rows = np.arange(len(maps))
    read = values.argmax(1)  # every trial is read as the criterion reads it
    own, found = values[rows, read], maps[rows, read]
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(maps), size=(redraws, len(maps)))
    samples = [_spearman(own[one], found[one]) for one in drawn]
    low, high = np.nanquantile(samples, (0.025, 0.975))
    best = int(own.argmax())
    return Prediction(
        _spearman(own, found),
        float(low),
        float(high),
        _spearman(values.ravel(), maps.ravel()),
        float(found[best]),
        float(maps.max() - found[best]),
    )


def measure(search: Path, subset: str) -> Measured:
    """The criteria of the finished trials of a search, and the mAP of their models, which is kept beside them."""
    trials = [trial for trial in make_trials(TuneRun.load(search / SEARCH_FILE)) if trial.done]
    recipe = TuneRun.load(search / SEARCH_FILE)
    dataset = Dataset.load(recipe.train.dataset / "annotations.json")
    store = FeatureStore.open(recipe.train.features_folder)
    maps = []
    with progress(f"evaluating {search.name}", unit="trials") as report:
        for done, trial in enumerate(trials, start=1):
            maps.append(_maps(trial, dataset, store, subset))
            report(done, len(trials))
    names = list(trials[0].scores()[0])
    values = {name: np.array([[one[name] for one in trial.scores()] for trial in trials]) for name in names}
    return Measured(search.name, values, np.array(maps))


def main(recipe: LabelFree) -> None:
    """Measure every search and print the table of each."""
    for search in recipe.searches:
        found = measure(search, recipe.subset)
        rows = []
        for name, values in found.values.items():
            one = predict(values, found.maps, redraws=recipe.redraws)
            interval = f"{one.over_trials:+.2f} [{one.low:+.2f}, {one.high:+.2f}]"
            rows.append([name, interval, f"{one.over_all:+.2f}", f"{100 * one.picked:.1f}", f"{100 * one.regret:.1f}"])
        rows.sort(key=lambda row: float(row[-1]))
        best = f"best {100 * found.maps.max():.1f}, first {100 * found.maps[0].max():.1f}"
        say(f"{found.name}: {len(found.maps)} trials, {found.maps.shape[1]} post-processings; average mAP: {best}")
        table(found.name, ["criterion", "Spearman over trials", "over all", "mAP picked", "regret"], rows)


def _maps(trial: Trial, dataset: Dataset, store: FeatureStore, subset: str) -> list[float]:
    """Average mAP of each post-processing, mean over the folds."""
    file = trial.run.folder / _TRUTH
    if file.exists() and (known := json.loads(file.read_text(encoding="utf-8")))["subset"] == subset:
        return known["maps"]
    protocol = PROTOCOLS["seconds"].model_copy(update={"subset": subset})
    videos, totals = dataset.split(subset), np.zeros(len(trial.run.candidates))
    for fold in trial.run.folds:
        own = replace(dataset, classes=Dataset.load(fold.dataset / "annotations.json").classes)
        trained = load_run(fold.run, own, store)
        drawn = [(video, *draw_curves(trained, video.video_id, store.load(video.video_id))) for video in videos]
        for place, changes in enumerate(trial.run.candidates):
            read = trial.run.localize.changed(changes)
            found = [
                detection
                for video, curves, head in drawn
                for detection in localize(
                    video.video_id,
                    recipe=read,
                    grid=store.grid,
                    classes=dataset.classes,
                    duration=video.duration,
                    video_scores=curves.video_scores.astype(np.float64),
                    cas=curves.cas.astype(np.float64),
                    attention=curves.attention.astype(np.float64),
                    head=head,
                )
            ]
            totals[place] += evaluate_detections(dataset, DetectionTable.of(found), protocol).scores.average
    maps = (totals / len(trial.run.folds)).tolist()
    with atomic_path(file) as unfinished:
        unfinished.write_text(json.dumps({"subset": subset, "maps": maps}), encoding="utf-8")
    return maps


def _spearman(one: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray) -> float:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one, other).statistic)  # pyright: ignore[reportAttributeAccessIssue]


if __name__ == "__main__":
    launch("label_free", LabelFree, main)
