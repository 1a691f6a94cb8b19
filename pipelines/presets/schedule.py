"""A host's schedule as changes of a training's recipe. Where each comes from stands in docs/hosts.md."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.presets.method import Changes


def schedule(
    *,
    steps: int,
    lr: float,
    decay: float,
    snippets: int | None,
    pairs: int,
    singles: int,
    betas: tuple[float, float] = (0.9, 0.999),
    accumulate: int = 1,
    milestones: Sequence[tuple[float, float]] = (),
) -> Changes:
    """Every field of a schedule, so that nothing of another host's remains. All public code uses Adam without warm-up,
    and whoever resamples long videos repeats the snippets of short ones, too."""
    return {
        "data.num_snippets": snippets,
        "data.stretch": snippets is not None,
        "data.num_pairs": pairs,
        "data.singles": singles,
        "loop.steps": steps,
        "loop.accumulate": accumulate,
        "loop.optimizer": "adam",
        "loop.host_lr": lr,
        "loop.host_weight_decay": decay,
        "loop.host_betas": list(betas),
        "loop.warmup": 0,
        "loop.schedule": "steps" if milestones else "constant",
        "loop.milestones": [list(milestone) for milestone in milestones],
    }
