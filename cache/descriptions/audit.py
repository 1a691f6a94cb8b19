"""Audit of a cache: coverage, failures, flags. It is printed after the priors stage and checked before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cache.annotations import Dataset, VideoEntry
from cache.descriptions.flags import MEANINGS
from cache.tables.schema import DESCRIPTION_KEY, FLAGS, KINDS, Flag, Kind
from cache.tables.store import PartStore
from cache.wording import amount

Key = tuple[str, str, str]
_MEND = "run `make priors`"


@dataclass(frozen=True)
class Coverage:
    """Number of descriptions of one class and kind, and the expected number."""

    action_class: str
    kind: Kind
    ok: int
    expected: int


@dataclass(frozen=True)
class Audit:
    """The state of the descriptions (and embeddings) of one subset."""

    coverage: tuple[Coverage, ...]
    missing: tuple[Key, ...]
    """Keys that have no row yet."""
    failed: tuple[tuple[Key, str], ...]
    """Keys whose last row failed, with the reason."""
    flagged: Mapping[Flag, tuple[Key, ...]]
    """Ok rows by flag of their text; every flag has an entry, possibly empty."""
    partial: tuple[Key, ...]
    """Ok rows of videos that could be decoded only partially."""
    stale: tuple[Key, ...]
    """Ok rows whose video file has a different size from the one that was described."""
    removed: Mapping[str, int]
    """Videos with rows that are not in the annotations, in any subset, with their number of rows."""
    out_of_vocabulary: float | None
    """Share of tokens without a word vector; None if there are no embeddings."""
    errors: tuple[str, ...]
    """Problems that prevent training, each with the command that fixes it."""
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True if nothing prevents training."""
        return not self.errors


def audit(dataset: Dataset, subset: str, descriptions: PartStore, tokens: PartStore | None) -> Audit:
    """Compare the cache with the keys of `subset`; rows of other videos or classes are ignored. Rows of videos that are
    in no subset are counted.

    `tokens` is the table of their words, None if there is none. Texts are not read: their problems are in the rows as
    flags. Raises CacheError if the dataset has no such subset or a file of the cache cannot be read.
    """
    videos = dataset.split(subset)
    keys = expected_keys(videos)
    rows = _States.of(descriptions, keys, dataset)
    words = None if tokens is None else _Words.of(tokens, keys)
    coverage = _coverage(dataset, keys, rows.ok)
    flagged: dict[Flag, tuple[Key, ...]] = {
        flag: tuple(key for key in keys if key in rows.flagged[flag]) for flag in FLAGS
    }
    state = Audit(
        coverage=coverage,
        missing=tuple(key for key in keys if key not in rows.ok and key not in rows.failed),
        failed=tuple((key, rows.failed[key]) for key in keys if key in rows.failed),
        flagged=flagged,
        partial=tuple(key for key in keys if key in rows.partial),
        stale=_stale(videos, rows),
        removed=dict(sorted(rows.removed.items())),
        out_of_vocabulary=None if words is None else words.out_of_vocabulary,
        errors=(),
        warnings=(),
    )
    errors, warnings = _verdict(subset, coverage, set(flagged["empty"]))
    if words is not None and (unembedded := [key for key in keys if key in rows.ok and key not in words.embedded]):
        lacking = amount(len(unembedded), "description has", "descriptions have")
        errors.append(f"{lacking} no word vectors yet, first {unembedded[0]}; {_MEND}")
    return replace(state, errors=tuple(errors), warnings=(*warnings, *_notes(subset, state)))


def coverage_by_subset(dataset: Dataset, descriptions: PartStore) -> dict[str, tuple[Coverage, ...]]:
    """Coverage of every subset, including those without descriptions, in one pass over the rows."""
    subsets: dict[str, list[VideoEntry]] = {}
    for video in dataset.videos:
        subsets.setdefault(video.subset, []).append(video)
    keys = {subset: expected_keys(videos) for subset, videos in subsets.items()}
    rows = _States.of(descriptions, [key for wanted in keys.values() for key in wanted], dataset)
    return {subset: _coverage(dataset, wanted, rows.ok) for subset, wanted in keys.items()}


def expected_keys(videos: Iterable[VideoEntry]) -> list[Key]:
    """Every (video_id, action_class, kind) of these videos, in their order."""
    return [(video.video_id, label, kind) for video in videos for label in video.labels for kind in KINDS]


