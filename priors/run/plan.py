"""The plan of a run: every key (video, class, kind of text) that has no usable row yet."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cache.annotations import VideoEntry
from cache.files.lock import Shard
from cache.tables.schema import KINDS, Flag, Kind
from cache.tables.store import PartStore
from priors.video.decoding import video_stamp

Key = tuple[str, str, Kind]
CheckVideos = Literal["size", "stamp", "no"]
_COLUMNS = ("video_id", "action_class", "kind", "status", "flags", "attempt", "video_bytes", "video_stamp")


@dataclass(frozen=True)
class Question:
    """One key to be described."""

    key: Key
    attempt: int = 1
    """More than 1 if an earlier text was flagged and is retried."""
    longer: bool = False
    """The earlier text was cut off: allow more tokens for this one."""


@dataclass(frozen=True)
class VideoWork:
    """All questions about one video, which is decoded once for them."""

    entry: VideoEntry
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Plan:
    """What a run has to do."""

    work: tuple[VideoWork, ...]
    skipped: int
    """Keys that have a usable row."""
    again: int
    """Retried questions, whose earlier texts were flagged."""
    replaced: tuple[str, ...]
    """Videos whose file was replaced since it was described."""

    @property
    def total(self) -> int:
        """Number of questions."""
        return sum(len(item.questions) for item in self.work)


def plan(
    videos: Sequence[VideoEntry],
    store: PartStore | None,
    *,
    again: Collection[Flag] = (),
    check_videos: CheckVideos = "size",
    shard: Shard | None = None,
) -> Plan:
    """Compare the keys of `videos` with the rows of `store` (None: there is no store yet).

    A key needs work if it has no ok row, if its text has one of the flags `again`, or if the file of its video was
    replaced (as far as `check_videos` detects it). A shard gets every n-th video, done or not.
    """
    if shard is not None:
        videos = sorted(videos, key=lambda entry: entry.video_id)[shard.index :: shard.count]
    done, retried, replaced = set(), {}, set()
    if store is not None:
        done, retried, replaced = _state(videos, store, frozenset(again), check_videos)
    work = []
    skipped = 0
    for entry in videos:
        questions = []
        for key in keys_of(entry):
            if question := retried.get(key):
                questions.append(question)
            elif key not in done:
                questions.append(Question(key))
        skipped += len(entry.labels) * len(KINDS) - len(questions)
        if questions:
            work.append(VideoWork(entry, tuple(questions)))
    return Plan(tuple(work), skipped, len(retried), tuple(sorted(replaced)))


def keys_of(entry: VideoEntry) -> list[Key]:
    """Every key of a video."""
    return [(entry.video_id, label, kind) for label in entry.labels for kind in KINDS]


def _state(
    videos: Iterable[VideoEntry], store: PartStore, again: frozenset[Flag], check: CheckVideos
) -> tuple[set[tuple], dict[Key, Question], set[str]]:
    """Keys with a usable row; questions to be retried; videos that were replaced."""
    done = store.done()
    if not again and check == "no":
        return done, {}, set()
    entries = {entry.video_id: entry for entry in videos}
    files: dict[str, tuple[int, str | None] | None] = {}
    questions: dict[Key, Question] = {}
    replaced: set[str] = set()
    for row in store.rows(_COLUMNS):
        entry = entries.get(row["video_id"])
        if entry is None or row["status"] != "ok":
            continue
        key: Key = (row["video_id"], row["action_class"], row["kind"])
        if entry.video_id not in files:
            files[entry.video_id] = _file(entry, check)
        if _is_another(files[entry.video_id], row):
            replaced.add(entry.video_id)
            done.discard(key)
        elif (flags := again.intersection(row["flags"])) and (row["attempt"] == 1 or "cut" in flags):
            # A second retry with the same settings would repeat the text of the first; only a longer limit changes it.
            questions[key] = Question(key, row["attempt"] + 1, "cut" in flags)
    return done, questions, replaced


def _file(entry: VideoEntry, check: CheckVideos) -> tuple[int, str | None] | None:
    """Size and stamp of a video's file; None if there is no file, or it is not to be checked."""
    if check == "no" or entry.path is None or (size := entry.file_bytes) is None:
        return None  # a description outlives its video
    try:
        return size, video_stamp(entry.path) if check == "stamp" else None
    except OSError:
        return None


def _is_another(file: tuple[int, str | None] | None, row: Mapping) -> bool:
    if file is None or row["video_bytes"] is None:
        return False
    size, stamp = file
    return size != row["video_bytes"] or (stamp is not None and stamp != row["video_stamp"])
