"""The learning-rate schedule that the demo's checkpoints were trained with."""

from math import cos, pi

import torch


def one_cycle(optimizer: torch.optim.Optimizer, step: int, steps: int, peak: float) -> None:
    """Set the rate of a step: linear warm-up over 5% of the steps, then cosine decay to a hundredth of the peak."""
    warm = max(1, steps // 20)
    rate = step / warm if step < warm else 0.01 + 0.495 * (1 + cos(pi * (step - warm) / max(1, steps - warm)))
    for group in optimizer.param_groups:
        group["lr"] = peak * min(1.0, rate)