@dataclass
class _States:
    """State of the expected keys according to the rows, without texts."""

    ok: set[Key] = field(default_factory=set)
    failed: dict[Key, str] = field(default_factory=dict)
    flagged: dict[Flag, set[Key]] = field(default_factory=lambda: {flag: set() for flag in FLAGS})
    partial: set[Key] = field(default_factory=set)
    video_bytes: dict[Key, int] = field(default_factory=dict)
    removed: Counter[str] = field(default_factory=Counter)
    """Number of rows of each video that the dataset does not have."""

    @classmethod
    def of(cls, descriptions: PartStore, keys: Sequence[Key], dataset: Dataset) -> _States:
        states, wanted, reasons = cls(), {key: key for key in keys}, {}
        videos = {video.video_id for video in dataset.videos}
        for row in descriptions.rows([*DESCRIPTION_KEY, "status", "error", "flags", "partial", "video_bytes"]):
            key = wanted.get((row["video_id"], row["action_class"], row["kind"]))
            if key is None:
                if row["video_id"] not in videos:
                    states.removed[row["video_id"]] += 1
                continue
            if row["status"] == "failed":
                states.failed[key] = reasons.setdefault(row["error"], row["error"])
                continue
            states.ok.add(key)
            for flag in row["flags"]:
                states.flagged[flag].add(key)
            if row["partial"]:
                states.partial.add(key)
            if row["video_bytes"] is not None:
                states.video_bytes[key] = row["video_bytes"]
        return states


@dataclass
class _Words:
    """Counts of the expected keys in the table of tokens."""

    embedded: set[Key] = field(default_factory=set)
    tokens: int = 0
    unknown: int = 0

    @classmethod
    def of(cls, table: PartStore, keys: Sequence[Key]) -> _Words:
        words, wanted = cls(), {key: key for key in keys}
        for row in table.rows([*DESCRIPTION_KEY, "description_sha256", "known"]):
            key = wanted.get((row["video_id"], row["action_class"], row["kind"]))
            if key is None or not row["description_sha256"]:  # of another video, or deleted
                continue
            words.embedded.add(key)
            words.tokens += len(row["known"])
            words.unknown += row["known"].count(False)
        return words

    @property
    def out_of_vocabulary(self) -> float | None:
        return self.unknown / self.tokens if self.tokens else None


def _coverage(dataset: Dataset, keys: Sequence[Key], ok: set[Key]) -> tuple[Coverage, ...]:
    expected = Counter((label, kind) for _, label, kind in keys)
    made = Counter((label, kind) for video, label, kind in keys if (video, label, kind) in ok)
    return tuple(
        Coverage(label, kind, made[label, kind], expected[label, kind]) for label in dataset.classes for kind in KINDS
    )


def _stale(videos: Sequence[VideoEntry], rows: _States) -> tuple[Key, ...]:
    stale = []
    for video in videos:
        if (size := video.file_bytes) is not None:
            stale += [key for key in expected_keys([video]) if rows.video_bytes.get(key, size) != size]
    return tuple(stale)


def _verdict(subset: str, coverage: Sequence[Coverage], empty: set[Key]) -> tuple[list[str], list[str]]:
    empties = Counter((label, kind) for _, label, kind in empty)
    errors, warnings = [], []
    for row in coverage:
        usable = row.ok - empties[row.action_class, row.kind]
        if row.expected == 0:
            if row.kind == "key":
                errors.append(
                    f"class {row.action_class!r} occurs in no video of {subset!r}, so it cannot be learned; "
                    "remove it from the annotations, or add a video"
                )
        elif usable == 0 and row.kind == "key":
            errors.append(f"class {row.action_class!r} has no usable key description in {subset!r}; {_MEND}")
        elif usable == 0:
            warnings.append(f"class {row.action_class!r} has no usable complete description in {subset!r}; {_MEND}")
    complete = sum(row.ok - empties[row.action_class, row.kind] for row in coverage if row.kind == "complete")
    if complete == 0:
        errors.append(f"{subset!r} has no usable complete description at all; {_MEND}")
    return errors, warnings


def _notes(subset: str, state: Audit) -> list[str]:
    notes = []
    if state.missing:
        lacking = amount(len(state.missing), f"description of {subset!r} is", f"descriptions of {subset!r} are")
        notes.append(f"{lacking} missing; {_MEND}")
    if state.failed:
        failed = amount(len(state.failed), f"description of {subset!r}", f"descriptions of {subset!r}")
        notes.append(f"{failed} failed; {_MEND} to try again")
    for flag, keys in state.flagged.items():
        if keys:
            marked = amount(len(keys), f"description of {subset!r} is", f"descriptions of {subset!r} are")
            notes.append(f"{marked} flagged {flag} (texts that {MEANINGS[flag]})")
    if state.partial:
        partial = amount(len(state.partial), "description is of a video", "descriptions are of videos")
        notes.append(f"{partial} that could be decoded only partially")
    if state.stale:
        stale = amount(
            len(state.stale), "description is of a video file that has", "descriptions are of video files that have"
        )
        notes.append(f"{stale} another size now, first {state.stale[0]}; {_MEND} to describe them again")
    if state.removed:
        rows = amount(sum(state.removed.values()), "row is", "rows are")
        videos = amount(len(state.removed), "video")
        notes.append(
            f"{rows} of {videos} that the annotations do not have, first {next(iter(state.removed))!r}; training and "
            "exports ignore them, and docs/caches.md says how to delete them"
        )
    return notes
