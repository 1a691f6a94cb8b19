"""Frame labels of Zhou et al.: proposals and fusion restated, the linear programme against its definition, schedule."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from training.hosts.frame_labels import FrameLabelRecipe, frame_label_loss, frame_labels, least_label, solve

RECIPE = FrameLabelRecipe()
WIDE = FrameLabelRecipe(margin=0.4)


def sides_of(segments: np.ndarray, length: int, recipe: FrameLabelRecipe = RECIPE) -> np.ndarray:
    """Per snippet: 1 inside a segment, -1 in the margins around it; row by row."""
    rows = np.zeros((len(segments), length))
    for row, (start, end) in zip(rows, np.rint(segments).astype(int), strict=True):
        width = math.ceil(recipe.margin * (end - start) ** recipe.margin_power)
        for t in range(length):
            if start <= t < end:
                row[t] = 1
            elif start - width <= t < end + width:
                row[t] = -1
    return rows


def whole_segments(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    """Segments between whole snippets, at least one long."""
    start = rng.integers(0, length - 1, count)
    end = start + 1 + (rng.random(count) * (length - start)).astype(int)
    return np.stack([start, np.minimum(end, length)], axis=1).astype(float)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(2, 5), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_least_label_is_the_least_of_all_that_fit(length: int, count: int, seed: int):
    """The constraints hold, and of all labels in quarters none that fits has a smaller sum."""
    rng = np.random.default_rng(seed)
    segments = whole_segments(rng, count, length)
    sides = sides_of(segments, length, WIDE)
    quarters = np.array(list(itertools.product(np.arange(5) / 4, repeat=length)))
    scores = sides @ quarters[rng.integers(len(quarters))]
    found = least_label(segments, scores, length, recipe=WIDE)
    np.testing.assert_allclose(sides @ found, scores, atol=1e-6)
    assert found.min() >= 0
    assert found.max() <= 1
    fits = np.abs(quarters @ sides.T - scores).max(axis=1) < 1e-9
    assert found.sum() <= quarters[fits].sum(axis=1).min() + 1e-6


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_snippets_that_are_alike_share_evenly(seed: int):
    """One unknown a run gives the sum that one a snippet gives; a segment by itself has the same label all over."""
    rng = np.random.default_rng(seed)
    segments = whole_segments(rng, 4, 40)
    sides = sides_of(segments, 40)
    scores = sides @ rng.random(40)
    found = least_label(segments, scores, 40, recipe=RECIPE)
    whole = solve(sides, scores, np.ones(40, np.int64), slack=False)
    assert whole is not None
    assert found.sum() == pytest.approx(whole.sum(), abs=1e-6)
    np.testing.assert_allclose(sides @ found, scores, atol=1e-6)
    one = least_label(np.array([[3.0, 9.0]]), np.array([0.3]), 12, recipe=RECIPE)
    np.testing.assert_allclose(one, np.where((np.arange(12) >= 3) & (np.arange(12) < 9), 0.05, 0.0))
    two = least_label(np.array([[0.0, 6.0], [4.0, 10.0]]), np.array([0.4, 0.2]), 14, recipe=RECIPE)
    assert [len(np.unique(two[run].round(9))) for run in (slice(0, 3), slice(4, 6), slice(7, 10))] == [1, 1, 1]
    assert two.sum() == pytest.approx(0.4)  # the shared snippets serve both


def test_segments_that_contradict_each_other():
    """Two scores of one segment cannot both hold: the label meets all others, misses as little as can be, no NaN."""
    segments = np.array([[0.0, 4.0], [0.0, 4.0], [8.0, 10.0]])
    scores = np.array([0.2, 0.6, 0.5])
    found = least_label(segments, scores, 12, recipe=RECIPE)
    missed = np.abs(sides_of(segments, 12) @ found - scores)
    assert missed.sum() == pytest.approx(0.4)
    assert missed[2] == pytest.approx(0)
    assert found.sum() == pytest.approx(0.7)  # 0.2 + 0.5: more label would miss no less


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_slack_changes_nothing_where_all_scores_can_be_met(seed: int):
    """The soft programme has the sum of the hard one, and meets the scores as well."""
    rng = np.random.default_rng(seed)
    sides = sides_of(whole_segments(rng, 3, 20), 20)
    scores, room = sides @ rng.random(20), np.ones(20, np.int64)
    hard, soft = (solve(sides, scores, room, slack=slack) for slack in (False, True))
    assert hard is not None
    assert soft is not None
    assert soft.sum() == pytest.approx(hard.sum(), abs=1e-6)
    np.testing.assert_allclose(sides @ soft, scores, atol=1e-6)


def mean_over(curve: np.ndarray, start: float, end: float) -> tuple[float, float]:
    """Integral of the steps of a curve over [start, end], and what of it lies in the video."""
    parts = [max(0.0, min(end, t + 1) - max(start, t)) for t in range(len(curve))]
    return float(np.dot(parts, curve)), float(sum(parts))


def plain_fused(curve: np.ndarray, temperature: float) -> list[tuple[float, float, float]]:
    """(start, end, score) of one class: runs at all thresholds, each once, scored, and fused from the best down."""
    runs = set()
    for threshold in RECIPE.thresholds:
        above = [False, *(curve >= threshold).tolist(), False]
        edges = [t for t in range(len(curve) + 1) if above[t] != above[t + 1]]
        runs |= set(zip(edges[::2], edges[1::2], strict=True))
    waiting = []
    for start, end in sorted(runs):
        width = 0.0785 * (end - start) ** 0.9
        sides = [mean_over(curve, start - width, start), mean_over(curve, end, end + width)]
        room = sum(side[1] for side in sides)
        inner = curve[start:end].mean()
        score = inner - (sum(side[0] for side in sides) / room if room > 1e-9 else 0)
        if end - start >= 2 and score > 0:
            waiting.append((start, end, score, inner))
    waiting.sort(key=lambda one: one[2])
    found = []
    while waiting:
        best = waiting.pop()
        shares = [max(0, min(best[1], one[1]) - max(best[0], one[0])) / (one[1] - one[0]) for one in waiting]
        group = [best, *(one for one, share in zip(waiting, shares, strict=True) if share > 0.25)]
        waiting = [one for one, share in zip(waiting, shares, strict=True) if share <= 0.25]
        weights = np.array([math.exp((one[3] - best[3]) / temperature) for one in group])
        start, end, score = (np.average([one[column] for one in group], weights=weights) for column in range(3))
        found.append((start, end, score))
    return found


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.sampled_from([0.02, 0.0016]), st.integers(0, 2**32 - 1))
def test_frame_labels_restated(length: int, temperature: float, seed: int):
    """Labels of the present classes are the least that fit the fused segments; the others have none."""
    rng = np.random.default_rng(seed)
    curves = rng.uniform(0, 0.06, (length, 4)) * (rng.random((length, 1)) > 0.2)
    found = frame_labels(curves, np.array([1, 3]), recipe=RECIPE, temperature=temperature)
    assert not found[:, [0, 2]].any()
    for label in (1, 3):
        fused = plain_fused(curves[:, label], temperature)
        segments = np.array([one[:2] for one in fused]).reshape(-1, 2)
        scores = np.array([one[2] for one in fused])
        wanted = least_label(segments, scores, length, recipe=RECIPE)
        np.testing.assert_allclose(found[:, label], wanted, atol=1e-7)


def test_an_action_that_stands_out_is_labelled_where_it_is():
    """Label inside, none outside; a flat class has the whole video; a silent one and an absent one nothing."""
    curves = np.zeros((30, 4))
    curves[10:16, 0], curves[:, 1], curves[:, 3] = 0.5, 0.3, 0.9
    found = frame_labels(curves, np.array([0, 1, 2]), recipe=RECIPE, temperature=0.02)
    np.testing.assert_allclose(found[:, 0], np.where(curves[:, 0] > 0, 0.5 / 6, 0), atol=1e-9)
    np.testing.assert_allclose(found[:, 1], 0.3 / 30, atol=1e-9)
    assert not found[:, 2:].any()


def test_schedule_of_the_public_code():
    """Epochs as steps: reviews, temperatures, factors of the growth and weights as the public options have them."""
    assert [epoch for epoch in range(350) if RECIPE.is_due(epoch, 350)] == [200, 230, 245, 260, 275, 300]
    expected = {199: None, 200: 0.02, 244: 0.02, 259: 0.02, 260: 0.002, 299: 0.002, 300: 0.0016, 349: 0.0016}
    for epoch, temperature in expected.items():
        assert RECIPE.temperature(epoch, 350) == (None if temperature is None else pytest.approx(temperature))
    assert [RECIPE.growth(epoch, 350) for epoch in (200, 250, 251, 300, 301)] == [None, None, 2.0, 2.0, 2.15]
    for epoch in (200, 210, 240, 349):
        assert RECIPE.weight_at(epoch, 350) == pytest.approx(min(10 * 1.035 ** (epoch - 200), 50))
        assert RECIPE.weight_at(20 * epoch, 7000) == pytest.approx(RECIPE.weight_at(epoch, 350))
    assert RECIPE.weight_at(199, 350) == 0
    assert not RECIPE.is_due(0, 1)
    assert RECIPE.thresholds == pytest.approx(np.arange(0.001, 0.04, 0.002))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperatures": (0.1,)}, "temperatures: found 1, expected one for each of the 6 reviews"),
        ({"growth_factors": ()}, "growth_factors: found 0, expected one for each of the 2 growth_starts"),
        (
            {"reviews": (0.5, 0.4), "temperatures": (1, 1)},
            "reviews: found .0.5, 0.4., expected shares of 0 to 1, rising",
        ),
    ],
)
def test_schedules_that_make_no_sense_are_refused(changes: dict[str, object], message: str):
    """Each review has its temperature, each start of growth its factor, and they rise."""
    with pytest.raises(ValidationError, match=message):
        FrameLabelRecipe.model_validate(changes)


@pytest.mark.parametrize(("epoch", "now", "before"), [(220, 1.0, 0.0), (251, 2.0, 2.0), (310, 2.15, 2.15)])
def test_loss_restated(epoch: int, now: float, before: float):
    """-sum p log softmax: 0.8 on the original, 0.2 on the moved ones; means over real snippets, then over videos."""
    rng = torch.Generator().manual_seed(0)
    original, moved = torch.randn(2, 2, 5, 4, generator=rng)
    notes, lengths = torch.rand(2, 5, 6, generator=rng), (5, 3)
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    found = frame_label_loss(original, moved, notes, mask, recipe=RECIPE, step=epoch, total_steps=350)
    losses = []
    for video, length in enumerate(lengths):
        snippets = []
        for t in range(length):
            label = now * notes[video, t, :3] - before * notes[video, t, 3:]
            logs = [cas[video, t].softmax(0)[:3].log() for cas in (original, moved)]
            snippets.append(-(label * (0.8 * logs[0] + 0.2 * logs[1])).sum().item())
        losses.append(np.mean(snippets))
    assert found.item() == pytest.approx(min(10 * 1.035 ** (epoch - 200), 50) * np.mean(losses), rel=1e-5)
