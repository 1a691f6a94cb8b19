"""Pseudo segments out of constructed T-CAMs whose right answer is known."""

import numpy as np
import pytest
import torch
from torch import Tensor

from training.model.pseudo_labels import PseudoBatch, PseudoLabelRecipe, PseudoSegments, pseudo_segments

LABELS = torch.tensor([1.0, 0.0, 1.0])


def curves(*spans: tuple[int, int, int, float], length: int = 40, ambient: float = 0.05) -> tuple[Tensor, Tensor]:
    """T-CAM (t, 3) with plateaus (start, end, class, height), and an attention that is high on all of them."""
    cas, attention = torch.full((length, 3), ambient), torch.full((length,), 0.1)
    for start, end, label, height in spans:
        cas[start:end, label] = height
        attention[start:end] = 0.9
    return cas, attention


MERGES = ("fuse", "nms", "ricker")


@pytest.mark.parametrize("merge", ["fuse", "nms"])
def test_plateaus_become_segments_with_soft_weights(merge: str) -> None:
    """Each plateau of a labelled class is one segment; the best of a class has weight 1, a lower one its share."""
    cas, attention = curves((5, 12, 0, 0.9), (20, 24, 0, 0.6), (30, 38, 2, 0.4))
    found = pseudo_segments(cas, attention, LABELS, PseudoLabelRecipe.model_validate({"merge": merge}))
    assert found.label.tolist() == [0, 0, 2]
    torch.testing.assert_close(found.start, torch.tensor([5.0, 20, 30]))
    torch.testing.assert_close(found.end, torch.tensor([12.0, 24, 38]))
    ambient = 0.05 * 0.1
    share = (0.6 * 0.9 - ambient) / (0.9 * 0.9 - ambient)
    torch.testing.assert_close(found.weight, torch.tensor([1.0, share, 1.0]))


def test_votes_of_plateaus() -> None:
    """merge=ricker: each plateau is a segment again; a lower one has fewer thresholds to vote for it, so it weighs
    less than its share."""
    cas, attention = curves((4, 12, 0, 0.9), (22, 28, 0, 0.6), (30, 38, 2, 0.4))
    found = pseudo_segments(cas, attention, LABELS, PseudoLabelRecipe(merge="ricker", keep=0.1))
    assert found.label.tolist() == [0, 0, 2]
    torch.testing.assert_close(found.start, torch.tensor([4.0, 22, 30]), atol=0.2, rtol=0)  # lobes reach over
    torch.testing.assert_close(found.end, torch.tensor([12.0, 28, 38]), atol=0.2, rtol=0)  # lobes reach over
    votes, share = 6 / 9, (0.6 * 0.9 - 0.005) / (0.9 * 0.9 - 0.005)
    assert found.weight[0] == found.weight[2] == 1
    assert found.weight[1].item() == pytest.approx(votes * share, rel=0.05)


def test_agreement_restated() -> None:
    """Scores are multiplied by the mean over thresholds of the tIoU with what each proposes, to the power asked for."""
    curve = torch.tensor([0.0, 0.0, 0.35, 0.35, 1.0, 1.0, 0.0, 0.0])
    one, flat = torch.tensor([1.0]), torch.full((8,), 0.5)
    thresholds, spans = (0.2, 0.5, 0.8), {(2.0, 6.0): 0.0, (4.0, 6.0): 0.0}
    for power in (0.0, 1.0, 2.0):
        recipe = PseudoLabelRecipe(thresholds=thresholds, agreement=power, merge="nms", tiou=0.9, keep=0.0)
        found = pseudo_segments(curve[:, None], flat, one, recipe)
        for span in spans:
            outer = 0.35 / 2 if span[0] == 4 else 0.0  # mean of the margin of half a snippet or one on either side
            agreement = (1 + 2 / 2) / 3 if span[0] == 2 else (1 / 2 + 1 + 1) / 3
            inner = (2 * 0.35 + 2) / 4 if span[0] == 2 else 1.0
            spans[span] = (inner - outer) * 0.5 * agreement**power
        best = max(spans.values())
        shown = {
            (s, e): w for s, e, w in zip(found.start.tolist(), found.end.tolist(), found.weight.tolist(), strict=True)
        }
        assert shown == pytest.approx({span: score / best for span, score in spans.items()}, rel=1e-5)


