"""Descriptions with the action's own words marked, for the pages that show them."""

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
"""Training videos whose texts stand for a class."""


@dataclass(frozen=True)
class MarkedText:
    """A description, and start and end, in characters, of the words in it that name its class."""

    text: str
    marks: tuple[tuple[int, int], ...] = ()

    @property
    def pieces(self) -> list[str]:
        """The text cut at its marks: unmarked, marked, unmarked, ...; an odd number of pieces, some of them empty."""
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
    """What was said about videos that a page shows, and about classes."""

    by_video: Mapping[str, tuple[Priors, ...]]
    by_class: Mapping[str, tuple[Priors, ...]]
    """The first few videos of each class."""


def key_of(row: Mapping[str, Any]) -> Key:
    """The key of a row of descriptions or of their words."""
    return row["video_id"], row["action_class"], row["kind"]


def words_of(embeddings: Path | None, videos: Collection[str]) -> dict[Key, Mapping[str, Any]]:
    """The words of these videos' descriptions; none without the folder embeddings/<fingerprint>."""
    if embeddings is None:
        return {}
    rows = open_tokens(embeddings).rows([*DESCRIPTION_KEY, "tokens", "is_action_word"])
    return {key_of(row): row for row in rows if row["video_id"] in videos}


def mark(text: str, words: Mapping[str, Any] | None) -> MarkedText:
    """The text with the marks that its row of words gives; without such a row it has none."""
    return MarkedText(text, tuple(action_spans(text, words["tokens"], words["is_action_word"])) if words else ())


def priors_of(dataset: Dataset, descriptions: Path, embeddings: Path | None, *, videos: Collection[str]) -> PriorsShown:
    """Read both descriptions of the classes of these videos, and of the first videos of each class that have both; none
    of a video that `dataset` does not have."""
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
