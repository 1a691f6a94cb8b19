"""Gather what `make inspect` shows of the caches of a dataset."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import NonNegativeInt, PositiveInt

from cache.annotations import Dataset, VideoEntry
from cache.descriptions.audit import Audit, Coverage, Key, audit, coverage_by_subset
from cache.descriptions.statistics import COLUMNS, TextStatistics, describe, out_of_vocabulary
from cache.errors import CacheError
from cache.features import GRID_FILE, FeatureStore
from cache.recipe import Recipe
from cache.tables.embeddings import open_tokens
from cache.tables.folders import CacheFolder, cache_folders, embeddings_of
from cache.tables.schema import DESCRIPTION_KEY, Flag
from cache.tables.store import PartStore


class InspectRun(Recipe):
    """Which caches are shown."""

    dataset: Path
    """Folder of the dataset: annotations.json, descriptions/, embeddings/, features/."""
    videos: Path | None = None
    """Folder of the videos, for the frames of the page; the same as for `make priors`."""
    subset: str = "training"
    """Subset whose descriptions are shown."""
    descriptions: Path | None = None
    """Folder descriptions/<config hash>; the newest when not given."""
    embeddings: Path | None = None
    """Folder embeddings/<config hash>; the newest of those descriptions when not given."""
    action_class: str | None = None
    """Show only this class in samples, statistics and page."""
    video: str | None = None
    """Show only this video in samples, statistics and page."""
    samples: NonNegativeInt = 4
    """Number of videos whose descriptions are printed, and of examples for each flag."""
    diff: Path | None = None
    """A second folder descriptions/<config hash> (B): show only how its texts differ from those of the first (A), which
    is `descriptions` or else the newest other folder."""
    html: Path | None = None
    """Write an HTML page of frames, prompts and descriptions to this file."""
    limit: PositiveInt = 100
    """Maximum number of videos on the page."""
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False
    """Print one JSON document instead of tables."""
    strict: bool = False
    """Exit with code 1 if descriptions of the subset are missing or failed, or if anything prevents training."""


@dataclass(frozen=True)
class SubsetCounts:
    """What exists for the videos of a subset."""

    subset: str
    videos: int
    with_file: int
    with_features: int
    video_labels: int
    segments: int


@dataclass(frozen=True)
class Said:
    """One description, as it is shown."""

    video_id: str
    action_class: str
    kind: str
    text: str
    """The description, or the reason why there is none."""
    status: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """Everything that is shown."""

    dataset: str
    classes: int
    subset: str
    subsets: tuple[SubsetCounts, ...]
    descriptions: tuple[CacheFolder, ...]
    embeddings: tuple[CacheFolder, ...]
    looked_at: Path
    """Folder of descriptions that all the following fields are about."""
    words_of: Path | None
    """Folder of their embeddings."""
    coverage: Mapping[str, tuple[Coverage, ...]]
    """By subset."""
    audit: Audit
    reasons: Mapping[str, int]
    """Reason of failures -> how many descriptions failed for it."""
    statistics: TextStatistics
    tokens: int
    unknown_words: Mapping[str, int]
    """Words without a vector -> count, most frequent first."""
    samples: tuple[Said, ...]
    examples: Mapping[Flag, tuple[Said, ...]]


def inspect(recipe: InspectRun, dataset: Dataset, store: PartStore) -> Inspection:
    """Gather what is shown. Raises CacheError if a file of the caches cannot be read."""
    words = recipe.embeddings
    if words is None:
        fitting = embeddings_of(recipe.dataset / "embeddings", store.home.name)
        words = fitting[0].path if fitting else None
    table = None if words is None else open_tokens(words)
    found = audit(dataset, recipe.subset, store, table)
    videos = chosen_videos(recipe, dataset)
    ids = {video.video_id for video in videos}

    def chosen(row: Mapping[str, Any]) -> bool:
        return row["video_id"] in ids and recipe.action_class in (None, row["action_class"])

    tokens, unknown = 0, Counter()
    if table is not None:
        tokens, unknown = out_of_vocabulary(filter(chosen, table.rows([*DESCRIPTION_KEY, "tokens", "known"])))
    samples, examples = _samples(recipe, videos, found, store)
    return Inspection(
        dataset=dataset.name,
        classes=len(dataset.classes),
        subset=recipe.subset,
        subsets=_subsets(dataset, recipe.dataset),
        descriptions=tuple(cache_folders(recipe.dataset / "descriptions")),
        embeddings=tuple(cache_folders(recipe.dataset / "embeddings")),
        looked_at=store.home,
        words_of=words,
        coverage=coverage_by_subset(dataset, store),
        audit=found,
        reasons=dict(Counter(reason for _, reason in found.failed).most_common()),
        statistics=describe(filter(chosen, store.rows(["video_id", *COLUMNS]))),
        tokens=tokens,
        unknown_words=dict(unknown.most_common()),
        samples=samples,
        examples=examples,
    )


def chosen_videos(recipe: InspectRun, dataset: Dataset) -> list[VideoEntry]:
    """The videos of the subset that have the chosen class, or the one chosen video."""
    videos = dataset.split(recipe.subset)
    if recipe.action_class is not None:
        videos = [video for video in videos if recipe.action_class in video.labels]
    return [video for video in videos if recipe.video in (None, video.video_id)]


def check_choice(recipe: InspectRun, dataset: Dataset) -> None:
    """Raise CacheError if the class or the video that the recipe names does not exist."""
    if recipe.action_class is not None:
        dataset.class_index(recipe.action_class)
    ids = [video.video_id for video in dataset.split(recipe.subset)]
    if recipe.video is not None and recipe.video not in ids:
        near = difflib.get_close_matches(recipe.video, ids, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise CacheError(f"video: {recipe.subset!r} of dataset {dataset.name} has no video {recipe.video!r}{hint}")


def _subsets(dataset: Dataset, data: Path) -> tuple[SubsetCounts, ...]:
    features = FeatureStore.open(data / "features") if (data / "features" / GRID_FILE).exists() else None
    counts = []
    for subset in sorted({video.subset for video in dataset.videos}):
        videos = dataset.split(subset)
        found = SubsetCounts(
            subset=subset,
            videos=len(videos),
            with_file=sum(video.file_bytes is not None for video in videos),
            with_features=sum(features is not None and features.has(video.video_id) for video in videos),
            video_labels=sum(len(video.labels) for video in videos),
            segments=sum(len(video.segments) for video in videos),
        )
        counts.append(found)
    return tuple(counts)


def _samples(
    recipe: InspectRun, videos: list[VideoEntry], found: Audit, store: PartStore
) -> tuple[tuple[Said, ...], dict[Flag, tuple[Said, ...]]]:
    """The rows of the first videos that have any, and the first rows of each flag."""
    missing = set(found.missing)
    labels = (recipe.action_class,) if recipe.action_class is not None else None
    keys = {
        video.video_id: [
            (video.video_id, label, kind) for label in labels or video.labels for kind in ("key", "complete")
        ]
        for video in videos
    }
    shown = [rows for rows in keys.values() if not missing.issuperset(rows)][: recipe.samples]
    chosen = set(keys)
    flagged: dict[Flag, list[Key]] = {
        flag: [key for key in marked if key[0] in chosen][: recipe.samples] for flag, marked in found.flagged.items()
    }
    wanted = {key for rows in (*shown, *flagged.values()) for key in rows}
    rows: dict[Key, Said] = {}
    for row in store.rows([*DESCRIPTION_KEY, "description", "status", "error", "flags"]):
        key = (row["video_id"], row["action_class"], row["kind"])
        if key in wanted:
            text = row["description"] if row["status"] == "ok" else row["error"]
            rows[key] = Said(*key, text=text, status=row["status"], flags=tuple(row["flags"]))
    samples = tuple(rows[key] for video in shown for key in video if key in rows)
    return samples, {flag: tuple(rows[key] for key in marked) for flag, marked in flagged.items() if marked}
