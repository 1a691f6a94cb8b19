"""What has not been learned: nothing is said of trainings that learn; of others, figures and options."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cache.annotations import Dataset, Segment, VideoEntry
from cache.features import FeatureGrid, FeatureStore
from training.batches.data import DataRecipe, WtalData
from training.checkpoints.checkpoint import load_trained
from training.checks import learned as module
from training.checks.doubt import Doubt
from training.checks.figures import Classifier, Curve, Figures
from training.checks.learned import Learned, what_is_learned
from training.hosts.plain import PlainRecipe
from training.loop.fit import fit
from training.model.mllm4wtal import ModelRecipe
from training.optimizers import LoopRecipe
from training.recipe import TrainRecipe

CLASSES = ("Clap", "Kick", "Wave", "Spin")
GRID = FeatureGrid(streams={"rgb": 12}, fps=10, snippet_frames=8, snippet_stride=8)
ALONE = {"use_ksm": False, "use_csr": False, "use_dpid": False, "use_head": False}
RECIPE = TrainRecipe(
    data=DataRecipe(num_pairs=2, singles=4),
    model=ModelRecipe.model_validate({"host": PlainRecipe(width=16, dropout=0.3, norm=0.2), **ALONE}),
    loop=LoopRecipe(steps=120, host_lr=5e-3, log_every=10, tensorboard=False, device="cpu"),
)
"""Learns the made-up world in a second."""


def make(folder: Path, *, says: float, seed: int = 0) -> tuple[Dataset, FeatureStore]:
    """48 videos in two halves, training and validation, of one or two classes; an action adds `says` times the pattern
    of its class to noise."""
    rng = np.random.default_rng(seed)
    store, patterns = FeatureStore.create(folder, GRID), rng.normal(size=(len(CLASSES), GRID.width))
    videos = []
    for number in range(48):
        own = sorted({number % 4, int(rng.integers(4))})
        features = 0.5 * rng.normal(size=(int(rng.integers(20, 40)), GRID.width))
        for label in own:
            start = int(rng.integers(0, 14))
            features[start : start + 5] += says * patterns[label]
        names = tuple(CLASSES[label] for label in own)
        store.save(f"v{number}", features.astype(np.float32))
        videos.append(VideoEntry(f"v{number}", "training" if number < 24 else "validation", None, names, (), None))
    return Dataset("made up", CLASSES, tuple(videos)), store


def learned(folder: Path, recipe: TrainRecipe, *, says: float = 1.0) -> Learned:
    """Train and look."""
    dataset, store = make(folder / "features", says=says)
    data = WtalData(dataset, store, None, recipe=recipe.data, seed=recipe.seed)
    trained = load_trained(fit(data, recipe, run=folder / "run"))
    history = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
    found = what_is_learned(trained, dataset, store, history)
    blind = [replace(video, segments=(Segment(video.labels[0], 0.0, 1.0),)) for video in dataset.videos]
    assert what_is_learned(trained, replace(dataset, videos=tuple(blind)), store, history) == found
    return found


def test_a_training_that_learns_is_not_doubted(tmp_path: Path):
    """Neither on its own videos nor on the others; segments change nothing."""
    found = learned(tmp_path, RECIPE)
    assert found.doubts == ()
    assert found.held_out is not None
    assert (found.step, found.training.videos, found.held_out.videos) == (120, 24, 24)
    assert min(found.training.host.learned, found.held_out.host.ranked) > 0.4


def test_a_rate_that_is_too_low_is_named(tmp_path: Path):
    """With the figures of the classifier and options with values."""
    (doubt,) = learned(tmp_path, RECIPE.changed({"loop.host_lr": 1e-6})).doubts
    assert "video classifier of the host has not learned" in doubt.seen
    assert "--loop.host-lr 0.001 (now 1e-06)" in doubt.advice
    assert "--loop.epochs 120 (now 40)" in doubt.advice


def test_features_that_say_nothing_are_named(tmp_path: Path):
    """The classifier learns its own videos by heart, or not even those."""
    (doubt,) = learned(tmp_path, RECIPE, says=0.0).doubts
    assert "by heart" in doubt.seen or "has not learned" in doubt.seen
    assert "`make inspect`" in doubt.advice


GOOD = Classifier(loss=0.5, constant=2.0, best=0.2, map=0.9, chance=0.2)
BAD = GOOD.model_copy(update={"loss": 1.9, "map": 0.25})
MOVES = Curve(low=0.1, high=0.1, flat=0.1)
FIGURES = Figures(videos=30, host=GOOD, ksm=GOOD, attention=MOVES, cas=MOVES)


def doubts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, history: list[dict[str, float]], **shown: object
) -> list[str]:
    """What is said of figures and losses that were seen."""
    dataset, store = make(tmp_path, says=0.0)
    monkeypatch.setattr(module, "figures_of", lambda *_: FIGURES.model_copy(update=shown))
    data = WtalData(dataset, store, None, recipe=RECIPE.data, seed=0)
    trained = load_trained(fit(data, RECIPE.changed({"loop.steps": 1}), run=tmp_path / "run"))
    return [str(doubt) for doubt in what_is_learned(trained, dataset, store, history).doubts]


FALLS = [{"head.focal": 1 - step / 20, "csr.reconstruction": 3 - step / 10} for step in range(10)]
STAYS = [{"head.focal": 1.0, "head.diou": 0.5, "csr.reconstruction": 3.0, "host.mil": 1.0} for _ in range(10)]


@pytest.mark.parametrize(
    ("history", "shown", "told"),
    [
        (FALLS, {}, []),
        (STAYS, {}, ["the loss of CSR never fell", "the loss of the localization head never fell: 1.5 "]),
        (STAYS[:4], {}, []),
        (FALLS, {"ksm": BAD}, ["the matching of KSM has not learned"]),
        (FALLS, {"attention": MOVES.model_copy(update={"low": 0.95})}, ["the attention is below 0.1 .*norm 0.05"]),
        (FALLS, {"attention": MOVES.model_copy(update={"high": 1.0})}, ["the attention is above 0.9 .*norm 0.8"]),
        (FALLS, {"attention": MOVES.model_copy(update={"flat": 0.9})}, ["the attention is constant"]),
        (FALLS, {"cas": MOVES.model_copy(update={"flat": 0.92})}, ["in 92% of .*hardly changes over time"]),
        (FALLS, {"cas": MOVES.model_copy(update={"low": 1.0})}, []),
    ],
    ids=["sound", "no-loss-falls", "too-few-lines", "ksm", "low", "high", "constant", "cam", "low-cam"],
)
def test_each_part_has_its_doubt(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    history: list[dict[str, float]],
    shown: dict[str, object],
    told: list[str],
):
    """In the order of the model's parts."""
    found = doubts(monkeypatch, tmp_path, history, **shown)
    assert len(found) == len(told)
    assert all(re.search(pattern, doubt) for pattern, doubt in zip(told, found, strict=True)), found


def test_a_doubt_is_one_sentence():
    """What was seen, then what to try."""
    assert str(Doubt(seen="a is b", advice="try c")) == "a is b; try c"
