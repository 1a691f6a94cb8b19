"""A trained model on whole videos: the curves that it draws over time, and the detections read off them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from cache.annotations import Dataset, VideoEntry
from cache.atomic import atomic_path
from cache.detections import Detection
from cache.features import FeatureStore
from training.checkpoint import FOLDER, Trained, find_checkpoint, load_trained
from training.data import DataRecipe
from training.errors import TrainingError
from training.localization_head import decode
from training.localize import LocalizeRecipe, localize
from training.official import official_localize
from training.proposals import Candidates
from training.sampling import uniform


@dataclass(frozen=True)
class Curves:
    """What the model says over the snippets of one video."""

    video_id: str
    cas: Float[np.ndarray, "t c"]
    """Fused T-CAM: class probabilities, without the background."""
    attention: Float[np.ndarray, " t"]
    """A_KSM: the host's attention."""
    attention_csr: Float[np.ndarray, " t"] | None
    """A_CSR, where it was asked for; localization does not read it."""
    video_scores: Float[np.ndarray, " c"]
    """Probability of each class in the video."""

    logits: Float[np.ndarray, "t k"] | None = None
    """The host's own T-CAM: raw scores, the background's last. Only the public code's ways read it; never saved."""

    def spread(self, length: int) -> Curves:
        """The same over `length` snippets, of which these are evenly spread ones."""
        place = np.arange(length) * len(self.cas) // length
        over_time = ("cas", "attention", "attention_csr", "logits")
        drawn = {name: getattr(self, name) for name in over_time if getattr(self, name) is not None}
        return replace(self, **{name: values[place] for name, values in drawn.items()})


def load_run(run: Path, dataset: Dataset, store: FeatureStore, *, csr_attention: bool = False) -> Trained:
    """What localizes of the trained model of a run; with `csr_attention` also what draws A_CSR, where it has a CSR.

    Raises TrainingError if there is no checkpoint, or it does not fit the dataset or features.
    """
    folder = find_checkpoint(run)
    if folder is None:
        raise TrainingError(f"{run / FOLDER}: no such checkpoint; run `make train`")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trained = load_trained(folder, device=device, csr_attention=csr_attention)
    if trained.state.classes != dataset.classes:
        raise TrainingError(
            f"{folder}: was trained on the classes {list(trained.state.classes)}; "
            f"found {list(dataset.classes)} in dataset {dataset.name}"
        )
    if trained.state.grid != store.grid:
        raise TrainingError(
            f"{store.folder}: found {store.grid!r}, expected {trained.state.grid!r} as in {folder}; "
            "run `make train` on these features"
        )
    return trained


def detect(
    trained: Trained, store: FeatureStore, videos: Sequence[VideoEntry], *, recipe: LocalizeRecipe
) -> Iterator[tuple[Curves, list[Detection]]]:
    """Curves and detections (seconds) of each video, one video at a time at its full length.

    Raises CacheError before the first if features are missing or damaged.
    """
    store.preflight(video.video_id for video in videos)
    for video in videos:
        features = store.load(video.video_id)
        length = len(features)
        count = _snippets_of(length, recipe, trained.state.recipe.data)
        if count != length:
            features = features[uniform(length, count)]
        curves, head = draw_curves(trained, video.video_id, features)
        drawn: dict[str, Any] = {
            "video_scores": curves.video_scores,
            "cas": curves.cas,
            "attention": curves.attention,
            "step": length / len(features),
            "grid": store.grid,
            "classes": trained.state.classes,
        }
        if recipe.official is None:
            found = localize(video.video_id, recipe=recipe, duration=video.duration, head=head, **drawn)
        else:
            assert curves.logits is not None
            found = official_localize(video.video_id, recipe=recipe, logits=curves.logits, **drawn)
        yield curves.spread(length), found


def _snippets_of(length: int, recipe: LocalizeRecipe, trained_on: DataRecipe) -> int:
    """How many snippets stand for a video of `length` snippets."""
    wanted = trained_on.num_snippets if recipe.snippets == "training" else recipe.snippets
    if wanted is None:
        return length
    stretched = recipe.snippets == "training" and trained_on.stretch
    return wanted if stretched else min(length, wanted)


@torch.inference_mode()
def draw_curves(
    trained: Trained, video_id: str, features: Float[np.ndarray, "t d"]
) -> tuple[Curves, Candidates | None]:
    """Run the model on one video; the head's candidates come along where it has a head, A_CSR where `trained` has what
    draws it."""
    device = next(trained.model.parameters()).device
    batch = torch.from_numpy(np.array(features, dtype=np.float32))[None].to(device)
    mask = torch.ones(batch.shape[:2], dtype=torch.bool, device=device)
    output = trained.model.localize_forward(batch, mask)
    csr = trained.csr
    curves = Curves(
        video_id,
        output.cas[0].double().cpu().numpy(),
        output.attention[0].double().cpu().numpy(),
        None if csr is None else csr.attention(batch, mask)[0].double().cpu().numpy(),
        output.video_scores[0].double().cpu().numpy(),
        output.logits[0].double().cpu().numpy(),
    )
    return curves, None if output.head is None else decode(output.head, 0)


def save_curves(path: Path, curves: Sequence[Curves]) -> None:
    """Write the curves of several videos as one .npz: `<video_id>/<name>` for each of their arrays."""
    arrays = {
        f"{video.video_id}/{name}": np.asarray(value, np.float32)
        for video in curves
        for name, value in vars(video).items()
        if name not in ("video_id", "logits") and value is not None
    }
    with atomic_path(path) as unfinished:
        np.savez_compressed(unfinished, allow_pickle=False, **arrays)
