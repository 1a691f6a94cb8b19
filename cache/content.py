"""Content hashes of annotations, features and embeddings, independent of paths and times."""

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
    """Hash (12 hex digits) of the classes and of the videos of a subset with their labels; with `segments`, also of the
    ground truth and durations that a score depends on.

    Raises CacheError if there is no such subset.
    """
    digest = hashlib.blake2b(repr(dataset.classes).encode())
    for video in dataset.split(subset):
        digest.update(repr((video.video_id, video.labels)).encode())
        if segments:
            digest.update(repr((video.duration, video.segments, video.ambiguous)).encode())
    return digest.hexdigest()[:12]


def features_content(store: FeatureStore, video_ids: Iterable[str]) -> str:
    """Hash (12 hex digits) of the grid and of the features of these videos, in any order.

    Files that are unchanged since their hash was stored are not read. Raises CacheError listing those without usable
    features.
    """
    return _features_content(store, video_ids, store.grid.fingerprint())


def former_features_content(store: FeatureStore, video_ids: Iterable[str]) -> str:
    """The hash that version 0.1 gave the same features, in which the order of streams did not count."""
    return _features_content(store, video_ids, fingerprint_of(store.grid.model_dump(mode="json")))


def _features_content(store: FeatureStore, video_ids: Iterable[str], grid: str) -> str:
    digest = hashlib.blake2b(grid.encode())
    for _, file in sorted(store.digests(video_ids).items()):
        digest.update(bytes.fromhex(file.content))
    return digest.hexdigest()[:12]


def embeddings_content(folder: Path) -> str:
    """Hash (12 hex digits) of the tokens of the texts and of the word vectors in a folder embeddings/<recipe>.

    It depends on the rows alone, not on their order or files; rows marked as deleted do not count. One row group is in
    memory at a time. Raises CacheError if a table is missing or damaged.
    """
    texts = (row for row in open_tokens(folder).rows() if row["description_sha256"])
    digest = hashlib.blake2b(_in_any_order(texts))
    digest.update(_in_any_order(open_vocabulary(folder).rows()))
    return digest.hexdigest()[:12]


def former_embeddings_content(folder: Path) -> str:
    """The hash that version 0.1 gave a folder embeddings/<recipe>, over the bytes and names of its Parquet files."""
    digest = hashlib.blake2b()
    for table in (TOKENS_TABLE, VOCABULARY_TABLE):
        for part in sorted((folder / table).glob("part-*.parquet")):
            digest.update(_file(part, f"{table}/{part.name}"))
    return digest.hexdigest()[:12]


def _in_any_order(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """An order-independent digest of rows: the sum of their digests."""
    total = 0
    for row in rows:
        total += int.from_bytes(hashlib.blake2b(json.dumps(row, sort_keys=True).encode()).digest())
    return (total % 2**512).to_bytes(64)


def _file(path: Path, name: str) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(name.encode())).digest()
