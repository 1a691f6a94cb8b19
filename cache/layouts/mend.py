"""A dataset as its source says it, made into ours: every oddity counted, and handled as the recipe says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from pydantic import NonNegativeFloat

from cache.annotations import Dataset, Segment, VideoEntry
from cache.layouts.found import Found, Quirk
from cache.recipe import Recipe
from cache.wording import amount

TRAINING = "training"
_THUMOS14_NAMES = """
BaseballPitch BasketballDunk Billiards CleanAndJerk CliffDiving CricketBowling CricketShot Diving FrisbeeCatch
GolfSwing HammerThrow HighJump JavelinThrow LongJump PoleVault Shotput SoccerPenalty TennisSwing ThrowDiscus
VolleyballSpiking
"""
_THUMOS14 = frozenset(_THUMOS14_NAMES.split())
_SOMETIMES_LEFT_OUT = ("video_test_0000270", "video_test_0001292", "video_test_0001496")
"""The test videos by which the 213, 212 and 210 videos of published results differ."""


class MendRecipe(Recipe):
    """What is done about what is odd."""

    weak_labels: Literal["video", "segments"] = "video"
    """Which labels training sees where a source has both: those of the video (as the CO2 family has it), or those of
    its segments (as UM and CoLA have it). In training, segments of other labels are left out."""
    beyond_duration: Literal["keep", "clip", "drop"] = "keep"
    """Segments that end after their video does: as they are, cut at its end, or left out."""
    tolerance: NonNegativeFloat = 0.5
    """Seconds that a segment may end after its video without counting as one of these."""
    contradictory: Literal["keep", "drop"] = "keep"
    """Videos whose segments share no label with the video, or mostly begin after its end."""


def mend(found: Found, recipe: MendRecipe, subsets: Mapping[str, str]) -> tuple[Dataset, list[Quirk]]:
    """Our dataset, its subsets renamed by `subsets`, and all that was odd, the reader's own remarks first."""
    videos = [replace(video, subset=subsets[video.subset]) for video in found.videos]
    quirks = [
        *found.quirks,
        *_renamed(found, subsets),
        *_missing_videos(found.classes, {video.video_id for video in videos}),
        *_doubles(videos),
        *_contradictory(found, videos, recipe),
        *_labels_differ(found, videos, recipe),
        *_ends(videos, recipe),
    ]
    if recipe.contradictory == "drop":
        videos = [video for video in videos if not _contradicts(found, video)]
    dataset = Dataset(found.name, found.classes, tuple(_mended(found, video, recipe) for video in videos))
    return dataset, [quirk for quirk in (*quirks, *_gaps(dataset)) if quirk.count]


def _mended(found: Found, video: VideoEntry, recipe: MendRecipe) -> VideoEntry:
    """Labels are, as in our JSON, those of the segments and those that stand by themselves."""
    placed = {segment.label for segment in video.segments}
    segments = list(_in_time(video, recipe))
    # Without labels of its own a video has those of its annotations, placed in time or not.
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
    """Why a video can not be what its annotations say; empty where it can."""
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


def _missing_videos(classes: Collection[str], video_ids: Collection[str]) -> list[Quirk]:
    """Which of THUMOS14's test videos the annotations lack; nothing for another dataset."""
    if set(classes) != _THUMOS14:
        return []
    gone = tuple(name for name in _SOMETIMES_LEFT_OUT if name not in video_ids)
    what = f"THUMOS14 test videos that these annotations lack ({213 - len(gone)} of the 213 with instances are there)"
    return [Quirk.of("lacking", what, "stay away", gone)]


def _doubles(videos: Sequence[VideoEntry]) -> Iterator[Quirk]:
    """Instances that stand twice: under two classes, such as Diving and CliffDiving, or the same again."""
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
        what="instances that stand twice, under two classes",
        done="both kept: the video has both labels, and a detector is to find both",
        count=pairs.total(),
        unit="instances",
        items=tuple(
            f"{a} and {b}: {count} in {amount(len(where[a, b]), 'video')}" for (a, b), count in pairs.most_common()
        ),
    )
    what, done = "instances that stand twice under one class", "kept, as the official evaluator counts them"
    yield Quirk.of("repeated", what, done, repeated, unit="instances")


def _contradictory(found: Found, videos: Sequence[VideoEntry], recipe: MendRecipe) -> Iterator[Quirk]:
    reasons = [(video.video_id, _contradicts(found, video)) for video in videos]
    done = "kept" if recipe.contradictory == "keep" else "left out"
    items = (f"{video_id}: {reason}" for video_id, reason in reasons if reason)
    yield Quirk.of("contradictory", "videos whose annotations contradict each other", done, items)


def _labels_differ(found: Found, videos: Sequence[VideoEntry], recipe: MendRecipe) -> Iterator[Quirk]:
    """Labels of videos against those of their segments, in training and elsewhere."""
    if not found.video_labels:
        return
    in_training, elsewhere, dropped = [], [], 0
    for video in videos:
        placed, own = {segment.label for segment in video.segments}, set(video.labels)
        if not placed or placed == own:
            continue
        said = ((" lacks ", sorted(placed - own)), (" adds ", sorted(own - placed)))
        item = video.video_id + "".join(verb + ", ".join(labels) for verb, labels in said if labels)
        (in_training if video.subset == TRAINING else elsewhere).append(item)
        if video.subset == TRAINING:
            dropped += sum(segment.label not in own for segment in video.segments)
    done = "their segments' labels are the weak labels"
    if recipe.weak_labels == "video":
        done = f"their own labels are the weak labels; {amount(dropped, 'segment')} of other labels left out"
    what = "videos whose labels are not those of their segments"
    yield Quirk.of("label_mismatch_training", f"training {what}", done, in_training)
    yield Quirk.of("label_mismatch", f"other {what}", "their segments are the truth", elsewhere)
    unlabelled = (video.video_id for video in videos if video.segments and not video.labels)
    what, done = (
        "videos with segments but without labels of their own",
        "labelled by their segments, except in training",
    )
    yield Quirk.of("no_labels", what, done if recipe.weak_labels == "video" else done.split(",")[0], unlabelled)


def _ends(videos: Sequence[VideoEntry], recipe: MendRecipe) -> Iterator[Quirk]:
    """Segments against the end of their video, and segments without a length."""
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
        done={"keep": "kept as they are", "clip": "cut at its end", "drop": "left out"}[recipe.beyond_duration],
        count=beyond.total(),
        unit="instances",
        items=tuple(f"{video_id}: {count}" for video_id, count in beyond.most_common()),
    )
    yield Quirk.of("slightly_beyond", f"segments that end up to {limit}", "kept", slightly, unit="instances")
    done = "kept; no detection can match them"
    yield Quirk.of("no_length", "segments that end where they start", done, empty, unit="instances")


def _gaps(dataset: Dataset) -> Iterator[Quirk]:
    """What is not there: labels of training videos, truth elsewhere, training videos of a class."""
    training = [video for video in dataset.videos if video.subset == TRAINING]
    others = [video for video in dataset.videos if video.subset != TRAINING]
    untaught = (video.video_id for video in training if not video.labels)
    yield Quirk.of(
        "unlabelled_training", "training videos without any label", "kept; the trainer passes over them", untaught
    )
    unscored = (video.video_id for video in others if not video.segments)
    yield Quirk.of("no_truth", "other videos without segments", "kept; they can be localized, not scored", unscored)
    taught = {label for video in training for label in video.labels}
    without = (label for label in dataset.classes if label not in taught)
    done = "kept; the trainer refuses them"
    yield Quirk.of("untaught_classes", "classes without a training video", done, without, unit="classes")
