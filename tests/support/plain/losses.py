"""Loss terms as their equations have them: nested loops over videos, snippets and classes, on plain numbers.

An independent second form of training/nn/losses.py. T-CAMs and attentions come as tensors with padding; `lengths` are
the real snippets of each video.
"""

import math
from collections.abc import Sequence

import torch

Curves = Sequence[Sequence[float]]


def videos_of(values: torch.Tensor, lengths: Sequence[int]) -> list:
    """The real snippets of each video as lists."""
    return [rows[:length] for rows, length in zip(values.tolist(), lengths, strict=True)]


def softmax(scores: Sequence[float]) -> list[float]:
    """exp over its sum."""
    powers = [math.exp(score) for score in scores]
    return [power / sum(powers) for power in powers]


def plain_mil(
    cas: torch.Tensor, lengths: Sequence[int], labels: torch.Tensor, *, background: float, ratio: int
) -> float:
    """Cross-entropy of the mean of each class's top t // ratio snippets (one at least), a softmax over all classes."""
    costs = []
    for video, present in zip(videos_of(cas, lengths), labels.tolist(), strict=True):
        best = max(1, len(video) // ratio)
        means = [sum(sorted(column, reverse=True)[:best]) / best for column in zip(*video, strict=True)]
        targets = [*present, background]
        shares = [target / (sum(targets) + 1e-4) for target in targets]
        costs.append(-sum(share * math.log(p) for share, p in zip(shares, softmax(means), strict=True)))
    return sum(costs) / len(costs)


def plain_suppressed(cas: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    """A (S - m) + m, m the lowest score of the snippet."""
    rows = [
        [[a * (score - min(scores)) + min(scores) for score in scores] for scores, a in zip(video, own, strict=True)]
        for video, own in zip(cas.tolist(), attention.tolist(), strict=True)
    ]
    return torch.tensor(rows)


def plain_norm(attention: torch.Tensor, lengths: Sequence[int]) -> float:
    """Mean over videos of the mean attention."""
    return _mean(_mean(video) for video in videos_of(attention, lengths))


def plain_guide(cas: torch.Tensor, attention: torch.Tensor, lengths: Sequence[int]) -> float:
    """Mean over videos of the mean |1 - A - background probability|."""
    videos = zip(videos_of(cas, lengths), videos_of(attention, lengths), strict=True)
    return _mean(
        _mean(abs(1 - a - softmax(scores)[-1]) for scores, a in zip(video, own, strict=True)) for video, own in videos
    )


def _mean(values) -> float:  # an iterable of numbers
    numbers = list(values)
    return sum(numbers) / len(numbers)
