"""Dual Prior Interactive Distillation (eqs 19 and 20): the attentions of the two branches are distilled into each
other."""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt

from cache.recipe import Recipe

Phase = Literal["match", "reconstruct", "joint"]


class DpidRecipe(Recipe):
    """Schedule, teacher and weights of the distillation."""

    schedule: Literal["alternate", "joint"] = "alternate"
    """alternate = separate updates by L_match and L_rec in turn (the paper); joint = both losses in one update.
    Stop-gradients separate the branches in both, but joint needs only one forward pass of each. Host and CSR see the
    same batches in both."""
    period: PositiveInt = 1
    """schedule=alternate: number of updates by L_match before as many by L_rec."""
    teacher: Literal["self", "average"] = "self"
    """Attentions that serve as targets (psi): self = those of the same forward pass, with its dropout; average = those
    of the moving average of the weights (model.head.pseudo_labels.teacher_decay), without dropout."""
    match_weight: NonNegativeFloat = 1.5
    """lambda 1: weight of MSE(A_KSM, sg A_CSR) in L_match (eq 19)."""
    reconstruct_weight: NonNegativeFloat = 1.5
    """lambda 2: weight of MSE(A_CSR, sg A_KSM) in L_rec (eq 20)."""


def updates_of(step: int, recipe: DpidRecipe, *, total_steps: int) -> list[tuple[Phase, int]]:
    """The updates made at `step` of a model with CSR: pairs of phase and the step whose batch is used.

    Every step updates the host. When alternating, every `period` steps are followed by as many updates of CSR on the
    same batches; fewer than `period` steps at the end of training are followed by as many, too.
    """
    if recipe.schedule == "joint":
        return [("joint", step)]
    if (step + 1) % recipe.period and step + 1 < total_steps:
        return [("match", step)]
    first = step - step % recipe.period
    return [("match", step), *(("reconstruct", owed) for owed in range(first, step + 1))]
