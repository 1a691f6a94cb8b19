"""Videos without features, such as those whose file could not be read: whether they stop a command, or are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from cache.annotations import Dataset, VideoEntry
from cache.features import FeatureStore
from cache.wording import amount, few

WithoutFeatures = Literal["stop", "drop"]


def having_features(
    videos: Sequence[VideoEntry], store: FeatureStore, choice: WithoutFeatures
) -> tuple[Sequence[VideoEntry], str | None]:
    """With `drop` the videos that have a feature file, and a line that names the others, if there are any; with `stop`
    all of them. All of them, too, if none has: then, and for damaged features, a command stops in any case."""
    gone = [] if choice == "stop" else [video for video in videos if not store.has(video.video_id)]
    if len(gone) in (0, len(videos)):
        return videos, None
    have = amount(len(gone), "video has", "videos have")
    names = few(sorted(video.video_id for video in gone))
    told = f"{have} no features in {store.folder} and {'is' if len(gone) == 1 else 'are'} left out: {names}"
    return [video for video in videos if store.has(video.video_id)], told


def with_features(
    dataset: Dataset, store: FeatureStore, subset: str, choice: WithoutFeatures
) -> tuple[Dataset, str | None]:
    """The dataset without the videos of a subset that `having_features` leaves out, and its line."""
    kept, told = having_features(dataset.split(subset), store, choice)
    others = [video for video in dataset.videos if video.subset != subset]
    return (dataset if told is None else replace(dataset, videos=(*kept, *others))), told
