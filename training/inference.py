"""Inference on whole videos: a model's curves over time (T-CAM, attentions), and its detections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from cache.annotations import Dataset, VideoEntry
from cache.detections import Detection
from cache.features import FeatureStore
from training.batches.sampling import uniform
from training.checkpoints.checkpoint import Trained, load_trained
from training.checkpoints.folder import FOLDER, find_checkpoint
from training.errors import TrainingError
from training.localization.curves import Curves
from training.localization.localize import DEFAULT_RECIPE, LocalizeRecipe
from training.localization.proposals import Candidates
from training.model.localization_head import decode
from training.nn.devices import DeviceName, pick_device, refuse_other_arithmetic, use_tf32
from training.postprocess import detections_of, snippets_of


def load_run(
    run: Path,
    dataset: Dataset,
    store: FeatureStore,
    *,
    csr_attention: bool = False,
    device: DeviceName = "auto",
    checkpoint: Path | None = None,
) -> Trained:
    """The trained model of a run, for the videos of a dataset; see `open_run`. Raises TrainingError also if it does not
    fit the dataset or the streams of the features that the run has chosen, and CacheError if a stream is missing."""
    folder, trained = open_run(run, csr_attention=csr_attention, device=device, checkpoint=checkpoint)
    if trained.state.classes != dataset.classes:
        raise TrainingError(
            f"{folder}: was trained on the classes {list(trained.state.classes)}; "
            f"found {list(dataset.classes)} in dataset {dataset.name}"
        )
    chosen_streams(trained, store, folder)
    return trained


def open_run(
    run: Path, *, csr_attention: bool = False, device: DeviceName = "auto", checkpoint: Path | None = None
) -> tuple[Path, Trained]:
    """The checkpoint of a run and its trained model, for inference on `device`, with `csr_attention` also CSR's
    attention, if it has a CSR. The last checkpoint is used unless another one is given.

    Raises TrainingError if there is no checkpoint, or no such device.
    """
    folder = checkpoint or find_checkpoint(run)
    if folder is None:
        raise TrainingError(f"{run / FOLDER}: no such checkpoint; run `make train`")
    chosen = pick_device(device)
    refuse_other_arithmetic(chosen, tf32=False)
    use_tf32(False)
    return folder, load_trained(folder, device=chosen, csr_attention=csr_attention)


def chosen_streams(trained: Trained, store: FeatureStore, folder: Path) -> FeatureStore:
    """The streams of a store that the model of checkpoint `folder` was trained on. Raises TrainingError if they are not
    such as those were, and CacheError if one is missing."""
    store = store.select(trained.state.recipe.data.streams)
    if trained.state.grid != store.grid:
        raise TrainingError(
            f"{store.folder}: {store.grid.difference(trained.state.grid)} as in {folder}; run `make train` on these "
            "features, or point --features to a folder of features as they were trained on"
        )
    return store


def from_what_it_has(trained: Trained, recipe: LocalizeRecipe) -> LocalizeRecipe:
    """The post-processing, from the T-CAM if the model has no localization head."""
    return recipe if trained.model.head is not None else recipe.model_copy(update={"source": "cam"})


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
        length, trained_on = len(features), trained.state.recipe.data
        count = snippets_of(length, recipe, num_snippets=trained_on.num_snippets, stretch=trained_on.stretch)
        if count != length:
            features = features[uniform(length, count)]
        curves, head = draw_curves(trained, video.video_id, features, recipe=recipe)
        found = detections_of(
            curves,
            head,
            recipe=recipe,
            grid=store.grid,
            classes=trained.state.classes,
            length=length,
            duration=video.duration,
        )
        yield curves.spread(length), found


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
