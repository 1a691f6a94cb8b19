"""The localization head: its pyramid, who teaches which point, the three terms of eq 18, and decoding."""

import functools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.model.localization_head import (
    HeadOutput,
    HeadRecipe,
    LocalizationHead,
    assign,
    decode,
    diou_loss,
    focal_loss,
    head_loss,
    pooled_mil,
)
from training.model.pseudo_labels import PseudoBatch, PseudoSegments

SMALL = HeadRecipe(width=8, levels=4)


def segments(*rows: tuple[float, float, int, float]) -> PseudoSegments:
    """(start, end, label, weight) of one video."""
    start, end, label, weight = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4).unbind(dim=1)
    return PseudoSegments(start.clone(), end.clone(), label.long(), weight.clone())


def batch(*videos: PseudoSegments) -> PseudoBatch:
    """Those of several videos."""
    return PseudoBatch.pad(videos)


def mask_of(*lengths: int) -> Tensor:
    """True on the snippets of each video."""
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


@functools.cache
def grid(length: int, *, levels: int = 5, classes: int = 2, videos: int = 1) -> HeadOutput:
    """An output that says nothing, on the pyramid of `length` snippets."""
    head = LocalizationHead(3, classes, HeadRecipe(width=4, levels=levels))
    with torch.no_grad():
        return head(torch.zeros(videos, length, 3), torch.ones(videos, length, dtype=torch.bool))


def test_padding_changes_nothing() -> None:
    """A padded batch gives the numbers that each video gives alone, whatever stands in the padding."""
    torch.manual_seed(0)
    lengths = (1, 2, 5, 16, 21)
    head = LocalizationHead(6, 3, HeadRecipe(width=8, depth=2))
    mask = mask_of(*lengths)
    embedding = torch.randn(len(lengths), max(lengths), 6)
    together = head(embedding, mask)
    for row, length in enumerate(lengths):
        alone = head(embedding[row : row + 1, :length], torch.ones(1, length, dtype=torch.bool))
        real = together.mask[row]
        assert alone.mask.all()
        torch.testing.assert_close(together.points[real], alone.points)
        torch.testing.assert_close(together.logits[row, real], alone.logits[0])
        torch.testing.assert_close(together.offsets[row, real], alone.offsets[0])


@pytest.mark.parametrize("length", [1, 7, 32, 33])
def test_points(length: int) -> None:
    """Level l has ceil(T / 2^l) points, at the centres of every 2^l-th snippet; distances are never negative."""
    output = grid(length)
    for stride in (1, 2, 4, 8, 16):
        points = output.points[output.strides == stride]
        assert points.tolist() == [k + 0.5 for k in range(0, length, stride)]
    assert (output.offsets >= 0).all()
    assert output.mask.all()
    # of the same feature, a level of twice the stride reads twice the distance
    same = output.offsets / output.strides[:, None]
    torch.testing.assert_close(same, same[:, :1].expand_as(same))


def test_levels_do_not_leak() -> None:
    """The towers see each level alone: what a level's last point says does not depend on the next level's first."""
    torch.manual_seed(0)
    head = LocalizationHead(4, 2, HeadRecipe(width=4, levels=2))
    embedding = torch.randn(1, 8, 4, requires_grad=True)
    output = head(embedding, torch.ones(1, 8, dtype=torch.bool))
    output.logits[0, 7].sum().backward()  # the last point of level 0
    assert embedding.grad is not None
    assert embedding.grad[0, :4].abs().max() == 0
    assert embedding.grad[0, 6].abs().max() > 0


def test_untrained_probability_is_the_prior() -> None:
    """The first class probabilities are near the prior, so that the first focal losses are small."""
    torch.manual_seed(0)
    head = LocalizationHead(6, 3, HeadRecipe(prior=0.01))
    output = head(torch.randn(2, 20, 6), torch.ones(2, 20, dtype=torch.bool))
    assert output.logits.sigmoid().mean().item() == pytest.approx(0.01, rel=0.3)


