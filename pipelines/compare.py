"""The mAP of several evaluated runs in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cache.recipe import Recipe
from cache.schema import CacheError
from pipelines.console import launch
from pipelines.evaluate import METRICS_FILE, Metrics, print_map
from training.diagnosis.schema import Diagnosis
from training.protocol import differences


class CompareRun(Recipe):
    """Which runs stand beside each other."""

    runs: tuple[Path, ...]
    """Folders of evaluated runs, in the order of the rows."""
    names: tuple[str, ...] = ()
    """What the rows are called; the names of the runs when not given."""


def main(recipe: CompareRun) -> None:
    """Print one row a run. Raises CacheError if they were not evaluated alike."""
    if recipe.names and len(recipe.names) != len(recipe.runs):
        raise CacheError(f"names: found {len(recipe.names)}, expected {len(recipe.runs)}, one for each run")
    results = [Metrics.load(run / METRICS_FILE) for run in recipe.runs]
    refuse_mixture(recipe.runs, results)
    print_map(results, names=recipe.names)


def refuse_mixture(
    runs: Sequence[Path],
    results: Sequence[Metrics] | Sequence[Diagnosis],
    *,
    file: str = METRICS_FILE,
    fields: Sequence[str] = ("videos", "classes"),
) -> None:
    """Raises CacheError, naming the difference, if runs were evaluated under different protocols or on different
    videos or classes: their figures do not belong into one table. `file` is where the results were read from."""
    for run, one in zip(runs, results, strict=True):
        parting = [f"protocol.{difference}" for difference in differences(one.protocol, results[0].protocol)]
        for field in fields:  # annotations of the same protocol may differ
            found, expected = getattr(one, field), getattr(results[0], field)
            if found != expected:
                parting.append(f"{field}: found {found!r}, expected {expected!r}")
        if parting:
            raise CacheError(
                f"{run / file}: {'; '.join(parting)} as in {runs[0]}. Figures of different protocols do not "
                "belong into one table; evaluate both alike with `make eval`"
            )


if __name__ == "__main__":
    from pipelines import compare, presets

    launch("compare", presets.choices(lambda preset: preset.compare()), compare.main)
