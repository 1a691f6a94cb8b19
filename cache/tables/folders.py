"""Lists the fingerprint folders of a store, with their recipe, size and age, and finds the newest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cache.errors import CacheError
from cache.tables.schema import SCHEMA_VERSION
from cache.tables.store import RECIPE_FILE


@dataclass(frozen=True)
class CacheFolder:
    """One `<root>/<fingerprint>`, as known from its recipe and the footers of its Parquet files."""

    path: Path
    recipe: Mapping[str, Any]
    """Recipe as JSON; empty if it cannot be read."""
    changed: datetime
    """When its newest Parquet file was written, or its recipe if there is none."""
    rows: int
    """Rows of all files and tables; rows that were replaced later count, too."""
    parts: int
    bytes: int
    """Size on disk."""
    problem: str
    """Why it cannot be used; empty if it can."""

    @property
    def model(self) -> str:
        """The source of the rows: the model with its revision, or the word vectors."""
        names = ((name, self.recipe.get(name)) for name in ("model", "model_revision", "word_vectors"))
        shown = (str(value)[:12] if name == "model_revision" else str(value) for name, value in names if value)
        return " @ ".join(shown) or "unknown"


def cache_folders(root: Path) -> list[CacheFolder]:
    """Every fingerprint folder under `root`, the newest first; empty if `root` does not exist.

    Never raises CacheError: a damaged or outdated folder has a `problem`.
    """
    if not root.is_dir():
        return []
    folders = [_look_into(file.parent) for file in root.glob(f"[!.]*/{RECIPE_FILE}")]
    return sorted(folders, key=lambda folder: (folder.changed, folder.path.name), reverse=True)


def only_fingerprint(root: Path, *, made_by: str, chosen_by: str = "") -> Path:
    """The only fingerprint folder under `root`.

    Raises CacheError if there is none (naming the command `made_by` that makes one), or several (listing them with
    their source and time, and the option `chosen_by` to choose one).
    """
    folders = cache_folders(root)
    if not folders:
        raise CacheError(f"{root}: nothing there yet; run `{made_by}`")
    if len(folders) == 1:
        return folders[0].path
    hint = f"; choose with {chosen_by}" if chosen_by else ""
    lines = [f"{root}: holds {len(folders)} sets made by different recipes{hint}"]
    lines += [f"  {one.path}  {one.changed:%Y-%m-%d %H:%M} UTC  {one.rows} rows  {one.model}" for one in folders]
    raise CacheError("\n".join(lines))


def embeddings_of(root: Path, fingerprint: str) -> list[CacheFolder]:
    """The usable folders under `root` with the words of the descriptions `fingerprint`, the newest first."""
    folders = cache_folders(root)
    return [one for one in folders if one.recipe.get("descriptions") == fingerprint and one.parts and not one.problem]


def stored_schema(table: Path) -> pa.Schema | None:
    """The schema of the Parquet files in a folder; None if there are none. Raises CacheError if it cannot be read."""
    first = min(table.glob("part-*.parquet"), default=None)
    try:
        return None if first is None else pq.read_schema(first).remove_metadata()
    except (pa.ArrowException, OSError) as error:
        raise CacheError(f"{first}: cannot be read: {error}; move it away and run this again") from error


def newest_folder(root: Path, *, made_by: str = "make priors", but: Path | None = None) -> CacheFolder:
    """The newest usable folder under `root` other than `but`.

    Raises CacheError if there is none, naming the command `made_by` that makes one and what is wrong with the others.
    """
    folders = [folder for folder in cache_folders(root) if but is None or folder.path.resolve() != but.resolve()]
    usable = [folder for folder in folders if not folder.problem and folder.parts]
    if usable:
        return usable[0]
    wrong = "".join(f"\n  {folder.path}: {folder.problem or 'holds no rows yet'}" for folder in folders)
    raise CacheError(f"{root}: nothing there yet that can be used; run `{made_by}`{wrong}")


def _look_into(path: Path) -> CacheFolder:
    parts = sorted(path.rglob("part-*.parquet"))
    stamps = [part.stat() for part in parts]
    written = max((stamp.st_mtime for stamp in stamps), default=(path / RECIPE_FILE).stat().st_mtime)
    recipe, rows, problem = {}, 0, ""
    try:
        recipe = json.loads((path / RECIPE_FILE).read_text(encoding="utf-8"))
        for part in parts:
            rows += _rows_of(part)
    except (OSError, ValueError, pa.ArrowException, CacheError) as error:
        problem = " ".join(str(error).split())[:300]
    return CacheFolder(
        path=path,
        recipe=recipe,
        changed=datetime.fromtimestamp(written, UTC),
        rows=rows,
        parts=len(parts),
        bytes=sum(stamp.st_size for stamp in stamps),
        problem=problem,
    )


def _rows_of(part: Path) -> int:
    footer = pq.read_metadata(part)
    version = (footer.metadata or {}).get(b"schema_version", b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise CacheError(f"{part.name}: schema_version: found {version}, expected {SCHEMA_VERSION}")
    return footer.num_rows
