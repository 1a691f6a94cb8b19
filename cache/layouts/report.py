"""import_report.json: what was imported, with which options, and all data issues."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt

from cache.annotations import Dataset
from cache.errors import CacheError
from cache.files.records import file_sha256
from cache.layouts.found import Layout, Quirk
from cache.recipe import Recipe

REPORT_FILE = "import_report.json"


class SubsetCount(Recipe):
    """Counts of one imported subset."""

    videos: NonNegativeInt
    labelled: NonNegativeInt
    """Videos with at least one label."""
    instances: NonNegativeInt
    """Number of ground-truth segments."""
    snippets: NonNegativeInt
    """Number of feature snippets; 0 without features."""


class ImportReport(Recipe):
    """Contents of import_report.json."""

    source: str
    layout: Layout
    options: dict[str, Any]
    """Options of the command."""
    classes: NonNegativeInt
    subsets: dict[str, SubsetCount]
    quirks: tuple[Quirk, ...]
    annotations_sha256: str
    """sha256 of the annotations.json that was written."""


def count_subsets(dataset: Dataset, lengths: Mapping[str, int]) -> dict[str, SubsetCount]:
    """Subset -> its counts, in the order of the dataset."""
    counts = {}
    for subset in dict.fromkeys(video.subset for video in dataset.videos):
        videos = dataset.split(subset)
        counts[subset] = SubsetCount(
            videos=len(videos),
            labelled=sum(bool(video.labels) for video in videos),
            instances=sum(len(video.segments) for video in videos),
            snippets=sum(lengths.get(video.video_id, 0) for video in videos),
        )
    return counts


def check_own(annotations: Path) -> None:
    """Raise CacheError if `annotations` were not written by an import, or have been changed since."""
    if not annotations.exists():
        return
    report = annotations.with_name(REPORT_FILE)
    if not report.exists():
        raise CacheError(
            f"{annotations}: was not made by an import; choose another folder (--dataset), or move it away"
        )
    if ImportReport.load(report).annotations_sha256 != file_sha256(annotations):
        raise CacheError(f"{annotations}: was changed since it was imported; move it away to import it again")
