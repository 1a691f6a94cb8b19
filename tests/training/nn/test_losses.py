"""Loss terms against plain loops and hand-computed figures."""

import math

import numpy as np
import pytest
import torch

from training.nn.layers import average_pool, masked_mean
from training.nn.losses import (
    attention_mse,
    classification_loss,
    guide_loss,
    mil_loss,
    mutual_loss,
    norm_loss,
    pair_loss,
    suppress,
    top_weights,
    topk_mean,
)

LENGTHS = (9, 5, 14)
LABELS = torch.tensor([[1.0, 0, 1], [1, 0, 0], [0, 1, 0]])


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Random outputs of a host, with rubbish at padding that no loss may read."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(14) < torch.tensor(LENGTHS)[:, None]
    cas = 3 * torch.randn(3, 14, 4, generator=generator)
    attention = torch.rand(3, 14, generator=generator)
    embedding = torch.randn(3, 14, 6, generator=generator)
    rubbish = ~mask
    cas[rubbish], attention[rubbish], embedding[rubbish] = 50.0, 9.0, -7.0
    return {"mask": mask, "cas": cas, "attention": attention, "embedding": embedding}


def softmax(values: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_suppress_by_hand():
    """A (S - m) + m: no attention gives the lowest score of the snippet, full attention the scores themselves."""
    cas = torch.tensor([[[1.0, -3, 5], [2, 4, 6], [1, 2, 3]]])
    found = suppress(cas, torch.tensor([[0.0, 1.0, 0.5]]))
    assert torch.equal(found, torch.tensor([[[-3.0, -3, -3], [2, 4, 6], [1, 1.5, 2]]]))


def test_topk_mean_uses_each_videos_own_length(batch: dict[str, torch.Tensor]):
    """k = max(1, t // ratio) of the true t, per class; padding is never among them."""
    found = topk_mean(batch["cas"], batch["mask"], ratio=4)
    for row, length in enumerate(LENGTHS):
        own = np.sort(batch["cas"][row, :length].numpy(), axis=0)[::-1]
        assert np.allclose(found[row], own[: max(1, length // 4)].mean(0), atol=1e-6)
    assert torch.equal(topk_mean(batch["cas"], batch["mask"], ratio=100)[1], batch["cas"][1, :5].amax(0))


def test_top_weights_average_the_snippets_of_highest_key(batch: dict[str, torch.Tensor]):
    """1 / k at the k = max(1, t // ratio) real snippets of highest key, 0 elsewhere; keys get no gradient."""
    keys = batch["attention"].clone().requires_grad_()
    found = top_weights(keys, batch["mask"], ratio=3)
    assert not found.requires_grad
    for row, length in enumerate(LENGTHS):
        count = max(1, length // 3)
        expected = np.zeros(14)
        expected[np.argsort(-batch["attention"][row, :length].numpy())[:count]] = 1 / count
        assert np.allclose(found[row], expected)


def test_classification_loss_by_hand():
    """Multi-hot targets over their sum: equal logits cost log(c + 1) whatever the number of labels."""
    logits = torch.zeros(2, 4)
    labels = torch.tensor([[1.0, 1, 0], [0, 0, 1]])
    assert classification_loss(logits, labels, background=1).item() == pytest.approx(math.log(4), rel=1e-4)
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.1, 0.1]]))
    one = torch.tensor([[1.0, 0, 0]])
    assert classification_loss(logits, one, background=0).item() == pytest.approx(-math.log(0.5), rel=2e-4)
    expected = -(math.log(0.5) + math.log(0.1)) / 2
    assert classification_loss(logits, one, background=1).item() == pytest.approx(expected, rel=2e-4)


def test_a_video_without_labels_costs_nothing():
    """Not NaN."""
    assert classification_loss(torch.randn(1, 4), torch.zeros(1, 3), background=0).item() == 0


def test_mil_loss_restated(batch: dict[str, torch.Tensor]):
    """Top-k mean, softmax over c + 1, cross-entropy with [y, b] / sum; the mean over videos."""
    for background in (0, 1):
        costs = []
        for row, length in enumerate(LENGTHS):
            own = np.sort(batch["cas"][row, :length].numpy(), axis=0)[::-1][: max(1, length // 7)].mean(0)
            target = np.append(LABELS[row].numpy(), background)
            costs.append(-(target / target.sum() * np.log(softmax(own))).sum())
        found = mil_loss(batch["cas"], batch["mask"], LABELS, background=background, ratio=7)
        assert found.item() == pytest.approx(np.mean(costs), rel=2e-4)


def test_pair_loss_restated(batch: dict[str, torch.Tensor]):
    """Attended features of shared classes agree, and differ from the other's unattended ones, over explicit pairs."""
    labels = torch.tensor([[1.0, 0, 1], [1, 1, 1], [0, 1, 0]])
    pairs = torch.tensor([[0, 1], [2, 1], [0, 2]])

    def distance(first: np.ndarray, second: np.ndarray) -> float:
        return 1 - float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))

    total, shared = 0.0, 0
    for pair in pairs.tolist():
        for c in range(3):
            if labels[pair[0], c] * labels[pair[1], c] == 0:
                continue
            high, low = [], []
            for row in pair:
                length = LENGTHS[row]
                features = batch["embedding"][row, :length].numpy()
                weights = softmax(batch["cas"][row, :length, c].numpy())
                high.append(weights @ features)
                low.append((1 - weights) @ features / (length - 1))
            near = distance(high[0], high[1])
            total += 0.5 * max(0, near - distance(high[0], low[1]) + 0.5)
            total += 0.5 * max(0, near - distance(high[1], low[0]) + 0.5)
            shared += 1
    assert shared == 3
    found = pair_loss(batch["embedding"], batch["cas"], batch["mask"], labels, pairs)
    assert found.item() == pytest.approx(total / shared, rel=1e-5)


@pytest.mark.parametrize("pairs", [torch.zeros(0, 2, dtype=torch.int64), torch.tensor([[0, 2]])])
def test_pair_loss_without_shared_class(batch: dict[str, torch.Tensor], pairs: torch.Tensor):
    """No pair, or a pair without a shared class, costs 0 and not NaN, with a gradient of 0."""
    labels = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    embedding = batch["embedding"].requires_grad_()
    loss = pair_loss(embedding, batch["cas"], batch["mask"], labels, pairs)
    loss.backward()
    assert loss.item() == 0
    assert embedding.grad is not None
    assert not embedding.grad.any()


def test_pair_loss_of_one_snippet():
    """A video of one snippet has nothing unattended; that is no division by zero."""
    embedding, cas = torch.randn(2, 1, 4, requires_grad=True), torch.randn(2, 1, 3)
    mask, labels = torch.ones(2, 1, dtype=torch.bool), torch.tensor([[1.0, 0], [1, 0]])
    loss = pair_loss(embedding, cas, mask, labels, torch.tensor([[0, 1]]))
    loss.backward()
    assert loss.isfinite()
    assert embedding.grad is not None
    assert embedding.grad.isfinite().all()


def test_attention_losses_restated(batch: dict[str, torch.Tensor]):
    """Norm, guide, mutual and distillation are means over videos of means over real snippets."""
    mask, cas, first = batch["mask"], batch["cas"], batch["attention"]
    second = 1 - first
    norm, guide, squares = [], [], []
    for row, length in enumerate(LENGTHS):
        a, b = first[row, :length].numpy(), second[row, :length].numpy()
        background = softmax(cas[row, :length].numpy())[:, -1]
        norm.append((a.mean() + b.mean()) / 2)
        guide.append((np.abs(1 - a - background).mean() + np.abs(1 - b - background).mean()) / 2)
        squares.append(((a - b) ** 2).mean())
    assert norm_loss([first, second], mask).item() == pytest.approx(np.mean(norm), rel=1e-5)
    assert guide_loss(cas, [first, second], mask).item() == pytest.approx(np.mean(guide), rel=1e-5)
    assert mutual_loss(first, second, mask).item() == pytest.approx(np.mean(squares), rel=1e-5)
    assert attention_mse(first, second, mask).item() == pytest.approx(np.mean(squares), rel=1e-5)


def test_stop_gradients(batch: dict[str, torch.Tensor]):
    """The teacher of a distillation gets no gradient; in mutual learning each side gets half."""
    first, second = batch["attention"].clone().requires_grad_(), torch.rand(3, 14, requires_grad=True)
    attention_mse(first, second, batch["mask"]).backward()
    assert second.grad is None
    assert first.grad is not None
    full = first.grad.clone()
    third = batch["attention"].clone().requires_grad_()
    mutual_loss(third, second, batch["mask"]).backward()
    assert third.grad is not None
    assert second.grad is not None
    assert torch.allclose(third.grad, 0.5 * full)
    assert torch.allclose(second.grad, -0.5 * full)


def test_masked_mean_of_an_empty_row():
    """0, not NaN."""
    mask = torch.tensor([[True, False], [False, False]])
    assert masked_mean(torch.tensor([[2.0, 9], [9, 9]]), mask).tolist() == [2, 0]


def test_average_pool_by_hand():
    """The mean over neighbours that exist."""
    x = torch.tensor([[[3.0], [6], [9], [100]]])
    mask = torch.tensor([[True, True, True, False]])
    assert average_pool(x, mask, kernel=3).flatten().tolist() == pytest.approx([4.5, 6, 7.5, 0])
    assert average_pool(x, mask, kernel=1) is x
