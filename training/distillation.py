"""Dual Prior Interactive Distillation (eqs 19 and 20): the two branches teach each other's attention."""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt

from cache.recipe import Recipe

Phase = Literal["match", "reconstruct", "joint"]


class DpidRecipe(Recipe):
    """How the branches take turns and what they owe each other."""

    schedule: Literal["alternate", "joint"] = "alternate"
    """Turns of L_match and L_rec (the paper), or both at every step: the stop-gradients keep them apart either way, but
    joint needs one forward of each branch for both."""
    period: PositiveInt = 1
    """Steps of L_match before as many of L_rec, when alternating."""
    teacher: Literal["self", "average"] = "self"
    """Whose attentions are taught (psi): those of the same forward pass, with its dropout, or those of the moving
    average of the weights (model.head.pseudo_labels.teacher_decay), without dropout."""
    match_weight: NonNegativeFloat = 1.5
    """lambda 1: weight of MSE(A_KSM, sg A_CSR) in L_match (eq 19)."""
    reconstruct_weight: NonNegativeFloat = 1.5
    """lambda 2: weight of MSE(A_CSR, sg A_KSM) in L_rec (eq 20)."""


def phase_of(step: int, recipe: DpidRecipe) -> Phase:
    """Which losses `step` minimises, when there is a reconstruction branch."""
    if recipe.schedule == "joint":
        return "joint"
    return "match" if step // recipe.period % 2 == 0 else "reconstruct"
