"""The mAP of several evaluated runs in one table."""

from __future__ import annotations

from pathlib import Path

from cache.recipe import Recipe
from cache.schema import CacheError
from pipelines.console import launch
from pipelines.evaluate import METRICS_FILE, Metrics, print_map


class CompareRun(Recipe):
    """Which runs stand beside each other."""

    runs: tuple[Path, ...]
    """Folders of evaluated runs, in the order of the rows."""
    names: tuple[str, ...] = ()
    """What the rows are called; the names of the runs when not given."""


def main(recipe: CompareRun) -> None:
    """Print one row a run. Raises CacheError if they were evaluated on different subsets or thresholds."""
    if recipe.names and len(recipe.names) != len(recipe.runs):
        raise CacheError(f"names: found {len(recipe.names)}, expected {len(recipe.runs)}, one for each run")
    results = [Metrics.load(run / METRICS_FILE) for run in recipe.runs]
    for run, one in zip(recipe.runs, results, strict=True):
        for field in ("subset", "videos", "tious", "classes"):
            found, expected = getattr(one, field), getattr(results[0], field)
            if found != expected:
                raise CacheError(
                    f"{run / METRICS_FILE}: {field}: found {found}, expected {expected} as in {recipe.runs[0]}; "
                    "evaluate both alike with `make eval`"
                )
    print_map(results, names=recipe.names)


if __name__ == "__main__":
    from pipelines import compare, presets

    launch("compare", presets.choices(lambda preset: preset.compare()), compare.main)
