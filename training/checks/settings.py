"""Before a training: settings that can not suit the videos. What makes a training impossible is refused elsewhere."""

from collections.abc import Iterator
from statistics import median_low

from cache.wording import amount
from training.batches.data import WtalData
from training.batches.scales import stream_scales
from training.checks.doubt import Doubt
from training.recipe import TrainRecipe

_LONGER = 4
"""From so many times data.num_snippets on, half of the videos are called longer than a batch shows; ActivityNet's have
3.5 times the 60 of the public code."""
_FEW_PASSES = 2.0
_RMS = 0.4
"""Root mean square of features that weights start for."""
_SIZES_APART = 3
"""From this factor on, features are called larger or smaller than that."""
_SAMPLE = 20
"""Videos that the size of the features is looked up in."""
_MOST = 0.9
"""Share of the videos that counts as nearly all."""


def doubtful_settings(data: WtalData, recipe: TrainRecipe) -> list[Doubt]:
    """The settings of a recipe that can not suit its data, which is the recipe's own."""
    recipe = recipe.in_steps(len(data))
    parts = (_batches, _sizes, _lengths, _steps, _texts)
    return [doubt for part in parts for doubt in part(data, recipe)]


def _batches(data: WtalData, recipe: TrainRecipe) -> Iterator[Doubt]:
    pairs, size = recipe.data.num_pairs, recipe.data.batch_size
    shared = bool((data.labels.sum(0) > 1).any())
    if pairs and not shared:
        yield Doubt(
            seen="no two training videos share a class, so no batch holds a pair (data.num_pairs), and losses over "
            "pairs are 0",
            advice="label more videos of each class, or say so with --data.num-pairs 0",
        )
    if size > len(data):
        fewer = max(1, len(data) // 4) if pairs and shared else 0
        yield Doubt(
            seen=f"a batch holds {size} videos (twice data.num_pairs {pairs}, and data.singles {recipe.data.singles}), "
            f"but there are {len(data)}, so every batch repeats some",
            advice=f"try --data.num-pairs {fewer} --data.singles {max(1, len(data) - 2 * fewer)}",
        )


def _sizes(data: WtalData, recipe: TrainRecipe) -> Iterator[Doubt]:
    if recipe.data.feature_rms is not None:
        return
    some = data.video_ids[:: max(1, len(data) // _SAMPLE)]
    sizes = [_RMS / scale for scale in stream_scales(data.store, some, rms=_RMS)]
    apart = {
        name: size
        for name, size in zip(data.store.grid.streams, sizes, strict=True)
        if not _RMS / _SIZES_APART < size < _RMS * _SIZES_APART
    }
    if apart:
        found = ", ".join(f"{name} {size:.2g}" for name, size in apart.items())
        yield Doubt(
            seen=f"the root mean square of the features is {found}, but weights start, and learning rates are chosen, "
            f"for about {_RMS}, as those of I3D have it",
            advice=f"try --data.feature-rms {_RMS}",
        )


def _lengths(data: WtalData, recipe: TrainRecipe) -> Iterator[Doubt]:
    lengths, most = data.lengths(), recipe.data.num_snippets
    half = median_low(lengths)
    if most is not None and half >= _LONGER * most:
        yield Doubt(
            seen=f"data.num_snippets is {most}, but half of the videos have {half} snippets and more: of "
            f"{half / most:.0f} snippets a batch shows one, so short actions are often left out",
            advice=f"try --data.num-snippets {half}, with fewer videos in a batch if memory is short",
        )
    shown = lengths if most is None else [most if recipe.data.stretch else min(length, most) for length in lengths]
    model = recipe.model
    ratios = {"model.host.mil_ratio": getattr(model.host, "mil_ratio", 1)}
    if model.use_ksm:
        ratios["model.ksm.mil_ratio"] = model.ksm.mil_ratio
    for field, ratio in ratios.items():
        alone = sum(length < 2 * ratio for length in shown)
        if ratio > 1 and alone >= _MOST * len(shown):
            yield Doubt(
                seen=f"{field} is {ratio}, but {alone} of {amount(len(shown), 'video')} show fewer than {2 * ratio} "
                "snippets, so one snippet alone speaks for a video",
                advice=f"try --{field.replace('_', '-')} {max(1, median_low(shown) // 4)}, or features with a shorter "
                "stride",
            )


def _steps(data: WtalData, recipe: TrainRecipe) -> Iterator[Doubt]:
    loop, passes = recipe.loop, passes_of(recipe, len(data))
    if passes < _FEW_PASSES:
        yield Doubt(
            seen=f"{amount(loop.steps, 'step')} of {amount(recipe.data.batch_size * loop.accumulate, 'video')} show "
            f"each of {amount(len(data), 'training video')} {passes:.1f} times",
            advice="try --loop.epochs 100",
        )
    if loop.warmup >= loop.steps:
        yield Doubt(
            seen=f"loop.warmup is {loop.warmup}, so the learning rates rise in all {loop.steps} steps and never arrive",
            advice=f"try --loop.warmup {loop.steps // 10}",
        )


def _texts(data: WtalData, recipe: TrainRecipe) -> Iterator[Doubt]:
    if data.texts is None or not recipe.model.use_csr:
        return
    with_text = sum(len(rows) > 0 for rows in data.texts.complete_rows.values())
    if 2 * with_text < len(data):
        yield Doubt(
            seen=f"{with_text} of {amount(len(data), 'training video has', 'training videos have')} a complete "
            "description, so CSR learns nothing from most of a batch",
            advice="run `make priors` until no failure remains, or train with --model.csr.texts class_name",
        )


def passes_of(recipe: TrainRecipe, videos: int) -> float:
    """How often the steps of a recipe show each of so many videos, on average."""
    return recipe.loop.steps * recipe.loop.accumulate * recipe.data.batch_size / videos
