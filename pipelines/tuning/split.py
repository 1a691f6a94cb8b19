"""The weakly labelled videos of a subset in folds: what a trial is trained on, and what is held out to judge it by.

Times of actions are taken out of the annotations before anything else reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from cache.annotations import Dataset, VideoEntry, read_document
from cache.errors import CacheError

FIT, HELD = "fit", "held"
"""Names of the two subsets of a fold."""


def load_weak(path: Path, subset: str) -> Dataset:
    """The labelled videos of one subset, without any time of an action. Raises CacheError as `Dataset.load` does."""
    document = read_document(path)
    database = document.get("database")
    if isinstance(database, dict):
        stripped = {video_id: _without_times(entry) for video_id, entry in database.items()}
        document = {**document, "database": stripped}
    dataset = Dataset.parse(path, document)
    videos = tuple(video for video in dataset.split(subset) if video.labels)
    return Dataset(dataset.name, dataset.classes, videos)


def _without_times(entry: object) -> object:
    if not isinstance(entry, dict):
        return entry
    items = entry.get("annotations")
    kept = {name: value for name, value in entry.items() if name != "ambiguous"}
    if isinstance(items, list):
        weak = [{"label": item.get("label")} if isinstance(item, dict) else item for item in items]
        kept["annotations"] = [item for place, item in enumerate(weak) if item not in weak[:place]]
    return kept


def labels_of(videos: Sequence[VideoEntry], classes: Sequence[str]) -> Bool[np.ndarray, "v c"]:
    """Which video has which class."""
    place = {label: index for index, label in enumerate(classes)}
    labels = np.zeros((len(videos), len(classes)), dtype=bool)
    for row, video in enumerate(videos):
        labels[row, [place[label] for label in video.labels]] = True
    return labels


def stratified_parts(labels: Bool[np.ndarray, "v c"], parts: int, *, seed: int) -> Int[np.ndarray, " v"]:
    """Part of each video, 0 to `parts` - 1, such that every class is spread evenly (Sechidis et al. 2011); -1 for a
    video that is the only one of a class, or whose part would have all videos of a class.

    The rarest class is dealt first, each of its videos to the part that lacks most of it, then most videos.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    part = np.full(len(labels), -2)
    lacks = labels.sum(0)[None] / parts * np.ones((parts, 1))
    room = np.full(parts, len(labels) / parts)
    while (part == -2).any():
        left = order[part[order] == -2]
        counts = labels[left].sum(0)
        rarest = int(np.argmin(np.where(counts > 0, counts, len(labels) + 1)))
        dealt = left[labels[left, rarest]] if counts[rarest] else left
        for row in dealt:
            best = max(range(parts), key=lambda p: (lacks[p, rarest], room[p], -p))
            part[row] = best
            lacks[best] -= labels[row]
            room[best] -= 1
    for members in labels.T:
        rows = np.flatnonzero(members)
        if len(rows) and len({*part[rows].tolist()}) == 1 and part[rows[0]] >= 0:
            part[rows[0]] = -1  # it is trained on in every fold
    return part


def fold_datasets(weak: Dataset, *, parts: int, folds: int, seed: int) -> list[Dataset]:
    """The first `folds` of `parts` folds: in each, one part of the videos is held out and all others are fitted.

    Raises CacheError if there are too few videos to hold any out.
    """
    part = stratified_parts(labels_of(weak.videos, weak.classes), parts, seed=seed)
    if any(not (part == fold).any() for fold in range(folds)):
        raise CacheError(
            f"dataset {weak.name}: found {len(weak.videos)} labelled videos of {len(weak.classes)} classes, too few to "
            f"hold out one in {parts} of every class; add videos"
        )
    return [
        replace(
            weak,
            videos=tuple(
                replace(video, subset=HELD if own == fold else FIT)
                for video, own in zip(weak.videos, part.tolist(), strict=True)
            ),
        )
        for fold in range(folds)
    ]