@settings(max_examples=120, deadline=None)
@given(st.integers(1, 100), st.integers(1, 5), st.sampled_from([0.5, 1.5]), st.sampled_from([2.0, 3.0, 4.0]), st.data())
def test_every_segment_has_a_point(length: int, levels: int, radius: float, reach: float, data: st.DataObject) -> None:
    """Whatever segment of at least one snippet: some point of the pyramid learns it."""
    size = data.draw(st.floats(1, length))
    start = data.draw(st.floats(0, 1)) * (length - size)
    output = grid(length, levels=levels)
    recipe = HeadRecipe(levels=levels, radius=radius, reach=reach)
    # the proof is one of real numbers: a thousandth of a snippet for rounding
    targets = assign(output, batch(segments((start - 1e-3, start + size + 1e-3, 1, 1.0))), recipe=recipe)
    assert targets.positive.any()
    assert targets.classes[..., 1].max() == 1


def test_who_teaches_a_point() -> None:
    """Plain restatement: inside, near the centre, at the level of the farther boundary, shortest first."""
    torch.manual_seed(1)
    recipe = HeadRecipe()
    output = grid(60, classes=3, videos=2)
    rows = [[(3.0, 9.0, 0, 0.5), (5.0, 30.0, 1, 1.0), (4.2, 5.3, 2, 0.8)], [(0.0, 60.0, 1, 0.3), (22.0, 28.0, 1, 0.9)]]
    targets = assign(output, batch(*(segments(*video) for video in rows)), recipe=recipe)
    for b, video in enumerate(rows):
        for p, (x, stride) in enumerate(zip(output.points.tolist(), output.strides.tolist(), strict=True)):
            claims = []
            for start, end, label, weight in video:
                far = max(x - start, end - x)
                low, high = (0 if stride == 1 else stride), (math.inf if stride == 16 else 2 * stride)
                near = abs(x - (start + end) / 2) <= 1.5 * stride
                if start <= x <= end and near and low <= far < high:
                    claims.append((end - start, start, end, label, weight))
            assert targets.positive[b, p].item() == bool(claims)
            expected = torch.zeros(3)
            if claims:
                _, start, end, label, weight = min(claims)
                expected[label] = weight
                torch.testing.assert_close(targets.offsets[b, p], torch.tensor([x - start, end - x]))
                assert targets.weight[b, p].item() == pytest.approx(weight)
            torch.testing.assert_close(targets.classes[b, p], expected)
            losers = {label for _, _, _, label, _ in claims if expected[label] == 0}
            assert set(targets.ignored[b, p].nonzero()[:, 0].tolist()) == losers


def test_same_segment_of_two_classes_is_multi_label() -> None:
    """Diving and CliffDiving are annotated together: both are asked for, each with its own weight."""
    targets = assign(grid(30), batch(segments((10, 16, 0, 0.4), (10, 16, 1, 0.9))), recipe=HeadRecipe())
    asked = targets.classes[targets.positive]
    assert len(asked) > 0
    torch.testing.assert_close(asked, torch.tensor([[0.4, 0.9]]).expand(len(asked), 2))
    assert not targets.ignored.any()


def test_points_in_the_padding_learn_nothing() -> None:
    """A pseudo segment that runs into the padding has its real points alone."""
    head = LocalizationHead(3, 1, SMALL)
    output = head(torch.zeros(2, 20, 3), mask_of(12, 20))
    targets = assign(output, batch(*[segments((8, 18, 0, 1.0))] * 2), recipe=SMALL)
    assert not (targets.positive & ~output.mask).any()
    assert targets.positive[1].sum() > targets.positive[0].sum()


