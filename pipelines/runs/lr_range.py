"""Learning rate range test: a short training whose rates rise, and the rate of the host that it suggests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from cache.recipe import Recipe
from pipelines.console import progress, say
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs.train import load_data
from training.loop.rate_range import RangeRecipe, RateRange, rate_range

_ROWS = 24
"""About so many rates are printed, evenly spaced."""
_BAR = 30
"""Characters of the longest bar."""


class LrRangeRun(Recipe):
    """Which training is tested, and over which rates. The folder of its run is neither read nor written."""

    train: Annotated[TrainRun, tyro.conf.arg(name="")]
    """The training whose learning rate is looked for; its own rates, warm-up and schedule are not used."""
    range: RangeRecipe = RangeRecipe()
    """How the rates rise."""
    output: Path | None = None
    """File that receives rates and losses; <run>-lr-range.json beside the run when not given."""

    @property
    def file(self) -> Path:
        """The file that is written."""
        run = self.train.run
        return self.output or run.with_name(f"{run.name}-lr-range.json")


def main(recipe: LrRangeRun) -> None:
    """Run the test, write its figures, print them and the suggested rate."""
    run = recipe.train.resolved()
    with progress("learning rate range test", unit="steps") as report:
        found = rate_range(load_data(run), run.train, recipe.range, progress=report)
    found.save(recipe.file)
    _show(found)
    if found.suggested is None:
        say(f"no rate is suggested: {found.doubt}")
    else:
        say(f"suggested: --loop.host-lr {found.suggested:g}, a tenth of {found.lowest:.2g}, where the loss is lowest")
    say(f"figures: {recipe.file}")


def _show(found: RateRange) -> None:
    """The smoothed losses at some of the rates, each with a bar up to the loss at the first rate."""
    if not found.rates:
        return
    low, first = min(found.smoothed), found.smoothed[0]
    spacing = max(1, len(found.rates) // _ROWS)
    say("   rate      loss  loss of the host, smoothed, while its learning rate rises")
    for place in range(0, len(found.rates), spacing):
        loss = found.smoothed[place]
        share = (loss - low) / (first - low) if first > low else 1.0
        bar = "#" * round(_BAR * min(1.0, share)) + (">" if share > 1 else "")
        say(f"{found.rates[place]:.1e}  {loss:8.3g}  {bar}".rstrip())
