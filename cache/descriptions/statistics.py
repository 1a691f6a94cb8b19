"""Statistics of descriptions: their lengths, and the frequent and discriminative words of each class."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cache.descriptions.flags import ENGLISH_WORDS, words_of
from cache.tables.schema import KINDS, Kind

COLUMNS = ("action_class", "kind", "status", "description", "new_tokens")
"""Columns of descriptions that `describe` reads."""
_QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Spread:
    """Distribution of numbers."""

    count: int
    mean: float
    least: int
    low: float
    """5th percentile."""
    median: float
    high: float
    """95th percentile."""
    most: int


@dataclass(frozen=True)
class ClassWords:
    """The words of the descriptions of one class, function words left out."""

    action_class: str
    texts: int
    words: int
    """Number of words, with function words."""
    frequent: tuple[tuple[str, int], ...]
    """Most frequent words, with their counts."""
    telling: tuple[tuple[str, float], ...]
    """Most discriminative words, with the z-score of their log-odds against all other classes."""


@dataclass(frozen=True)
class TextStatistics:
    """Statistics of all ok rows."""

    words: Mapping[Kind, Spread]
    """Words per description; kinds without rows are absent."""
    new_tokens: Mapping[Kind, Spread]
    """Generated tokens per description."""
    total_words: int
    distinct_words: int
    classes: tuple[ClassWords, ...]
    """In alphabetical order."""


def describe(rows: Iterable[Mapping[str, Any]], *, top: int = 8) -> TextStatistics:
    """Statistics of rows with COLUMNS; for each class the `top` most frequent and most discriminative words.

    Rows are streamed; memory grows with the vocabulary of each class, not with the texts.
    """
    lengths: dict[Kind, array] = {kind: array("l") for kind in KINDS}
    tokens: dict[Kind, array] = {kind: array("l") for kind in KINDS}
    texts: Counter[str] = Counter()
    by_class: dict[str, Counter[str]] = {}
    for row in rows:
        if row["status"] != "ok":
            continue
        words = words_of(row["description"])
        lengths[row["kind"]].append(len(words))
        if row["new_tokens"] is not None:  # not known of a text that was made elsewhere
            tokens[row["kind"]].append(row["new_tokens"])
        texts[row["action_class"]] += 1
        by_class.setdefault(row["action_class"], Counter()).update(words)
    everything: Counter[str] = Counter()
    for counts in by_class.values():
        everything.update(counts)
    return TextStatistics(
        words=_spreads(lengths),
        new_tokens=_spreads(tokens),
        total_words=everything.total(),
        distinct_words=len(everything),
        classes=tuple(
            _class_words(label, texts[label], by_class[label], everything, top) for label in sorted(by_class)
        ),
    )


def out_of_vocabulary(rows: Iterable[Mapping[str, Any]]) -> tuple[int, Counter[str]]:
    """Total number of tokens, and the counts of those without a word vector, in rows with `tokens` and `known`."""
    total, unknown = 0, Counter()
    for row in rows:
        total += len(row["tokens"])
        unknown.update(token for token, known in zip(row["tokens"], row["known"], strict=True) if not known)
    return total, unknown


def log_odds(counts: Mapping[str, int], everything: Mapping[str, int]) -> dict[str, float]:
    """For each word of a group, the z-score of its log-odds against the rest (Monroe et al. 2008).

    `everything` includes the group; it is the Dirichlet prior, so that a rare word needs more evidence.
    """
    prior, inside = sum(everything.values()), sum(counts.values())
    outside = prior - inside
    scores = {}
    for word, count in counts.items():
        alpha, other = everything[word], everything[word] - count
        gap = _odds(count + alpha, inside + prior) - _odds(other + alpha, outside + prior)
        scores[word] = gap / math.sqrt(1 / (count + alpha) + 1 / (other + alpha))
    return scores


def _odds(count: float, total: float) -> float:
    # The rest is 0 only if there is a single word; 0.5 avoids dividing by it.
    return math.log(count / max(total - count, 0.5))


def _class_words(label: str, texts: int, counts: Counter[str], everything: Counter[str], top: int) -> ClassWords:
    frequent = [(word, count) for word, count in counts.most_common() if word not in ENGLISH_WORDS]
    scores = log_odds(counts, everything)
    telling = sorted(
        ((score, word) for word, score in scores.items() if score > 0), key=lambda item: (-item[0], item[1])
    )
    return ClassWords(
        action_class=label,
        texts=texts,
        words=counts.total(),
        frequent=tuple(frequent[:top]),
        telling=tuple((word, score) for score, word in telling if word not in ENGLISH_WORDS)[:top],
    )


def _spreads(values: Mapping[Kind, array]) -> dict[Kind, Spread]:
    return {kind: _spread(numbers) for kind, numbers in values.items() if numbers}


def _spread(values: array) -> Spread:
    numbers = np.asarray(values)
    low, median, high = np.quantile(numbers, _QUANTILES)
    return Spread(
        len(numbers),
        float(numbers.mean()),
        int(numbers.min()),
        float(low),
        float(median),
        float(high),
        int(numbers.max()),
    )
