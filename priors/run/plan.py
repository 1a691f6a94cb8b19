"""What is to be asked: every key of the videos that has no usable row yet."""

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
    """More than 1 where an earlier text was of little use."""
    longer: bool = False
    """The earlier text was cut: allow this one more words."""


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
    """Questions asked before, whose texts are of little use."""
    replaced: tuple[str, ...]
    """Videos whose file is not the one that was described."""

    @property
    def total(self) -> int:
        """Questions."""
        return sum(len(item.questions) for item in self.work)


def plan(
    videos: Sequence[VideoEntry],
    store: PartStore | None,
    *,
    again: Collection[Flag] = (),
    check_videos: CheckVideos = "size",
    shard: Shard | None = None,
) -> Plan:
    """Hold what `videos` ask for against the rows of `store` (None: there is none yet).

    A key needs work if it has no ok row, if its text has one of the flags `again`, or if the file of its video is
    another by now (as far as `check_videos` looks). A shard gets every n-th video, whatever is done of them.
    """
    if shard is not None:
        videos = sorted(videos, key=lambda entry: entry.video_id)[shard.index :: shard.count]
    done, asked_again, replaced = set(), {}, set()
    if store is not None:
        done, asked_again, replaced = _state(videos, store, frozenset(again), check_videos)
    work = []
    skipped = 0
    for entry in videos:
        questions = []
        for key in keys_of(entry):
            if question := asked_again.get(key):
                questions.append(question)
            elif key not in done:
                questions.append(Question(key))
        skipped += len(entry.labels) * len(KINDS) - len(questions)
        if questions:
            work.append(VideoWork(entry, tuple(questions)))
    return Plan(tuple(work), skipped, len(asked_again), tuple(sorted(replaced)))


def keys_of(entry: VideoEntry) -> list[Key]:
    """Every key that a video asks for."""
    return [(entry.video_id, label, kind) for label in entry.labels for kind in KINDS]


def _state(
    videos: Iterable[VideoEntry], store: PartStore, again: frozenset[Flag], check: CheckVideos
) -> tuple[set[tuple], dict[Key, Question], set[str]]:
    """Keys with a usable row; questions to be put again; videos that were replaced."""
    done = store.done()
    if not again and check == "no":
        return done, {}, set()
    entries = {entry.video_id: entry for entry in videos}
    files: dict[str, tuple[int, str | None] | None] = {}
    repeated: dict[Key, Question] = {}
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
        elif (found := again.intersection(row["flags"])) and (row["attempt"] == 1 or "cut" in found):
            # The same settings a third time would give the same text a second time; only a longer limit would not.
            repeated[key] = Question(key, row["attempt"] + 1, "cut" in found)
    return done, repeated, replaced


def _file(entry: VideoEntry, check: CheckVideos) -> tuple[int, str | None] | None:
    """Size and stamp of a video's file; None where there is none, or nobody asks."""
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
