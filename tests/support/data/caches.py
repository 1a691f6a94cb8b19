"""A small dataset with caches of descriptions and words, for the commands that look into them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from cache.annotations import Dataset, VideoEntry
from cache.recipe import Recipe
from cache.tables.embeddings import TOKENS_TABLE, VOCABULARY_TABLE
from cache.tables.schema import (
    DESCRIPTION_KEY,
    DESCRIPTIONS,
    TOKENS,
    VOCABULARY_KEY,
    Description,
    Flag,
    Kind,
    TokenRow,
    VocabularyRow,
    vocabulary_schema,
)
from cache.tables.store import PartStore
from tests.support.data.rows import described, failed
from tests.support.videos.videos import write_video

HOSTILE = "<script>alert('x')</script>&\"'"
LABEL = "High Kick"
WORDS = ("he", "kicks", "high")


class MadeBy(Recipe):
    """Recipe of the descriptions."""

    model: str = "canned"
    model_revision: str = "1"


class WordsBy(Recipe):
    """Recipe of the words."""

    descriptions: str
    word_vectors: str = "words.txt"


def said(video_id: str, kind: Kind, text: str, flags: tuple[Flag, ...] = (), label: str = LABEL) -> Description:
    """An ok row of a video of two seconds."""
    return dataclasses.replace(described(video_id, label, kind, text), flags=flags, frame_seconds=(0.48, 1.48))


def small_cache(data: Path, *, revision: str = "1", texts: dict[str, str] | None = None) -> PartStore:
    """Four training videos: one with file and marks, one hostile, one failed, one not described; and a test video.

    `texts` replace the key descriptions of videos. Descriptions, words, and annotations lie in `data`.
    """
    videos = [VideoEntry("v", "training", 2.0, (LABEL,), (), data / "videos/v.mp4")]
    videos += [VideoEntry(name, "training", None, (LABEL,), (), None) for name in ("odd'\"&<b>", "bad", "new")]
    videos.append(VideoEntry("t", "testing", None, (LABEL, "Swim"), (), None))
    Dataset("tiny", (LABEL, "Swim"), tuple(videos)).save(data / "annotations.json")
    if not (data / "videos/v.mp4").exists():
        write_video(data / "videos/v.mp4", 50)
    size = (data / "videos/v.mp4").stat().st_size
    rows = [
        dataclasses.replace(said("v", "key", "He kicks; high."), video_bytes=size),
        dataclasses.replace(said("v", "complete", "kick kick kick kick", ("loops", "cut")), video_bytes=size),
        said("odd'\"&<b>", "key", HOSTILE, ("refusal",)),
        failed("bad", LABEL, "key", f"no video {HOSTILE}"),
        failed("bad", LABEL, "complete", f"no video {HOSTILE}"),
    ]
    rows = [
        dataclasses.replace(row, description=(texts or {}).get(row.video_id, row.description))
        if row.kind == "key" and row.status == "ok"
        else row
        for row in rows
    ]
    store = PartStore.create(data / "descriptions", MadeBy(model_revision=revision), DESCRIPTIONS, key=DESCRIPTION_KEY)
    store.append([said("v", "key", "An older text."), failed("odd'\"&<b>", LABEL, "key", "an older reason")])
    store.append(rows)
    _embed(store, data / "embeddings")
    return store


def _embed(store: PartStore, root: Path) -> None:
    recipe = WordsBy(descriptions=store.home.name)
    rows = [row for row in store.rows() if row["status"] == "ok"]
    tokens = PartStore.create(root, recipe, TOKENS, key=DESCRIPTION_KEY, table=TOKENS_TABLE)
    tokens.append([_token_row(row) for row in rows])
    schema = vocabulary_schema(2)
    vocabulary = PartStore.create(root, recipe, schema, key=VOCABULARY_KEY, table=VOCABULARY_TABLE)
    vectors = [np.full(2, number, np.float32) for number in range(len(WORDS))]
    vocabulary.append(
        [
            VocabularyRow(token_id=number, word=word, vector=vector)
            for number, (word, vector) in enumerate(zip(WORDS, vectors, strict=True))
        ]
    )


def _token_row(row: dict) -> TokenRow:
    words = tuple(row["description"].lower().replace(";", " ;").replace(".", " .").split())
    ids = tuple(WORDS.index(word) if word in WORDS else -1 for word in words)
    return TokenRow(
        video_id=row["video_id"],
        action_class=row["action_class"],
        kind=row["kind"],
        description_sha256="0",
        tokens=words,
        token_ids=ids,
        known=tuple(number >= 0 for number in ids),
        is_action_word=tuple(word.startswith(("kick", "high")) for word in words),
    )
