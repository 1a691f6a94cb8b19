"""After a training: what its weights have not learned, seen from weak labels and from the losses alone.

The thresholds stand where measured trainings leave a gap; docs/training.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cache.annotations import Dataset, VideoEntry
from cache.features import FeatureStore
from cache.recipe import Recipe
from cache.wording import amount
from training.checkpoints.checkpoint import Trained
from training.checks.doubt import Doubt
from training.checks.figures import Classifier, Curve, Figures, figures_of
from training.checks.settings import passes_of
from training.recipe import TrainRecipe

MOST_VIDEOS = 300
"""Largest number of videos of a subset that are looked at; drawn by lot from more."""
_LEARNED, _RANKED = 0.25, 0.5
"""Below both (`Classifier.learned`, `Classifier.ranked`), a classifier has not learned the videos it is trained on."""
_HELD_OUT = 0.1
"""Below this `Classifier.ranked` on other videos, it knows nothing that holds beyond its own."""
_ENOUGH = 20
"""Fewer other videos than this tell nothing."""
_MOST = 0.9
"""Share of the videos that counts as nearly all."""
_FELL = 0.98
"""A loss whose last fifth is above this share of its first fifth never fell."""


class Learned(Recipe):
    """What a finished training has learned."""

    step: int
    """Steps of the weights that were looked at."""
    training: Figures
    """On the training videos."""
    held_out: Figures | None
    """On the videos of validation.subset, if the dataset has enough with labels and features; no weights were trained
    on their labels."""
    doubts: tuple[Doubt, ...]
    """What has not been learned, and what to try."""


def what_is_learned(
    trained: Trained, dataset: Dataset, store: FeatureStore, history: Sequence[Mapping[str, float]]
) -> Learned:
    """Look at the weights on the training videos, on held-out ones, and at the lines of metrics.jsonl. Segments are
    never read."""
    recipe = trained.state.recipe
    training = dataset.labelled(recipe.data.subset)
    shown = figures_of(trained, dataset, store, _some(training))
    others = _others(dataset, store, recipe)
    held_out = figures_of(trained, dataset, store, _some(others)) if len(others) >= _ENOUGH else None
    doubts = (*_classifiers(shown, held_out, recipe, len(training)), *_curves(shown, recipe), *_losses(history, recipe))
    return Learned(step=trained.state.step, training=shown, held_out=held_out, doubts=doubts)


def _others(dataset: Dataset, store: FeatureStore, recipe: TrainRecipe) -> list[VideoEntry]:
    """The videos of validation.subset with labels and features; none if it is what is trained on."""
    subset = recipe.validation.subset
    if subset == recipe.data.subset:
        return []
    return [video for video in dataset.videos if video.subset == subset and video.labels and store.has(video.video_id)]


def _some(videos: Sequence[VideoEntry]) -> list[VideoEntry]:
    if len(videos) <= MOST_VIDEOS:
        return list(videos)
    return [videos[place] for place in sorted(np.random.default_rng(0).permutation(len(videos))[:MOST_VIDEOS])]


def has_learned(figures: Classifier) -> bool:
    """Whether a classifier tells the classes of the videos that it was trained on."""
    return figures.learned >= _LEARNED or figures.ranked >= _RANKED


def _classifiers(shown: Figures, held_out: Figures | None, recipe: TrainRecipe, videos: int) -> Iterator[Doubt]:
    if not has_learned(shown.host):
        yield Doubt(seen=_seen("video classifier of the host", shown.host), advice=_to_learn(recipe, videos))
    elif held_out is not None and held_out.host.ranked < _HELD_OUT:
        own, other = shown.host, held_out.host
        yield Doubt(
            seen=f"the video classifier knows its own videos by heart and no others: video-level mAP {own.map:.2f} on "
            f"those it is trained on, {other.map:.2f} on {amount(held_out.videos, 'video')} of subset "
            f"{recipe.validation.subset}, where chance is {other.chance:.2f}",
            advice="look at the features and labels (`make inspect`); with few videos try fewer --loop.epochs, or a "
            "higher --model.host.dropout",
        )
    if shown.ksm is not None and not has_learned(shown.ksm):
        rate = _tenfold(recipe.loop.lr)
        yield Doubt(
            seen=_seen("matching of KSM", shown.ksm),
            advice=f"try {f'--loop.lr {rate:g}, ' if rate else ''}--model.ksm.queries class_name, or look at the "
            "descriptions (`make inspect`)",
        )


def _seen(what: str, figures: Classifier) -> str:
    return (
        f"the {what} has not learned: on the training videos its loss is {figures.loss:.2f}, where a constant answer "
        f"costs {figures.constant:.2f} and the labels themselves {figures.best:.2f}; its video-level mAP is "
        f"{figures.map:.2f}, where chance is {figures.chance:.2f}"
    )


def _to_learn(recipe: TrainRecipe, videos: int) -> str:
    """What to try where the host has not learned, the likeliest first."""
    host, tries = recipe.model.host, []
    rate, passes = _tenfold(recipe.loop.host_lr), passes_of(recipe, videos)
    tries.append(f"--loop.host-lr {rate:g} (now {recipe.loop.host_lr:g})" if rate else "another --loop.host-lr")
    tries[-1] += ", or what `make lr-range` suggests"
    if passes < 100:
        tries.append(f"--loop.epochs {max(100, round(3 * passes, -1)):g} (now {passes:.0f})")
    if (dropout := getattr(host, "dropout", 0.0)) > 0.5:
        tries.append(f"--model.host.dropout 0.5 (now {dropout:g})")
    if (ratio := getattr(host, "mil_ratio", 0)) > 1:
        tries.append(f"--model.host.mil-ratio {max(1, ratio // 2)} or {2 * ratio} (now {ratio})")
    return f"try {'; '.join(tries)}; if nothing helps, look at the features and labels (`make inspect`)"


def _tenfold(rate: float) -> float | None:
    """Ten times a learning rate, at most 1e-3; None if it is that high already."""
    return float(f"{min(10 * rate, 1e-3) if rate > 1e-5 else 1e-3:.1g}") if rate < 1e-3 else None


def _curves(shown: Figures, recipe: TrainRecipe) -> Iterator[Doubt]:
    """The attention and the T-CAM: which of them tell no time from another."""
    norm = getattr(recipe.model.host, "norm", None)
    if (state := _state(shown.attention)) is not None:
        sparser = {"below 0.1": 1 / 4, "above 0.9": 4.0}.get(state)
        weight = f"--model.host.norm {norm * sparser:g} (now {norm:g}), or " if norm and sparser else ""
        yield Doubt(
            seen=f"the attention is {state} over the whole of nearly every training video, so it tells no action from "
            "background",
            advice=f"try {weight}more --loop.epochs",
        )
    if shown.cas.flat >= _MOST:
        yield Doubt(
            seen=f"in {shown.cas.flat:.0%} of the training videos the T-CAM of a labelled class hardly changes over "
            "time, so nothing can be localized with it",
            advice="try a larger --model.host.mil-ratio, so that fewer snippets speak for a video, or features with a "
            "shorter window",
        )


def _state(curve: Curve) -> str | None:
    """What nearly all curves are; None if that is nothing to worry about."""
    states = {"below 0.1": curve.low, "above 0.9": curve.high, "constant": curve.flat}
    return next((state for state, share in states.items() if share >= _MOST), None)


def _losses(history: Sequence[Mapping[str, float]], recipe: TrainRecipe) -> Iterator[Doubt]:
    """Branches whose loss never fell: CSR's reconstruction, and the head's terms together."""
    for name, prefix in (("CSR", "csr.reconstruction"), ("the localization head", "head.")):
        of_branch = [[value for term, value in line.items() if term.startswith(prefix)] for line in history]
        values = [sum(terms) for terms in of_branch if terms]
        fifth = len(values) // 5
        if not fifth:
            continue
        first, last = float(np.mean(values[:fifth])), float(np.mean(values[-fifth:]))
        if last > _FELL * first:
            rate, higher = recipe.loop.lr, _tenfold(recipe.loop.lr)
            yield Doubt(
                seen=f"the loss of {name} never fell: {first:.3g} at the beginning, {last:.3g} at the end",
                advice=f"try {f'--loop.lr {higher:g}' if higher else 'another --loop.lr'} (now {rate:g})",
            )
