"""Inference on whole videos: a model's curves over time (T-CAM, attentions), and its detections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from cache.annotations import Dataset, VideoEntry
from cache.detections import Detection
from cache.features import FeatureStore
from training.batches.data import DataRecipe
from training.batches.sampling import uniform
from training.checkpoints.checkpoint import Trained, load_trained
from training.checkpoints.folder import FOLDER, find_checkpoint
from training.compat.localize import official_localize
from training.errors import TrainingError
from training.localization.curves import Curves
from training.localization.localize import DEFAULT_RECIPE, LocalizeRecipe, localize
from training.localization.proposals import Candidates
from training.model.localization_head import decode
from training.nn.devices import DeviceName, pick_device, refuse_other_arithmetic, use_tf32


def load_run(
    run: Path,
    dataset: Dataset,
    store: FeatureStore,
    *,
    csr_attention: bool = False,
    device: DeviceName = "auto",
    checkpoint: Path | None = None,
) -> Trained:
    """Load a run's trained model for inference on `device`, with `csr_attention` also CSR's attention, if it has a CSR.
    The last checkpoint is used unless another one is given.

    Raises TrainingError if there is no checkpoint, it does not fit the dataset or the streams of the features that the
    run has chosen, or there is no such device; CacheError if a stream is missing.
    """
    folder = checkpoint or find_checkpoint(run)
    if folder is None:
        raise TrainingError(f"{run / FOLDER}: no such checkpoint; run `make train`")
    chosen = pick_device(device)
    refuse_other_arithmetic(chosen, tf32=False)
    use_tf32(False)
    trained = load_trained(folder, device=chosen, csr_attention=csr_attention)
    if trained.state.classes != dataset.classes:
        raise TrainingError(
            f"{folder}: was trained on the classes {list(trained.state.classes)}; "
            f"found {list(dataset.classes)} in dataset {dataset.name}"
        )
    store = store.select(trained.state.recipe.data.streams)
    if trained.state.grid != store.grid:
        raise TrainingError(
            f"{store.folder}: {store.grid.difference(trained.state.grid)} as in {folder}; run `make train` on these "
            "features, or point --features to a folder of features as they were trained on"
        )
    return trained


def detect(
    trained: Trained, store: FeatureStore, videos: Sequence[VideoEntry], *, recipe: LocalizeRecipe
) -> Iterator[tuple[Curves, list[Detection]]]:
    """Curves and detections (seconds) of each video, one video at a time at its full length. Videos that were yielded
    are not kept in memory.

    Of the features, the streams that the run was trained on are read. Raises CacheError before the first if they are
    missing or damaged.
    """
    store = store.select(trained.state.recipe.data.streams)
    store.preflight(video.video_id for video in videos)
    for video in videos:
        features = store.load(video.video_id)
        length = len(features)
        count = _snippets_of(length, recipe, trained.state.recipe.data)
        if count != length:
            features = features[uniform(length, count)]
        curves, head = draw_curves(trained, video.video_id, features, recipe=recipe)
        drawn: dict[str, Any] = {
            "video_scores": curves.video_scores.astype(np.float64),
            "cas": curves.cas.astype(np.float64),
            "attention": curves.attention.astype(np.float64),
            "step": length / len(features),
            "grid": store.grid,
            "classes": trained.state.classes,
        }
        if recipe.official is None:
            found = localize(video.video_id, recipe=recipe, duration=video.duration, head=head, **drawn)
        else:
            assert curves.logits is not None
            logits = curves.logits.astype(np.float64)
            found = official_localize(video.video_id, recipe=recipe, logits=logits, **drawn)
        yield curves.spread(length), found


def _snippets_of(length: int, recipe: LocalizeRecipe, trained_on: DataRecipe) -> int:
    """Number of snippets that a video of `length` snippets is localized on."""
    wanted = trained_on.num_snippets if recipe.snippets == "training" else recipe.snippets
    if wanted is None:
        return length
    stretched = recipe.snippets == "training" and trained_on.stretch
    return wanted if stretched else min(length, wanted)


@torch.inference_mode()
def draw_curves(
    trained: Trained, video_id: str, features: Float[np.ndarray, "t d"], *, recipe: LocalizeRecipe = DEFAULT_RECIPE
) -> tuple[Curves, Candidates | None]:
    """Run the model on one video, in float32. Returns its curves (with A_CSR, if `trained` has CSR's attention) and the
    proposals of its head, if it has one."""
    batch = trained.inputs(features)
    mask = torch.ones(batch.shape[:2], dtype=torch.bool, device=batch.device)
    output = trained.model.localize_forward(batch, mask, kind=recipe.video_scores)
    csr = trained.csr
    curves = Curves(
        video_id,
        output.cas[0].cpu().numpy(),
        output.attention[0].cpu().numpy(),
        None if csr is None else csr.attention(batch, mask)[0].cpu().numpy(),
        output.video_scores[0].cpu().numpy(),
        output.logits[0].cpu().numpy(),
    )
    if output.head is None:
        return curves, None
    return curves, decode(output.head, 0, min_score=recipe.head_min_score, top=recipe.head_most)
