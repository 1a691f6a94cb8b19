"""What data are, wherever they lie and whatever wrote them: fingerprints of contents, never of paths or times."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from cache.annotations import Dataset
from cache.embeddings import TOKENS_TABLE, VOCABULARY_TABLE
from cache.features import FeatureStore


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
    digest = hashlib.blake2b(store.grid.fingerprint().encode())
    for _, found in sorted(store.digests(video_ids).items()):
        digest.update(bytes.fromhex(found.content))
    return digest.hexdigest()[:12]


def embeddings_content(folder: Path) -> str:
    """12 hex digits of the parts of the words and of their vectors, in a folder embeddings/<recipe>."""
    digest = hashlib.blake2b()
    for table in (TOKENS_TABLE, VOCABULARY_TABLE):
        for part in sorted((folder / table).glob("part-*.parquet")):
            digest.update(_file(part, f"{table}/{part.name}"))
    return digest.hexdigest()[:12]


def _file(path: Path, name: str) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(name.encode())).digest()
