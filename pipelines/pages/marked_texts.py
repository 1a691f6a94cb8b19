"""Descriptions with their action words marked, for the pages that show them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.annotations import Dataset
from cache.descriptions.spans import action_spans
from cache.tables.embeddings import open_tokens
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS
from cache.tables.store import PartStore

Key = tuple[str, str, str]
_EXAMPLES = 3
"""Number of training videos whose descriptions are shown for a class."""


@dataclass(frozen=True)
class MarkedText:
    """A description with the start and end, in characters, of the words that name its class."""

    text: str
    marks: tuple[tuple[int, int], ...] = ()

    @property
    def pieces(self) -> list[str]:
        """The text split at its marks: unmarked, marked, unmarked, ...; an odd number of pieces, possibly empty."""
        found, after = [], 0
        for start, end in self.marks:
            found += [self.text[after:start], self.text[start:end]]
            after = end
        return [*found, self.text[after:]]


@dataclass(frozen=True)
class Priors:
    """The two descriptions of one class in one video."""

    video_id: str
    action_class: str
    key: MarkedText
    complete: MarkedText


@dataclass(frozen=True)
class PriorsShown:
    """The descriptions on a page: of its videos, and examples for its classes."""

    by_video: Mapping[str, tuple[Priors, ...]]
    by_class: Mapping[str, tuple[Priors, ...]]
    """The first few videos of each class."""


def key_of(row: Mapping[str, Any]) -> Key:
    """The key of a row of descriptions or of their words."""
    return row["video_id"], row["action_class"], row["kind"]


def words_of(embeddings: Path | None, videos: Collection[str]) -> dict[Key, Mapping[str, Any]]:
    """The words of these videos' descriptions; empty without a folder embeddings/<config hash>."""
    if embeddings is None:
        return {}
    rows = open_tokens(embeddings).rows([*DESCRIPTION_KEY, "tokens", "is_action_word"])
    return {key_of(row): row for row in rows if row["video_id"] in videos}


def mark(text: str, words: Mapping[str, Any] | None) -> MarkedText:
    """The text with its action words marked; without a row of words nothing is marked."""
    return MarkedText(text, tuple(action_spans(text, words["tokens"], words["is_action_word"])) if words else ())


def priors_of(dataset: Dataset, descriptions: Path, embeddings: Path | None, *, videos: Collection[str]) -> PriorsShown:
    """Read both descriptions of these videos, and of the first videos of each class that have both. Videos that are not
    in `dataset` are left out."""
    store = PartStore.open(descriptions, DESCRIPTIONS, key=DESCRIPTION_KEY)
    known = {video.video_id for video in dataset.videos}
    texts: dict[tuple[str, str], dict[str, str]] = {}
    for row in store.rows([*DESCRIPTION_KEY, "description", "status"]):
        if row["status"] == "ok" and row["video_id"] in known:
            texts.setdefault((row["video_id"], row["action_class"]), {})[row["kind"]] = row["description"]
    whole = sorted(pair for pair, kinds in texts.items() if len(kinds) == 2)
    chosen = {label: [pair for pair in whole if pair[1] == label][:_EXAMPLES] for label in dataset.classes}
    of_videos = [pair for pair in whole if pair[0] in set(videos)]
    words = words_of(embeddings, {video for pairs in (of_videos, *chosen.values()) for video, _ in pairs})

    def priors(pair: tuple[str, str]) -> Priors:
        both = (mark(texts[pair][kind], words.get((*pair, kind))) for kind in ("key", "complete"))
        return Priors(*pair, *both)

    by_video: dict[str, tuple[Priors, ...]] = {}
    for pair in of_videos:
        by_video[pair[0]] = (*by_video.get(pair[0], ()), priors(pair))
    return PriorsShown(by_video, {label: tuple(map(priors, pairs)) for label, pairs in chosen.items()})
