"""Validation during training: scores the weights on videos that they are not trained on."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from cache.annotations import Dataset, VideoEntry
from cache.detections import DetectionTable
from cache.features import FeatureStore
from training.checkpoints.checkpoint import Trained
from training.errors import TrainingError
from training.evaluation.evaluate import evaluate_detections
from training.evaluation.label_free.evidence import video_map
from training.evaluation.protocol import PROTOCOLS
from training.inference import detect
from training.localization.localize import LocalizeRecipe
from training.recipe import ValidationRecipe


class Validator:
    """Scores weights on one subset. Raises `TrainingError` if it has no videos or lacks what the criterion needs."""

    def __init__(self, dataset: Dataset, store: FeatureStore, recipe: ValidationRecipe, *, trained_on: str) -> None:
        if recipe.subset == trained_on:
            raise TrainingError(
                f"validation.subset: found {recipe.subset}, which is trained on; expected another subset"
            )
        self.dataset, self.store, self.recipe = dataset, store, recipe
        self.videos: Sequence[VideoEntry] = dataset.labelled(recipe.subset)
        if not self.videos or (recipe.criterion == "segments" and not any(video.segments for video in self.videos)):
            needed = "videos with labels" if not self.videos else "segments"
            raise TrainingError(
                f"annotations of {dataset.name}, subset {recipe.subset}: found no {needed}, which validation by "
                f"{recipe.criterion} needs; choose another subset or criterion (--validation.subset, "
                "--validation.criterion), or --validation.every 0"
            )
        store.preflight(video.video_id for video in self.videos)

    @property
    def name(self) -> str:
        """Name of the score in metrics.jsonl, such as "validation.labels"."""
        return f"{self.recipe.subset}.{self.recipe.criterion}"

    def __call__(self, trained: Trained) -> float:
        """The score of a model in eval mode, 0 to 1."""
        scores, all_detections = [], []
        for curves, detections in detect(trained, self.store, self.videos, recipe=_localize(trained)):
            scores.append(curves.video_scores)
            all_detections += detections
        if self.recipe.criterion == "labels":
            return video_map(np.stack(scores), label_matrix(self.dataset, self.videos))
        protocol = PROTOCOLS["seconds"].model_copy(update={"subset": self.recipe.subset})
        return evaluate_detections(self.dataset, DetectionTable.of(all_detections), protocol).scores.average


def label_matrix(dataset: Dataset, videos: Sequence[VideoEntry]) -> Float[np.ndarray, "v c"]:
    """Multi-hot labels of videos."""
    labels = np.zeros((len(videos), len(dataset.classes)))
    for row, video in enumerate(videos):
        labels[row, [dataset.class_index(label) for label in video.labels]] = 1
    return labels


def _localize(trained: Trained) -> LocalizeRecipe:
    return LocalizeRecipe() if trained.model.head is not None else LocalizeRecipe(source="cam")
