"""Dual Prior Interactive Distillation (eqs 19 and 20): the two branches teach each other's attention."""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt

from cache.recipe import Recipe

Phase = Literal["match", "reconstruct", "joint"]


class DpidRecipe(Recipe):
    """How the branches take turns and what they owe each other."""

    schedule: Literal["alternate", "joint"] = "alternate"
    """Updates of L_match and of L_rec by turns (the paper), or both at once: the stop-gradients keep them apart either
    way, but joint needs one forward of each branch for both. Host and CSR see as many batches, the same ones, in
    either."""
    period: PositiveInt = 1
    """Updates of L_match before as many of L_rec, when alternating."""
    teacher: Literal["self", "average"] = "self"
    """Whose attentions are taught (psi): those of the same forward pass, with its dropout, or those of the moving
    average of the weights (model.head.pseudo_labels.teacher_decay), without dropout."""
    match_weight: NonNegativeFloat = 1.5
    """lambda 1: weight of MSE(A_KSM, sg A_CSR) in L_match (eq 19)."""
    reconstruct_weight: NonNegativeFloat = 1.5
    """lambda 2: weight of MSE(A_CSR, sg A_KSM) in L_rec (eq 20)."""


def updates_of(step: int, recipe: DpidRecipe, *, total_steps: int) -> list[tuple[Phase, int]]:
    """What `step` minimises, when there is a reconstruction branch, and on the batch of which step.

    Every step updates the host. Alternating, each `period` steps are followed by as many updates of CSR on their
    batches; what remains at the end is not left out.
    """
    if recipe.schedule == "joint":
        return [("joint", step)]
    if (step + 1) % recipe.period and step + 1 < total_steps:
        return [("match", step)]
    first = step - step % recipe.period
    return [("match", step), *(("reconstruct", owed) for owed in range(first, step + 1))]
