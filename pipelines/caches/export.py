"""Export descriptions: rows as JSONL, or a folder with a dataset card that Hugging Face `datasets` loads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cache.annotations import Dataset
from cache.descriptions.export import Table, export_datasets, export_jsonl, open_tables
from cache.errors import CacheError
from cache.recipe import Recipe
from cache.tables.folders import embeddings_of, newest_folder
from cache.wording import amount
from pipelines.console import say


class ExportRun(Recipe):
    """What is exported, and where to."""

    dataset: Path
    """Folder of the dataset: annotations.json, descriptions/, embeddings/."""
    to: Path = Path("descriptions.jsonl")
    """File or folder to write; an existing one is not overwritten."""
    format: Literal["jsonl", "datasets"] = "jsonl"
    """jsonl: one file with a row per line. datasets: a folder of Parquet files with a dataset card."""
    table: Table = "descriptions"
    """Table that is written to the JSONL file; format datasets writes all three."""
    descriptions: Path | None = None
    """Folder descriptions/<config hash>; the newest when not given."""
    embeddings: Path | None = None
    """Folder embeddings/<config hash>; the newest of those descriptions when not given."""


def main(recipe: ExportRun) -> None:
    """Write the rows of all videos in the annotations and print how many; rows of other videos are left out."""
    home = recipe.descriptions or newest_folder(recipe.dataset / "descriptions").path
    words = recipe.embeddings
    if words is None:
        fitting = embeddings_of(recipe.dataset / "embeddings", home.name)
        words = fitting[0].path if fitting else None
    tables = open_tables(home, words)
    if recipe.format == "jsonl" and recipe.table not in tables:
        raise CacheError(f"table: {home} has no {recipe.table} yet; run `make priors`")
    dataset = Dataset.load(recipe.dataset / "annotations.json")
    if recipe.format == "datasets":
        done = export_datasets(dataset, tables, recipe.to)
    else:
        done = export_jsonl(dataset, tables, recipe.table, recipe.to)
    rows = ", ".join(f"{amount(count, 'row')} of {name}" for name, count in done.rows.items())
    say(f"{recipe.to}: {rows}, from {home}")
    if done.left_out:
        say(f"left out: {amount(done.left_out, 'row')} of videos that are not in the annotations")
