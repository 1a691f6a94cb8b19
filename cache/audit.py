"""What the cache covers and where it is weak: shown to people after the priors stage, and the trainer's preflight."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from cache.annotations import Dataset, VideoEntry
from cache.embeddings import PriorTexts
from cache.schema import KINDS, Kind
from cache.store import PartStore

Key = tuple[str, str, str]
_MEND = "run `make priors`"


@dataclass(frozen=True)
class Coverage:
    """How many descriptions of one class and kind there are, and how many there should be."""

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
    empty: tuple[Key, ...]
    """Ok rows without a single letter."""
    degenerate: tuple[Key, ...]
    """Ok rows that go round in circles, or only repeat their prompt."""
    cut: tuple[Key, ...]
    """Ok rows that were cut at the limit of new tokens."""
    out_of_vocabulary: float | None
    """Share of tokens without a word vector; None where there are no embeddings to look at."""
    errors: tuple[str, ...]
    """What stops training, each with the command that mends it."""
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True if nothing stops training."""
        return not self.errors


def audit(dataset: Dataset, subset: str, descriptions: PartStore, texts: PriorTexts | None) -> Audit:
    """Hold the cache against the keys that `subset` asks for; rows of other videos or classes are left out.

    Raises CacheError if the dataset has no such subset or a part of the cache cannot be read.
    """
    videos = dataset.split(subset)
    columns = ["video_id", "action_class", "kind", "prompt", "description", "status", "error", "finish_reason"]
    rows = {(r["video_id"], r["action_class"], r["kind"]): r for r in descriptions.table(columns).to_pylist()}
    keys = expected_keys(videos)
    said = {key: rows[key]["description"] for key in keys if key in rows and rows[key]["status"] == "ok"}
    coverage = _coverage(dataset, keys, said)
    missing = tuple(key for key in keys if key not in rows)
    failed = tuple((key, rows[key]["error"]) for key in keys if key in rows and rows[key]["status"] == "failed")
    empty = tuple(key for key, text in said.items() if not any(sign.isalnum() for sign in text))
    degenerate = tuple(
        key for key, text in said.items() if key not in empty and is_degenerate(text, prompt=rows[key]["prompt"])
    )
    errors, warnings = _verdict(subset, coverage, set(empty))
    if missing:
        warnings.append(f"{len(missing)} descriptions of {subset!r} are missing; {_MEND}")
    if failed:
        warnings.append(f"{len(failed)} descriptions of {subset!r} failed; {_MEND} to try them again")
    if degenerate:
        warnings.append(f"{len(degenerate)} descriptions go round in circles or repeat their prompt")
    rate = None
    if texts is not None:
        rate = _out_of_vocabulary(texts, keys)
        if unembedded := [key for key in said if key not in texts.rows]:
            errors.append(f"{len(unembedded)} descriptions have no word vectors yet, first {unembedded[0]}; {_MEND}")
    cut = tuple(key for key in said if rows[key]["finish_reason"] == "length")
    return Audit(coverage, missing, failed, empty, degenerate, cut, rate, tuple(errors), tuple(warnings))


def expected_keys(videos: list[VideoEntry]) -> list[Key]:
    """Every (video_id, action_class, kind) that these videos ask for, in their order."""
    return [(video.video_id, label, kind) for video in videos for label in video.labels for kind in KINDS]


def is_degenerate(text: str, *, prompt: str) -> bool:
    """True if the text repeats its prompt, or has ten words or more of which fewer than three in ten are distinct."""
    words = text.lower().split()
    return text.strip() == prompt.strip() or (len(words) >= 10 and len(set(words)) / len(words) < 0.3)


def _coverage(dataset: Dataset, keys: list[Key], said: dict[Key, str]) -> tuple[Coverage, ...]:
    expected = Counter((label, kind) for _, label, kind in keys)
    ok = Counter((label, kind) for _, label, kind in said)
    return tuple(
        Coverage(label, kind, ok[label, kind], expected[label, kind]) for label in dataset.classes for kind in KINDS
    )


def _verdict(subset: str, coverage: tuple[Coverage, ...], empty: set[Key]) -> tuple[list[str], list[str]]:
    empties = Counter((label, kind) for _, label, kind in empty)
    errors, warnings = [], []
    for row in coverage:
        usable = row.ok - empties[row.action_class, row.kind]
        if row.expected == 0:
            if row.kind == "key":
                errors.append(
                    f"class {row.action_class!r} occurs in no video of {subset!r}, so nothing can be learnt of it; "
                    "take it out of the annotations, or add a video"
                )
        elif usable == 0 and row.kind == "key":
            errors.append(f"class {row.action_class!r} has no usable key description in {subset!r}; {_MEND}")
        elif usable == 0:
            warnings.append(f"class {row.action_class!r} has no usable complete description in {subset!r}; {_MEND}")
    complete = [row for row in coverage if row.kind == "complete"]
    if sum(row.ok for row in complete) == 0:
        errors.append(f"{subset!r} has no complete description at all; {_MEND}")
    return errors, warnings


def _out_of_vocabulary(texts: PriorTexts, keys: list[Key]) -> float | None:
    ids = [texts.rows[key].word_ids for key in keys if key in texts.rows]
    total = sum(len(row) for row in ids)
    return sum(int((row < 0).sum()) for row in ids) / total if total else None