def test_focal_is_the_usual_one_for_hard_targets() -> None:
    """alpha (1 - p)^2 (-log p) for positives, (1 - alpha) p^2 (-log(1 - p)) for negatives."""
    logits = torch.tensor([0.3, -1.2])
    p = logits.sigmoid()
    expected = torch.stack([0.25 * (1 - p[0]) ** 2 * -p[0].log(), 0.75 * p[1] ** 2 * -(1 - p[1]).log()])
    torch.testing.assert_close(focal_loss(logits, torch.tensor([1.0, 0.0]), alpha=0.25, gamma=2.0), expected)


def test_focal_rests_at_a_soft_target() -> None:
    """Between 0 and 1 the loss vanishes where probability and target agree, and pulls towards the target elsewhere."""
    target = torch.full((3,), 0.7)
    logits = torch.tensor([0.2, 0.7, 0.95]).logit().requires_grad_()
    loss = focal_loss(logits, target, alpha=0.25, gamma=2.0)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss[1].item() == pytest.approx(0, abs=1e-9)
    assert gradient[0] < 0 < gradient[2]


def test_diou_by_hand() -> None:
    """Equal segments cost 0; [-2, 2] against [-1, 3] costs 1 - 3/5 + (1/5)^2."""
    offsets = torch.tensor([[2.0, 2.0], [2.0, 2.0]])
    target = torch.tensor([[2.0, 2.0], [1.0, 3.0]])
    torch.testing.assert_close(diou_loss(offsets, target), torch.tensor([0.0, 1 - 3 / 5 + (1 / 5) ** 2]))
    assert torch.isfinite(diou_loss(torch.zeros(1, 2), torch.zeros(1, 2))).all()


