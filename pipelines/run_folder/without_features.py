"""Videos without features, such as those whose file could not be read: whether they stop a command, or are left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from cache.annotations import Dataset
from cache.features import FeatureStore
from cache.wording import amount, few

WithoutFeatures = Literal["stop", "drop"]


def having_features(
    dataset: Dataset, store: FeatureStore, subset: str, choice: WithoutFeatures
) -> tuple[Dataset, str | None]:
    """With `drop` the dataset without those videos of a subset that have no feature file, and a line that names them,
    if there are any; with `stop` the dataset as it is. Damaged features stop a command in any case, and so does a
    subset of which no video has features."""
    if choice == "stop":
        return dataset, None
    gone = {video.video_id for video in dataset.split(subset) if not store.has(video.video_id)}
    kept = tuple(video for video in dataset.videos if video.video_id not in gone)
    if not gone or not any(video.subset == subset for video in kept):
        return dataset, None
    have = amount(len(gone), "video has", "videos have")
    told = f"{have} no features in {store.folder} and {'is' if len(gone) == 1 else 'are'} left out: {few(sorted(gone))}"
    return replace(dataset, videos=kept), told
