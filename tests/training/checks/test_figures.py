"""Figures of a video classifier and of curves, against plain restatements."""

import itertools
import math

import numpy as np
import pytest

from training.checks.figures import chance_map, classifier, curve
from training.loop.validation import video_map

LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]], float)[:4]


def test_chance_is_the_mean_over_all_rankings():
    """Every order of the videos once, for each class; the third has no video and does not count."""
    ways = [
        video_map(np.array(order, float)[:, None].repeat(3, 1), LABELS) for order in itertools.permutations(range(4))
    ]
    assert chance_map(LABELS) == pytest.approx(np.mean(ways))


def test_a_constant_answer_is_at_chance():
    """The shares of the classes as scores of every video cost what `constant` says, and no constant costs less."""
    share = (LABELS / LABELS.sum(1, keepdims=True)).mean(0)
    figures = classifier(np.tile(share, (4, 1)), LABELS)
    assert figures.loss == pytest.approx(figures.constant)
    assert figures.learned == pytest.approx(0, abs=1e-9)
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert classifier(np.tile(rng.dirichlet([1, 1, 1]), (4, 1)), LABELS).loss >= figures.constant


def test_the_labels_are_the_best_answer():
    """A video with two classes costs log 2 even so; scores on any scale are shares of their sum."""
    figures = classifier(7 * LABELS, LABELS)
    assert figures.loss == pytest.approx(math.log(2) / 4) == figures.best
    assert (figures.learned, figures.ranked) == pytest.approx((1, 1))


def test_noise_is_near_chance():
    """Scores drawn by lot for many videos."""
    rng = np.random.default_rng(1)
    labels = np.eye(5)[rng.integers(5, size=600)]
    figures = classifier(rng.dirichlet(np.full(5, 50), 600), labels)
    assert abs(figures.ranked) < 0.05
    assert -0.1 < figures.learned < 0.05


def test_curves_are_counted_by_their_extremes():
    """Low, high, flat in the middle, and one that moves; a video of a single snippet is flat."""
    curves = [np.array(values) for values in ([0.01, 0.09], [0.95, 0.99], [0.5, 0.52], [0.05, 0.95], [0.3])]
    figures = curve(curves)
    assert (figures.low, figures.high, figures.flat) == pytest.approx((1 / 5, 1 / 5, 3 / 5))
