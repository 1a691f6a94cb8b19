"""Give the caches and tables that version 0.1 made their names of today, so that nothing in them is made again."""

from __future__ import annotations

from pathlib import Path

from cache.recipe import Recipe
from pipelines.console import launch, say
from pipelines.experiments.former_cells import former_cells
from priors.former import move_former_priors


class MigrateRun(Recipe):
    """Where to look."""

    dataset: Path
    """Folder of the dataset: descriptions/ and embeddings/ in it are looked through."""
    runs: Path = Path("runs")
    """Folder of the tables' folders: <runs>/<name>/cells/ are looked through."""


def main(recipe: MigrateRun) -> None:
    """Move all there is; what can not be moved is told, and left as it is."""
    # Cells first: their former names are hashes of the very files of the embeddings.
    cells = 0
    for cell in former_cells(sorted(recipe.runs.glob("*/cells/*")), tell=lambda why: say(f"left as it is: {why}")):
        say(f"{cell.folder} -> {cell.move().name} ({len(cell.scores)} scores)")
        cells += 1
    priors = move_former_priors(recipe.dataset, tell=say)
    say(f"renamed: {priors} folders of descriptions and embeddings in {recipe.dataset}, {cells} cells in {recipe.runs}")


if __name__ == "__main__":
    from pipelines import migrate, presets

    launch("migrate", presets.choices(lambda preset: preset.migrate()), migrate.main)
