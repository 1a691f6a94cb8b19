"""Forms of the public code, by hand and against the corrected ones. Parity with public code is in test_parity.py."""

import pytest
import torch

from training.compat.forms import LogitDropout, argsort_as_rank, average_with_zeros, product_scores
from training.hosts.evidential import uncertainty_rank
from training.nn.losses import suppress


def test_average_with_zeros_by_hand():
    """The public code divides by the kernel at the edges, too; padding counts as zero and stays zero."""
    x = torch.tensor([[[3.0], [6], [9], [100]]])
    mask = torch.tensor([[True, True, True, False]])
    assert average_with_zeros(x, mask, kernel=3).flatten().tolist() == pytest.approx([3, 6, 5, 0])
    assert average_with_zeros(x, mask, kernel=1) is x


def test_argsort_is_no_rank():
    """It names the snippet that a rank belongs to; both agree where the order is its own inverse."""
    uncertainty, mask = torch.tensor([[0.3, 0.1, 0.2, 0.0]]), torch.tensor([[True, True, True, False]])
    assert argsort_as_rank(uncertainty, mask).tolist() == [[1, 2, 0, 3]]
    assert uncertainty_rank(uncertainty, mask).tolist() == [[2, 0, 1, 3]]


def test_product_reverses_negative_scores():
    """A lower attention raises a negative score; suppression leaves the lowest one where it is."""
    cas, attention = torch.tensor([[[-2.0, -4.0], [-2.0, -4.0]]]), torch.tensor([[1.0, 0.5]])
    assert product_scores(cas, attention).tolist() == [[[-2, -4], [-1, -2]]]
    assert suppress(cas, attention).tolist() == [[[-2, -4], [-3, -4]]]


def test_a_dropped_logit_is_zero():
    """Its attention is 0.5; at test time nothing is dropped."""
    logits = torch.full((1, 1000), 3.0)
    drop = LogitDropout(0.5)
    torch.manual_seed(0)
    assert set(drop.train()(logits).unique().tolist()) == {0.0, 6.0}
    assert torch.equal(drop.eval()(logits), logits)
