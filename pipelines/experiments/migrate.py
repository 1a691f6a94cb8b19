"""Rename the caches and tables of version 0.1, so that they are used and nothing in them is made again."""

from __future__ import annotations

from pathlib import Path

from cache.errors import CacheError
from cache.recipe import Recipe
from pipelines.console import say
from pipelines.experiments.former_cells import former_cells
from priors.former import move_former_priors

_LEFT = "left as it is"


class MigrateRun(Recipe):
    """Which folders are searched."""

    dataset: Path
    """Folder of the dataset, whose descriptions/ and embeddings/ are searched."""
    runs: Path = Path("runs")
    """Folder of the tables, whose <name>/cells/ are searched."""


def main(recipe: MigrateRun) -> int:
    """Rename everything that can be; 1 if anything is left as it is, which is printed."""
    left = 0

    def tell(why: str) -> None:
        nonlocal left
        left += why.startswith(_LEFT)
        say(why)

    # Runs first: their names of version 0.1 are hashes of the files of the embeddings.
    cells = 0
    for cell in former_cells(sorted(recipe.runs.glob("*/cells/*")), tell=lambda why: tell(f"{_LEFT}: {why}")):
        try:
            tell(f"{cell.folder} -> {cell.move().name} ({len(cell.scores)} scores)")
            cells += 1
        except (OSError, CacheError) as error:
            tell(f"{_LEFT}: {error}")
    priors = move_former_priors(recipe.dataset, tell=tell)
    folders = f"{priors} folders of descriptions and embeddings in {recipe.dataset}"
    say(f"renamed: {folders}, {cells} runs of tables in {recipe.runs}")
    return int(left > 0)
