"""Give the caches and tables that version 0.1 made their names of today, so that nothing in them is made again."""

from __future__ import annotations

from pathlib import Path

from cache.errors import CacheError
from cache.recipe import Recipe
from pipelines.console import say
from pipelines.experiments.former_cells import former_cells
from priors.former import move_former_priors

_LEFT = "left as it is"


class MigrateRun(Recipe):
    """Where to look."""

    dataset: Path
    """Folder of the dataset: descriptions/ and embeddings/ in it are looked through."""
    runs: Path = Path("runs")
    """Folder of the tables' folders: <runs>/<name>/cells/ are looked through."""


def main(recipe: MigrateRun) -> int:
    """Move all there is. 1 if something is left as it is; that is told."""
    left = 0

    def tell(why: str) -> None:
        nonlocal left
        left += why.startswith(_LEFT)
        say(why)

    # Cells first: their former names are hashes of the very files of the embeddings.
    cells = 0
    for cell in former_cells(sorted(recipe.runs.glob("*/cells/*")), tell=lambda why: tell(f"{_LEFT}: {why}")):
        try:
            tell(f"{cell.folder} -> {cell.move().name} ({len(cell.scores)} scores)")
            cells += 1
        except (OSError, CacheError) as error:
            tell(f"{_LEFT}: {error}")
    priors = move_former_priors(recipe.dataset, tell=tell)
    say(f"renamed: {priors} folders of descriptions and embeddings in {recipe.dataset}, {cells} cells in {recipe.runs}")
    return int(left > 0)
