"""Comparison of two caches of descriptions: missing keys, and differences of texts word by word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from cache.descriptions.flags import words_of
from cache.descriptions.statistics import COLUMNS, TextStatistics, describe
from cache.tables.schema import DESCRIPTION_KEY
from cache.tables.store import PartStore

Key = tuple[str, str, str]
_BATCH = 1024


@dataclass(frozen=True)
class Span:
    """Words, with the whitespace between them, that are in both texts or in only one of them."""

    where: Literal["both", "one", "other"]
    text: str


@dataclass(frozen=True)
class Changed:
    """A key with two different texts."""

    key: Key
    one: str
    other: str
    similarity: float
    """From 0 (no word in common) to 1 (the same words)."""

    def spans(self) -> list[Span]:
        """The merged texts: spans of "both" and "one" are the text `one`, those of "both" and "other" the text
        `other`."""
        return word_differences(self.one, self.other)


@dataclass(frozen=True)
class Differences:
    """Result of comparing caches `one` and `other`; failed rows count as missing."""

    only_one: tuple[Key, ...]
    only_other: tuple[Key, ...]
    same: int
    """Keys with equal texts."""
    changed: int
    """Keys with different texts."""
    least_alike: tuple[Changed, ...]
    """The changed texts with the lowest similarity, the lowest first."""
    similarity: float | None
    """Mean over all keys that both have; None if there are none."""
    one: TextStatistics
    other: TextStatistics


def differences(one: PartStore, other: PartStore, *, shown: int = 10) -> Differences:
    """Compare two caches; of the changed texts the `shown` least similar ones are kept.

    The texts of both are held in memory while they are compared, as Arrow columns.
    """
    only: tuple[list[Key], list[Key]] = ([], [])
    changed: list[Changed] = []
    same = count = 0
    total = 0.0
    for key, first, second in _joined(_texts(one), _texts(other)):
        if first is None or second is None:
            only[second is not None].append(key)
            continue
        alike = 1.0 if first == second else similarity(first, second)
        total += alike
        same += first == second
        if first != second:
            count += 1
            changed.append(Changed(key, first, second, alike))
            if len(changed) >= shown + _BATCH:
                changed = _least_alike(changed, shown)
    return Differences(
        only_one=tuple(only[0]),
        only_other=tuple(only[1]),
        same=same,
        changed=count,
        least_alike=tuple(_least_alike(changed, shown)),
        similarity=total / (same + count) if same + count else None,
        one=describe(one.rows(COLUMNS)),
        other=describe(other.rows(COLUMNS)),
    )


def similarity(one: str, other: str) -> float:
    """Dice coefficient of the words of two texts as multisets; order does not count."""
    first, second = Counter(words_of(one)), Counter(words_of(other))
    total = first.total() + second.total()
    return 2 * (first & second).total() / total if total else 1.0


def word_differences(one: str, other: str) -> list[Span]:
    """Spans of words that both texts have or only one of them, in order."""
    first, second = one.split(" "), other.split(" ")
    spans = []
    for what, a, b, c, d in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if what == "equal":
            spans.append(Span("both", " ".join(first[a:b])))
            continue
        if a < b:
            spans.append(Span("one", " ".join(first[a:b])))
        if c < d:
            spans.append(Span("other", " ".join(second[c:d])))
    return spans


def _least_alike(changed: list[Changed], shown: int) -> list[Changed]:
    return sorted(changed, key=lambda item: (item.similarity, item.key))[:shown]


def _texts(store: PartStore) -> Iterator[tuple[Key, str]]:
    """Ok descriptions in the order of their keys."""
    table = store.table([*DESCRIPTION_KEY, "description", "status"])
    for batch in table.to_batches(max_chunksize=_BATCH):
        rows: list[Mapping[str, Any]] = batch.to_pylist()
        for row in rows:
            if row["status"] == "ok":
                yield (row["video_id"], row["action_class"], row["kind"]), row["description"]


def _joined(
    one: Iterator[tuple[Key, str]], other: Iterator[tuple[Key, str]]
) -> Iterator[tuple[Key, str | None, str | None]]:
    """Every key of the two sorted sequences, once, with its text in each."""
    first, second = next(one, None), next(other, None)
    while first is not None or second is not None:
        if second is None or (first is not None and first[0] < second[0]):
            assert first is not None
            yield first[0], first[1], None
            first = next(one, None)
        elif first is None or second[0] < first[0]:
            yield second[0], None, second[1]
            second = next(other, None)
        else:
            yield first[0], first[1], second[1]
            first, second = next(one, None), next(other, None)
