"""How version 0.1 named what it made: by the whole recipe, by the names of parts, by streams in any order."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from cache.features import FeatureStore
from cache.tables.store import PartStore


def old_name(document: Any) -> str:
    """First 12 hex digits of the sha256 of the whole recipe as JSON."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def old_store(root: Path, document: dict[str, Any], schema: pa.Schema, *, key: tuple[str, ...]) -> PartStore:
    """A store that the whole of its recipe names."""
    home = root / old_name(document)
    home.mkdir(parents=True)
    (home / "recipe.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return PartStore(home, schema, key=key)


def old_features_content(store: FeatureStore, video_ids: list[str]) -> str:
    """Of the grid, and of the files by name."""
    digest = hashlib.blake2b(old_name(store.grid.model_dump(mode="json")).encode())
    for video_id in sorted(video_ids):
        digest.update(hashlib.blake2b(video_id.encode() + store.path(video_id).read_bytes()).digest())
    return digest.hexdigest()[:12]


def old_embeddings_content(folder: Path) -> str:
    """Of the parts, each with its name."""
    digest = hashlib.blake2b()
    for table in ("tokens", "vocabulary"):
        for part in sorted((folder / table).glob("part-*.parquet")):
            digest.update(hashlib.blake2b(f"{table}/{part.name}".encode() + part.read_bytes()).digest())
    return digest.hexdigest()[:12]