def test_pooled_mil_by_hand() -> None:
    """Each class is the mean of its best points/pool, softmax over classes; padding counts nothing."""
    torch.manual_seed(0)
    logits = torch.randn(3, 12, 4)
    mask = mask_of(12, 5, 12)
    labels = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    terms = []
    for b, (length, classes) in enumerate([(12, [0, 2]), (5, [1])]):
        pooled = logits[b, :length].sort(dim=0, descending=True).values[: max(length // 4, 1)].mean(dim=0)
        terms.append(-F.log_softmax(pooled, dim=0)[classes].mean())
    expected = torch.stack(terms).sum() / 3
    torch.testing.assert_close(pooled_mil(logits, mask, labels, pool=4), expected)


def test_loss_puts_the_terms_together() -> None:
    """Focal over real points without the ignored, DIoU on positives by weight, both per positive point; own weights."""
    torch.manual_seed(0)
    recipe = SMALL.model_copy(update={"diou_weight": 2.0, "mil_weight": 0.5, "prior": 0.4})
    head = LocalizationHead(3, 2, recipe)
    labels = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    pseudo = batch(segments((2, 9, 0, 0.5), (2.2, 9.4, 1, 1.0)), segments())
    output = head(torch.randn(2, 20, 3), mask_of(20, 11))
    targets = assign(output, pseudo, recipe=recipe)
    count = targets.positive.sum()
    assert count > 1
    assert targets.ignored.any()
    loss = head_loss(output, pseudo, labels, recipe=recipe)
    assert set(loss) == {"focal", "diou", "head_mil"}
    focal = torch.tensor(0.0)
    for b, p, c in output.mask[..., None].expand_as(output.logits).nonzero():
        if not targets.ignored[b, p, c]:
            focal = focal + focal_loss(output.logits[b, p, c], targets.classes[b, p, c], alpha=0.25, gamma=2.0)
    torch.testing.assert_close(loss["focal"], focal / count)
    where = targets.positive
    diou = (diou_loss(output.offsets[where], targets.offsets[where]) * targets.weight[where]).sum()
    torch.testing.assert_close(loss["diou"], 2.0 * diou / count)
    torch.testing.assert_close(loss["head_mil"], 0.5 * pooled_mil(output.logits, output.mask, labels, pool=recipe.pool))


def test_every_parameter_learns() -> None:
    """Gradients reach every parameter, and are finite, also beside videos without pseudo segments."""
    torch.manual_seed(0)
    head = LocalizationHead(5, 2, HeadRecipe(width=8, dropout=0.1))
    own = segments(*((float(s), float(s + 2**k), k % 2, 1.0) for k, s in enumerate((2, 4, 6, 10, 3))))
    pseudo = batch(own, segments())
    output = head(torch.randn(2, 48, 5), mask_of(48, 9))
    sum(head_loss(output, pseudo, torch.eye(2), recipe=head.recipe).values(), torch.tensor(0.0)).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_no_pseudo_segment_at_all() -> None:
    """Before the first refresh found anything the loss is finite: negatives and MIL alone."""
    head = LocalizationHead(3, 2, SMALL)
    loss = head_loss(
        head(torch.randn(2, 6, 3), mask_of(6, 6)), batch(segments(), segments()), torch.eye(2), recipe=SMALL
    )
    assert loss["diou"] == 0
    assert loss["focal"] > 0
    assert loss["head_mil"] > 0


@pytest.mark.parametrize("shown", [0, 1])
def test_one_positive_point_or_none_divides_by_one(shown: int) -> None:
    """The focal term of a batch with a single positive point is the sum over its points, as with none."""
    torch.manual_seed(0)
    recipe = HeadRecipe(width=8, levels=1, radius=0.5)
    output = LocalizationHead(3, 2, recipe)(torch.randn(1, 6, 3), mask_of(6))
    pseudo = batch(segments(*[(2.2, 2.8, 1, 1.0)][:shown]))
    targets = assign(output, pseudo, recipe=recipe)
    assert targets.positive.sum() == shown
    points = focal_loss(output.logits, targets.classes, alpha=recipe.alpha, gamma=recipe.gamma)
    found = head_loss(output, pseudo, torch.ones(1, 2), recipe=recipe)["focal"]
    torch.testing.assert_close(found, points[~targets.ignored].sum())


def test_learns_the_segments_it_is_shown() -> None:
    """From an embedding that tells action from background, the head finds bounds and classes again."""
    torch.manual_seed(0)
    truth = [(4.0, 7.0, 0), (20.0, 36.0, 1)]
    embedding = 0.1 * torch.randn(1, 48, 4)
    for start, end, label in truth:
        embedding[0, int(start) : int(end), label] += 1
    recipe = HeadRecipe(width=16)
    head = LocalizationHead(4, 2, recipe)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    pseudo = batch(segments(*((start, end, label, 1.0) for start, end, label in truth)))
    for _ in range(100):
        output = head(embedding, torch.ones(1, 48, dtype=torch.bool))
        loss = sum(head_loss(output, pseudo, torch.ones(1, 2), recipe=recipe).values(), torch.tensor(0.0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = decode(head(embedding, torch.ones(1, 48, dtype=torch.bool)), 0, min_score=0.01, top=2000)
    for start, end, label in truth:
        best = found.take(found.labels == label).segments[0]
        np.testing.assert_allclose(best, [start, end], atol=0.7)


def test_decode_by_hand() -> None:
    """Point - left to point + right, cut to the video's own snippets; weak ones and padding dropped, best first."""
    output = HeadOutput(
        logits=torch.tensor([[[0.0, -9.0], [2.0, 1.0], [5.0, 5.0]]]),
        offsets=torch.tensor([[[0.25, 0.5], [9.0, 9.0], [1.0, 1.0]]]),
        points=torch.tensor([0.5, 1.5, 2.5]),
        strides=torch.ones(3),
        mask=torch.tensor([[True, True, False]]),
    )
    found = decode(output, 0, min_score=0.1, top=9)
    np.testing.assert_allclose(found.segments, [[0, 2], [0, 2], [0.25, 1.0]])
    assert found.labels.tolist() == [0, 1, 0]
    np.testing.assert_allclose(found.scores, torch.tensor([2.0, 1.0, 0.0]).sigmoid(), atol=1e-7)
    assert len(decode(output, 0, min_score=0.1, top=1)) == 1
    assert len(decode(output, 0, min_score=0.99, top=9)) == 0
