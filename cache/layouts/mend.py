"""Converts a dataset from its source: every data issue is counted, and handled as the recipe says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from pydantic import NonNegativeFloat

from cache.annotations import Dataset, Segment, VideoEntry
from cache.layouts.found import Found, Quirk
from cache.layouts.thumos14 import missing_videos
from cache.recipe import Recipe
from cache.wording import amount

TRAINING = "training"


class MendRecipe(Recipe):
    """How data issues are handled."""

    weak_labels: Literal["video", "segments"] = "video"
    """Weak labels for training if a source has both kinds: video = video-level labels (as in the CO2-Net family),
    segments = labels of the segments (as in UM and CoLA). In training, segments of other labels are left out."""
    beyond_duration: Literal["keep", "clip", "drop"] = "keep"
    """Segments that end after their video: keep, clip at its end, or drop."""
    tolerance: NonNegativeFloat = 0.5
    """Seconds that a segment may end after its video without being clipped or dropped."""
    contradictory: Literal["keep", "drop"] = "keep"
    """Videos whose segments share no label with the video, or mostly start after its end: keep, or drop."""


def mend(found: Found, recipe: MendRecipe, subsets: Mapping[str, str]) -> tuple[Dataset, list[Quirk]]:
    """The converted dataset, with subsets renamed by `subsets`, and its data issues, those of the reader first."""
    videos = [replace(video, subset=subsets[video.subset]) for video in found.videos]
    quirks = [
        *found.quirks,
        *_renamed(found, subsets),
        *missing_videos(found.classes, {video.video_id for video in videos}),
        *_duplicates(videos),
        *_contradictory(found, videos, recipe),
        *_labels_differ(found, videos, recipe),
        *_ends(videos, recipe),
    ]
    if recipe.contradictory == "drop":
        videos = [video for video in videos if not _contradicts(found, video)]
    dataset = Dataset(found.name, found.classes, tuple(_mended(found, video, recipe) for video in videos))
    return dataset, [quirk for quirk in (*quirks, *_gaps(dataset)) if quirk.count]


def _mended(found: Found, video: VideoEntry, recipe: MendRecipe) -> VideoEntry:
    """Labels are those of the segments and those without a segment, as in annotations.json."""
    placed = {segment.label for segment in video.segments}
    segments = list(_in_time(video, recipe))
    # A video without video-level labels has those of its annotations, with or without times.
    chosen = set(video.labels)
    if video.subset != TRAINING or recipe.weak_labels == "segments":
        chosen = placed or chosen if found.video_labels else chosen
    elif found.video_labels:
        segments = [segment for segment in segments if segment.label in chosen]
    return replace(video, labels=_ordered(found.classes, chosen), segments=tuple(segments))


def _ordered(classes: Sequence[str], labels: set[str]) -> tuple[str, ...]:
    return tuple(label for label in classes if label in labels)


def _in_time(video: VideoEntry, recipe: MendRecipe) -> Iterator[Segment]:
    for segment in video.segments:
        if recipe.beyond_duration == "keep" or not _is_beyond(video, segment, recipe):
            yield segment
        elif recipe.beyond_duration == "clip" and video.duration is not None and segment.start < video.duration:
            yield replace(segment, end=video.duration)


def _is_beyond(video: VideoEntry, segment: Segment, recipe: MendRecipe) -> bool:
    return video.duration is not None and segment.end > video.duration + recipe.tolerance


def _contradicts(found: Found, video: VideoEntry) -> str:
    """Why the annotations of a video contradict each other; empty if they do not."""
    if not video.segments:
        return ""
    placed = {segment.label for segment in video.segments}
    after = sum(segment.start >= (video.duration or float("inf")) for segment in video.segments)
    if 2 * after > len(video.segments):
        last = max(segment.end for segment in video.segments)
        count = f"{after} of {amount(len(video.segments), 'segment')}"
        return f"{count} begin after its {video.duration:.0f} s, the last ends at {last:.0f} s"
    if found.video_labels and video.labels and not placed & set(video.labels):
        labels, others = ", ".join(video.labels), ", ".join(sorted(placed))
        return f"labelled {labels}, but its {amount(len(video.segments), 'segment is', 'segments are')} {others}"
    return ""


def _renamed(found: Found, subsets: Mapping[str, str]) -> Iterator[Quirk]:
    counts = Counter(video.subset for video in found.videos)
    changed = {old: new for old, new in subsets.items() if old != new}
    yield Quirk(
        name="subset_names",
        what="videos of subsets that have another name here",
        done="renamed",
        count=sum(counts[old] for old in changed),
        items=tuple(f"{old} is {new}: {counts[old]}" for old, new in changed.items()),
    )


def _duplicates(videos: Sequence[VideoEntry]) -> Iterator[Quirk]:
    """Duplicate instances: under two classes, such as Diving and CliffDiving, or under the same class."""
    pairs: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], set[str]] = {}
    repeated: list[str] = []
    for video in videos:
        at: dict[tuple[float, float], list[str]] = {}
        for segment in video.segments:
            labels = at.setdefault((segment.start, segment.end), [])
            if segment.label in labels:
                repeated.append(f"{video.video_id} {segment.label} {segment.start:g}-{segment.end:g} s")
            for other in set(labels) - {segment.label}:
                pair = (min(other, segment.label), max(other, segment.label))
                pairs[pair] += 1
                where.setdefault(pair, set()).add(video.video_id)
            labels.append(segment.label)
    yield Quirk(
        name="two_classes",
        what="duplicate instances under two classes",
        done="both kept: the video has both labels, and both instances are ground truth",
        count=pairs.total(),
        unit="instances",
        items=tuple(
            f"{a} and {b}: {count} in {amount(len(where[a, b]), 'video')}" for (a, b), count in pairs.most_common()
        ),
    )
    what, done = "duplicate instances under one class", "kept, since the official evaluator counts them"
    yield Quirk.of("repeated", what, done, repeated, unit="instances")


def _contradictory(found: Found, videos: Sequence[VideoEntry], recipe: MendRecipe) -> Iterator[Quirk]:
    reasons = [(video.video_id, _contradicts(found, video)) for video in videos]
    done = "kept" if recipe.contradictory == "keep" else "left out"
    items = (f"{video_id}: {reason}" for video_id, reason in reasons if reason)
    yield Quirk.of("contradictory", "videos whose annotations contradict each other", done, items)


def _labels_differ(found: Found, videos: Sequence[VideoEntry], recipe: MendRecipe) -> Iterator[Quirk]:
    """Video-level labels that differ from those of the segments, in training and in other subsets."""
    if not found.video_labels:
        return
    in_training, elsewhere, dropped = [], [], 0
    for video in videos:
        placed, weak = {segment.label for segment in video.segments}, set(video.labels)
        if not placed or placed == weak:
            continue
        changes = ((" lacks ", sorted(placed - weak)), (" adds ", sorted(weak - placed)))
        item = video.video_id + "".join(verb + ", ".join(labels) for verb, labels in changes if labels)
        (in_training if video.subset == TRAINING else elsewhere).append(item)
        if video.subset == TRAINING:
            dropped += sum(segment.label not in weak for segment in video.segments)
    done = "segment labels are used as weak labels"
    if recipe.weak_labels == "video":
        done = f"video-level labels are used; {amount(dropped, 'segment')} of other labels left out"
    what = "videos whose labels differ from those of their segments"
    yield Quirk.of("label_mismatch_training", f"training {what}", done, in_training)
    yield Quirk.of("label_mismatch", f"other {what}", "segments are the ground truth", elsewhere)
    unlabelled = (video.video_id for video in videos if video.segments and not video.labels)
    what, done = (
        "videos with segments but without video-level labels",
        "labelled by their segments, except in training",
    )
    yield Quirk.of("no_labels", what, done if recipe.weak_labels == "video" else done.split(",")[0], unlabelled)


def _ends(videos: Sequence[VideoEntry], recipe: MendRecipe) -> Iterator[Quirk]:
    """Segments beyond the end of their video, and segments of length zero."""
    beyond: Counter[str] = Counter()
    slightly, empty = [], []
    for video in videos:
        for segment in video.segments:
            if _is_beyond(video, segment, recipe):
                beyond[video.video_id] += 1
            elif video.duration is not None and segment.end > video.duration:
                slightly.append(f"{video.video_id} {segment.end - video.duration:.2f} s")
            if segment.start == segment.end:
                empty.append(f"{video.video_id} {segment.label} at {segment.start:g} s")
    limit = f"{recipe.tolerance:g} s after their video"
    yield Quirk(
        name="beyond_duration",
        what=f"segments that end more than {limit}",
        done={"keep": "kept as they are", "clip": "clipped at its end", "drop": "left out"}[recipe.beyond_duration],
        count=beyond.total(),
        unit="instances",
        items=tuple(f"{video_id}: {count}" for video_id, count in beyond.most_common()),
    )
    yield Quirk.of("slightly_beyond", f"segments that end up to {limit}", "kept", slightly, unit="instances")
    done = "kept; no detection can match them"
    yield Quirk.of("no_length", "segments that end where they start", done, empty, unit="instances")


def _gaps(dataset: Dataset) -> Iterator[Quirk]:
    """What is missing: labels of training videos, ground truth of other videos, training videos of a class."""
    training = [video for video in dataset.videos if video.subset == TRAINING]
    others = [video for video in dataset.videos if video.subset != TRAINING]
    unlabelled = (video.video_id for video in training if not video.labels)
    yield Quirk.of("unlabelled_training", "training videos without labels", "kept; ignored in training", unlabelled)
    unscored = (video.video_id for video in others if not video.segments)
    yield Quirk.of("no_truth", "other videos without segments", "kept; they can be localized, not scored", unscored)
    trained = {label for video in training for label in video.labels}
    without = (label for label in dataset.classes if label not in trained)
    done = "kept; training will refuse them"
    yield Quirk.of("untaught_classes", "classes without a training video", done, without, unit="classes")
