"""Poolings over time, restated video by video in numpy."""

import numpy as np
import pytest
import torch

from training.nn.losses import topk_mean
from training.nn.pooling import SPREAD, AutoPooling, Pooling, PoolingRecipe

LENGTHS = (9, 1, 40)
KINDS = ("top", "spread", "fitted", "log_sum_exp", "attention", "auto")
SHARPNESS = 1.7


def build(kind: str) -> Pooling:
    """A pooling of four columns; the learned one with another sharpness in each."""
    pooling = PoolingRecipe.model_validate({"kind": kind, "sharpness": SHARPNESS}).build(ratio=5, columns=4)
    if isinstance(pooling, AutoPooling):
        with torch.no_grad():
            pooling.sharpness.copy_(torch.tensor([0.0, 1.0, 2.0, -1.0]))
    return pooling


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores, attention and mask of three videos, with rubbish at padding."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(44) < torch.tensor(LENGTHS)[:, None]
    scores, attention = 3 * torch.randn(3, 44, 4, generator=generator), torch.rand(3, 44, generator=generator)
    scores[~mask], attention[~mask] = 50.0, 9.0
    return scores, attention, mask


def softmax(values: np.ndarray, axis: int) -> np.ndarray:
    """exp over its sum."""
    powers = np.exp(values - values.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def top(scores: np.ndarray, count: float) -> float:
    """The mean of the top `count`, which need not be whole."""
    ranked, left, total = sorted(scores, reverse=True), count, 0.0
    for score in ranked:
        total += min(left, 1.0) * score
        left -= min(left, 1.0)
    return total / count


def restated(kind: str, scores: np.ndarray, attention: np.ndarray) -> list[float]:
    """What one video pools to."""
    length = len(scores)
    shares = softmax(scores, 1).sum(0)
    pooled = []
    for column, own in enumerate(scores.T):
        weights = attention if column < 3 else 1 - attention
        learned = softmax((0.0, 1.0, 2.0, -1.0)[column] * own, 0)
        pooled.append(
            {
                "top": top(own, max(1, length // 5)),
                "spread": np.mean([top(own, max(1, length // ratio)) for ratio in SPREAD]),
                "fitted": top(own, max(1, length // 5, shares[column] if column < 3 else 0)),
                "log_sum_exp": np.log(np.exp(SHARPNESS * own).mean()) / SHARPNESS,
                "attention": (weights * own).sum() / weights.sum(),
                "auto": (learned * own).sum(),
            }[kind]
        )
    return pooled


@pytest.mark.parametrize("kind", KINDS)
def test_each_restated(kind: str, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    """Each video alone, whatever lies behind its last snippet."""
    scores, attention, mask = batch
    found = build(kind)(scores, attention, mask)
    for row, length in enumerate(LENGTHS):
        expected = restated(kind, scores[row, :length].double().numpy(), attention[row, :length].double().numpy())
        assert found[row].tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_between_mean_and_maximum_and_no_gradient_of_padding(
    kind: str, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
) -> None:
    """No pooling leaves the range of the scores; a constant stays what it is; padding is not trained."""
    scores, attention, mask = batch
    scores.requires_grad_()
    pooled = build(kind)(scores, attention, mask)
    pooled.sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert not scores.grad[~mask].any()
    real = mask.unsqueeze(-1)
    assert (pooled <= scores.masked_fill(~real, -torch.inf).amax(1) + 1e-5).all()
    assert (pooled >= scores.masked_fill(~real, torch.inf).amin(1) - 1e-5).all()
    constant = build(kind)(torch.full((3, 44, 4), 2.5), attention, mask)
    assert torch.allclose(constant, torch.full((3, 4), 2.5), atol=1e-5)


def test_the_default_is_the_top_mean_to_the_bit(batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    """What the public code of the hosts does, and no parameter besides."""
    scores, attention, mask = batch
    pooling = PoolingRecipe().build(ratio=7, columns=4)
    assert torch.equal(pooling(scores, attention, mask), topk_mean(scores, mask, ratio=7))
    assert not pooling.state_dict()


def test_limits_of_the_smooth_maximum(batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    """Near a sharpness of 0 the mean, at a large one the maximum; a learned sharpness starts where it is told."""
    scores, attention, mask = batch
    own = scores[0, :9]
    for sharpness, expected in ((1e-3, own.mean(0)), (1e3, own.amax(0))):
        recipe = PoolingRecipe(kind="log_sum_exp", sharpness=sharpness)
        assert torch.allclose(recipe.build(ratio=1, columns=4)(scores, attention, mask)[0], expected, atol=1e-2)
    learned = PoolingRecipe(kind="auto", sharpness=0.5).build(ratio=1, columns=4)
    assert isinstance(learned, AutoPooling)
    assert learned.sharpness.tolist() == [0.5] * 4


def test_a_fitted_share_follows_the_data() -> None:
    """A class that fills half of a video is pooled over half of it, one that is nowhere over the least share."""
    scores = torch.zeros(1, 40, 3)
    scores[0, :20, 0], scores[0, 20:, 2] = 30.0, 30.0
    scores[0, 5, 1] = 1.0
    for ratio, nowhere in ((40, 1.0), (8, 0.2)):
        pooling = PoolingRecipe(kind="fitted").build(ratio=ratio, columns=3)
        found = pooling(scores, torch.ones(1, 40), torch.ones(1, 40) > 0)
        assert found[0].tolist() == pytest.approx([30.0, nowhere, 30.0], abs=1e-3)
        fewer = pooling(scores.roll(1, dims=-1), torch.ones(1, 40), torch.ones(1, 40) > 0)
        assert fewer[0, 1:].tolist() == pytest.approx([30.0, nowhere], abs=1e-3)
