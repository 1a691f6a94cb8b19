"""Dual Prior Interactive Distillation (eqs 19 and 20): the attentions of the two branches are distilled into each
other."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor

from cache.recipe import Recipe
from training.nn.losses import attention_mse

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
    gate: Literal["none", "confident"] = "none"
    """Snippets over which the two MSE are means: none = all of them (the paper); confident = A_KSM teaches A_CSR only
    where it is lowest in the video, as background, and A_CSR teaches A_KSM only where it is highest, as foreground. The
    idea is that of Ju et al. (CVPR 2023), for two hosts."""
    background: float = Field(default=0.4, gt=0, le=1)
    """gate=confident: share of a video's snippets, those of lowest A_KSM, that teach A_CSR."""
    foreground: float = Field(default=0.2, gt=0, le=1)
    """gate=confident: share of a video's snippets, those of highest A_CSR, that teach A_KSM."""


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


def match_distance(
    attention_ksm: Float[Tensor, "b t"],
    teacher_csr: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    recipe: DpidRecipe,
) -> Float[Tensor, ""]:
    """MSE(A_KSM, sg A_CSR) of eq 19, over the snippets that A_CSR is sure to be foreground if that is asked for."""
    if recipe.gate == "confident":
        mask = mask & lowest_share(-teacher_csr, mask, recipe.foreground)
    return attention_mse(attention_ksm, teacher_csr, mask)


def reconstruct_distance(
    attention_csr: Float[Tensor, "b t"],
    teacher_ksm: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    recipe: DpidRecipe,
) -> Float[Tensor, ""]:
    """MSE(A_CSR, sg A_KSM) of eq 20, over the snippets that A_KSM is sure to be background if that is asked for."""
    if recipe.gate == "confident":
        mask = mask & lowest_share(teacher_ksm, mask, recipe.background)
    return attention_mse(attention_csr, teacher_ksm, mask)


@torch.no_grad()
def lowest_share(values: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"], share: float) -> Bool[Tensor, "b t"]:
    """The real snippets whose rank, counted from the lowest of their video, is at most `share` of its length.

    Equal values have their mean rank, so they are in together or not at all: a flat curve has no lowest snippets (where
    `share` is below a half).
    """
    hidden = values.masked_fill(~mask, torch.inf).contiguous()
    ordered = hidden.sort(dim=1).values
    below = torch.searchsorted(ordered, hidden)
    up_to = torch.searchsorted(ordered, hidden, right=True)
    return mask & (below + up_to <= 2 * share * mask.sum(dim=1, keepdim=True))
