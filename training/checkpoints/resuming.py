"""With which other recipe or data a run may be resumed."""

from __future__ import annotations

from pathlib import Path

from cache.recipe import differences
from training.checkpoints.checkpoint import State
from training.errors import TrainingError
from training.recipe import TrainRecipe


def refuse_other_recipe(folder: Path, stored: State, recipe: TrainRecipe, data: str) -> None:
    """Raise `TrainingError` if a run is resumed with another recipe or other data, naming the fields that differ.

    Fields that affect no result, such as logging and device, may differ. With constant learning rates a run may be
    extended; its further steps are those of the longer run.
    """
    differing = differences(stored.recipe, recipe)
    if _may_grow(stored, recipe):
        differing.pop("loop.steps", None)
    lines = [f"  {name}: the checkpoint has {old!r}, this run {new!r}" for name, (old, new) in differing.items()]
    if stored.data != data:
        lines.append(f"  data: the checkpoint has videos, labels, features or texts {stored.data}, this run {data}")
    if stored.counts_turns and not stored.finished:
        lines.append("  steps: the checkpoint counts L_match and L_rec separately (version 0.1), this run host updates")
    if lines:
        raise TrainingError(
            "\n".join(
                [
                    f"{folder}: was made by another recipe, so the run cannot be resumed:",
                    *lines,
                    "Use the recipe it was made with, choose another run folder (--run), or start over (--no-resume).",
                ]
            )
        )


def _may_grow(stored: State, recipe: TrainRecipe) -> bool:
    """Whether the run may be extended to more steps. Not if its last round of CSR updates was shorter than dpid.period:
    the extended run would make those updates again."""
    before, dpid = stored.recipe.loop.steps, recipe.model.dpid
    cut = recipe.model.use_csr and dpid.schedule == "alternate" and stored.finished and before % dpid.period
    return recipe.loop.schedule == "constant" and recipe.loop.steps >= before and not cut
