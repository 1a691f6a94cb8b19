"""What data are, wherever they lie and whatever wrote them: fingerprints of contents, never of paths or times."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cache.annotations import Dataset
from cache.features import FeatureStore
from cache.recipe import fingerprint_of
from cache.tables.embeddings import TOKENS_TABLE, VOCABULARY_TABLE, open_tokens, open_vocabulary


def annotations_content(dataset: Dataset, subset: str, *, segments: bool) -> str:
    """12 hex digits of the classes, and of the videos of a subset with their labels; with all that a score depends on
    where `segments` says so.

    Raises CacheError if there is no such subset.
    """
    digest = hashlib.blake2b(repr(dataset.classes).encode())
    for video in dataset.split(subset):
        digest.update(repr((video.video_id, video.labels)).encode())
        if segments:
            digest.update(repr((video.duration, video.segments, video.ambiguous)).encode())
    return digest.hexdigest()[:12]


def features_content(store: FeatureStore, video_ids: Iterable[str]) -> str:
    """12 hex digits of the grid and of every byte of the features of these videos, in any order.

    Files that are remembered and unchanged are not read. Raises CacheError listing those without usable features.
    """
    return _features_content(store, video_ids, store.grid.fingerprint())


def former_features_content(store: FeatureStore, video_ids: Iterable[str]) -> str:
    """The digits that version 0.1 gave the same, in which the order of streams did not count."""
    return _features_content(store, video_ids, fingerprint_of(store.grid.model_dump(mode="json")))


def _features_content(store: FeatureStore, video_ids: Iterable[str], grid: str) -> str:
    digest = hashlib.blake2b(grid.encode())
    for _, found in sorted(store.digests(video_ids).items()):
        digest.update(bytes.fromhex(found.content))
    return digest.hexdigest()[:12]


def embeddings_content(folder: Path) -> str:
    """12 hex digits of the texts' words and of the vectors of the words, in a folder embeddings/<recipe>.

    Equal rows have equal digits, in whatever parts and order they lie; a text that was taken back is none. One row
    group is held at a time. Raises CacheError if a table is missing or damaged.
    """
    texts = (row for row in open_tokens(folder).rows() if row["description_sha256"])
    digest = hashlib.blake2b(_in_any_order(texts))
    digest.update(_in_any_order(open_vocabulary(folder).rows()))
    return digest.hexdigest()[:12]


def former_embeddings_content(folder: Path) -> str:
    """The digits that version 0.1 gave the parts of a folder embeddings/<recipe>: of their bytes and names."""
    digest = hashlib.blake2b()
    for table in (TOKENS_TABLE, VOCABULARY_TABLE):
        for part in sorted((folder / table).glob("part-*.parquet")):
            digest.update(_file(part, f"{table}/{part.name}"))
    return digest.hexdigest()[:12]


def _in_any_order(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A digest of a set of rows: the sum of theirs."""
    total = 0
    for row in rows:
        total += int.from_bytes(hashlib.blake2b(json.dumps(row, sort_keys=True).encode()).digest())
    return (total % 2**512).to_bytes(64)


def _file(path: Path, name: str) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(name.encode())).digest()