def test_other_classes_never_appear() -> None:
    """The strongest curve of all makes no segment if the video is not labelled with its class."""
    cas, attention = curves((5, 12, 1, 1.0), (20, 24, 0, 0.3))
    found = pseudo_segments(cas, attention, LABELS, PseudoLabelRecipe())
    assert 1 not in found.label.tolist()
    assert found.start[found.label == 0].tolist() == [20.0]
    for voters in (("fused",), ("attention",), ("cas", "attention")):
        recipe = PseudoLabelRecipe.model_validate({"curves": voters})
        assert len(pseudo_segments(cas, attention, torch.zeros(3), recipe).start) == 0


def test_weak_segments_fall_out() -> None:
    """A plateau under the kept share of the best is dropped; with no such floor it stays."""
    cas, attention = curves((5, 12, 0, 0.9), (20, 26, 0, 0.3))
    only_best = torch.tensor([1.0, 0, 0])
    assert len(pseudo_segments(cas, attention, only_best, PseudoLabelRecipe(keep=0.5)).start) == 1
    assert len(pseudo_segments(cas, attention, only_best, PseudoLabelRecipe(keep=0.1)).start) == 2
    assert len(pseudo_segments(cas, attention, only_best, PseudoLabelRecipe(keep=0.1, most=1)).start) == 1


def test_attention_completes_what_the_classifier_sees_in_part() -> None:
    """The T-CAM fires on the core alone, the attention on the whole action: letting it vote makes a longer segment."""
    cas, attention = curves((14, 18, 0, 0.9), ambient=0.5)
    attention[10:22] = 0.9
    one = torch.tensor([1.0, 0, 0])
    spans = {}
    for voters in (("cas",), ("cas", "attention")):
        recipe = PseudoLabelRecipe.model_validate({"curves": voters, "tiou": 0.2, "temperature": 10.0})
        found = pseudo_segments(cas, attention, one, recipe)
        spans[voters] = (found.start[0].item(), found.end[0].item())
    assert spans[("cas",)] == (14, 18)
    assert spans[("cas", "attention")][0] < 14
    assert spans[("cas", "attention")][1] > 18


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("agreement", [0.0, 1.0])
def test_weights_and_bounds_of_noise(merge: str, agreement: float) -> None:
    """Whatever the curves: bounds within the video, weights in (0, 1], the best of each class at 1."""
    recipe = PseudoLabelRecipe.model_validate({"merge": merge, "agreement": agreement})
    generator = torch.Generator().manual_seed(0)
    for length in (1, 2, 9, 50):
        cas = torch.rand(length, 3, generator=generator)
        attention = torch.rand(length, generator=generator)
        found = pseudo_segments(cas, attention, LABELS, recipe)
        assert ((found.start >= 0) & (found.end <= length) & (found.start < found.end)).all()
        assert ((found.weight > 0) & (found.weight <= 1)).all()
        for label in found.label.unique():
            assert found.weight[found.label == label].max() == 1


@pytest.mark.parametrize("merge", MERGES)
def test_nothing_stands_out(merge: str) -> None:
    """A class that the teacher gives probability 0 everywhere has no segment; an empty video has none either."""
    recipe = PseudoLabelRecipe.model_validate({"merge": merge})
    nothing = pseudo_segments(torch.zeros(10, 3), torch.full((10,), 0.5), LABELS, recipe)
    assert len(nothing.start) == 0
    assert nothing.label.dtype == torch.int64
    assert len(pseudo_segments(torch.zeros(0, 3), torch.zeros(0), LABELS, recipe).start) == 0


def test_gradient_does_not_flow_and_input_is_kept() -> None:
    """The teacher is not taught by its own labels, and its outputs are left as they were."""
    cas, attention = curves((5, 12, 0, 0.9))
    before = cas.clone()
    found = pseudo_segments(cas.requires_grad_(), attention, LABELS, PseudoLabelRecipe())
    assert not found.weight.requires_grad
    np.testing.assert_array_equal(cas.detach(), before)


def test_videos_are_padded_by_segments_of_weight_0():
    """Every figure of every segment stays as it is, and each video has padding behind them."""
    one = PseudoSegments(torch.tensor([0.1, 301.3]), torch.tensor([9.7, 306.6]), torch.tensor([199, 0]), torch.rand(2))
    none = PseudoSegments(torch.zeros(0), torch.zeros(0), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    found = PseudoBatch.pad([one, none])
    for name, values in vars(one).items():
        padded = getattr(found, name)
        assert padded.dtype == values.dtype
        assert torch.equal(padded[0, :2], values)
    assert found.weight.shape == (2, 3)
    assert not found.weight[0, 2:].any()
    assert not found.weight[1].any()
