"""Inference cost of a model beside that of its host: parameters and FLOPs."""

from typing import Any

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cache.recipe import Recipe
from training.checkpoints.checkpoint import Trained


class Footprint(Recipe):
    """Parameters (weights and class queries) and FLOPs for one video."""

    snippets: PositiveInt
    """Length of the video that FLOPs are counted for."""
    host_parameters: NonNegativeInt
    """Parameters of the host."""
    query_parameters: NonNegativeInt
    """Size of KSM's stored class queries."""
    head_parameters: NonNegativeInt
    """Parameters of the localization head."""
    unread_parameters: NonNegativeInt
    """Parameters of the checkpoint that inference does not read: text tower, CSR, word vectors."""
    host_flops: NonNegativeInt
    """FLOPs of the host alone, including its video scores. A multiply-add counts as two."""
    flops: NonNegativeInt
    """FLOPs of everything that inference runs."""

    @property
    def parameters(self) -> int:
        """All parameters that inference holds."""
        return self.host_parameters + self.query_parameters + self.head_parameters


@torch.inference_mode()
def footprint(trained: Trained, *, snippets: int) -> Footprint:
    """Count on one random video of `snippets` snippets: matrix products, convolutions and attention, as torch counts
    them. Element-wise operations, sorting and solvers are not counted."""
    model = trained.model
    device = next(model.parameters()).device
    features = torch.rand(1, snippets, trained.state.grid.width, device=device)
    mask = torch.ones(1, snippets, dtype=torch.bool, device=device)
    with FlopCounterMode(display=False) as of_host:
        model.host.video_scores(model.host(features, mask), mask)
    with FlopCounterMode(display=False) as of_all:
        model.localize_forward(features, mask)
    return Footprint(
        snippets=snippets,
        host_parameters=_numbers(model.host),
        query_parameters=_numbers(model.ksm),
        head_parameters=_numbers(model.head),
        unread_parameters=trained.unread,
        host_flops=of_host.get_total_flops(),
        flops=of_all.get_total_flops(),
    )


def _numbers(module: nn.Module | None) -> int:
    state: dict[str, Any] = {} if module is None else module.state_dict()
    return sum(value.numel() for value in state.values())
