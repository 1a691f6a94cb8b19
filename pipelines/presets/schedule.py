"""A host's schedule as changes of the training's recipe. docs/hosts.md gives the source of each."""

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
    """All fields of a schedule, so that none is left over from another host. All public code uses Adam without warm-up;
    code that subsamples long videos also repeats the snippets of short ones."""
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
