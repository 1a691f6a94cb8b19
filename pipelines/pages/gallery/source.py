"""Read and write the gallery of a cache of descriptions: `make inspect ARGS="--html gallery.html"`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.annotations import Dataset, VideoEntry
from cache.files.atomic import atomic_path
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS, KINDS
from cache.tables.store import PartStore
from cache.wording import amount
from pipelines.pages.gallery.page import Frame, GalleryContent, Said, VideoCard, gallery
from pipelines.pages.marked_texts import Key, key_of, mark, words_of
from pipelines.pages.page import picture_uri
from priors.video.frames import VideoError
from priors.video.thumbnails import thumbnails

_LATER = 0.05
"""Difference in seconds between frame times above which the file counts as replaced."""


@dataclass(frozen=True)
class GallerySource:
    """The data of the page."""

    dataset: Dataset
    videos: Sequence[VideoEntry]
    """Videos that may be shown, in this order."""
    store: PartStore
    """The descriptions."""
    embeddings: Path | None
    """Folder of their embeddings; without it no word is marked."""
    action_class: str | None
    """Show only descriptions of this class."""
    limit: int
    """Maximum number of videos on the page."""


def write_gallery(path: Path, source: GallerySource) -> str:
    """Write the page; returns a summary of its contents. Raises CacheError if a file of the caches cannot be read."""
    content = gather(source)
    with atomic_path(path) as unfinished:
        unfinished.write_text(gallery(content), encoding="utf-8")
    return content.left_out or amount(len(content.videos), "video")


def gather(source: GallerySource) -> GalleryContent:
    """Read the contents of the page: the descriptions of the first videos that have any, and their frames."""
    videos, store = source.videos, source.store
    counts = {"descriptions": 0, "failed": 0, "flagged": 0}
    described = set()
    for row in _rows(source, videos, [*DESCRIPTION_KEY, "status", "flags"]):
        described.add(row["video_id"])
        counts["descriptions"] += row["status"] == "ok"
        counts["failed"] += row["status"] == "failed"
        counts["flagged"] += bool(row["flags"])
    with_rows = [video for video in videos if video.video_id in described]
    shown = with_rows[: source.limit]
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in _rows(source, shown, DESCRIPTIONS.names):
        rows.setdefault(row["video_id"], []).append(row)
    words = words_of(source.embeddings, {video.video_id for video in shown})
    subsets = dict.fromkeys(video.subset for video in videos)
    return GalleryContent(
        dataset=source.dataset.name,
        subset=", ".join(subsets),
        folder=store.home.name,
        model=str(store.recipe.get("model", "unknown")),
        recipe=json.dumps(store.recipe, indent=2, ensure_ascii=False),
        counts={"videos": len(with_rows), **counts},
        videos=tuple(_card(video, rows[video.video_id], words) for video in shown),
        left_out=_left_out(len(videos), len(with_rows), len(shown)),
    )


def _rows(source: GallerySource, videos: Sequence[VideoEntry], columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """The rows of these videos and of the chosen class."""
    wanted = {video.video_id for video in videos}
    for row in source.store.rows(columns):
        if row["video_id"] in wanted and source.action_class in (None, row["action_class"]):
            yield row


def _left_out(asked: int, with_rows: int, shown: int) -> str:
    parts = []
    if shown < with_rows:
        parts.append(
            f"The first {shown} of {with_rows} videos are shown; choose others with --limit, --action-class, --video "
            "or --subset."
        )
    if with_rows < asked:
        parts.append(f"{asked - with_rows} of {asked} videos have no description yet; run `make priors`.")
    return " ".join(parts)


def _card(video: VideoEntry, rows: Sequence[Mapping[str, Any]], words: Mapping[Key, Mapping[str, Any]]) -> VideoCard:
    ordered = sorted(rows, key=lambda row: (row["action_class"], KINDS.index(row["kind"])))
    seen = next((row["frame_seconds"] for row in ordered if row["frame_seconds"]), [])
    frames, problem = _frames(video, seen)
    durations = [row["duration"] for row in ordered if row["duration"] is not None]
    said = tuple(_said(row, words.get(key_of(row))) for row in ordered)
    return VideoCard(video.video_id, next(iter(durations), video.duration), frames, problem, said)


def _frames(video: VideoEntry, seen: Sequence[float]) -> tuple[tuple[Frame, ...], str]:
    """The frames that the describer saw, decoded again, or the reason why there are none."""
    if not seen:
        return (), "no frame could be decoded when the video was described"
    if video.path is None:
        return (), "the annotations name no file for this video"
    try:
        found = thumbnails(video.path, count=len(seen))
    except VideoError as error:
        return (), str(error)
    if any(abs(now - then) > _LATER for now, then in zip(found.seconds, seen, strict=True)):
        return (), f"{video.path.name} is not the file that was described"
    return tuple(Frame(picture_uri(jpeg), time) for jpeg, time in zip(found.jpegs, seen, strict=True)), ""


def _said(row: Mapping[str, Any], words: Mapping[str, Any] | None) -> Said:
    ok = row["status"] == "ok"
    facts = [f"{row['model_id']} {row['model_revision'][:12]}", f"{row['created_at']:%Y-%m-%d %H:%M} UTC"]
    if row["new_tokens"] is not None:
        facts.append(f"{row['prompt_tokens']} + {row['new_tokens']} tokens, ended by {row['finish_reason']}")
    if row["attempt"] > 1:
        facts.append(f"attempt {row['attempt']}")
    if row["partial"]:
        facts.append("part of the video could not be decoded")
    text = row["description"] if ok else row["error"]
    return Said(
        action_class=row["action_class"],
        kind=row["kind"],
        status=row["status"],
        prompt=row["prompt"],
        text=mark(text, words if ok else None),
        flags=tuple(row["flags"]),
        facts=tuple(facts),
    )
