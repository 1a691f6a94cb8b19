"""Relevance maps and how alike two are: against plain restatements, and what degenerate localization gets."""

import numpy as np
import pytest

from training.evaluation.label_free.relevance import correlation, inside, mean_agreement, relevance_map


def test_each_snippet_has_the_best_detection_over_its_middle():
    """Each snippet has the best detection over its middle."""
    rng = np.random.default_rng(0)
    bounds = np.sort(rng.uniform(-2, 22, size=(40, 2)), axis=1)
    labels, scores = rng.integers(3, size=40), rng.normal(size=40)
    found = relevance_map(bounds, labels, scores, length=20, classes=3)
    for snippet in range(20):
        for label in range(3):
            over = [
                score
                for (start, end), own, score in zip(bounds, labels, scores, strict=True)
                if own == label and start <= snippet + 0.5 < end
            ]
            assert found[snippet, label] == max([0.0, *over])


def test_no_detection_is_no_relevance():
    """No detection is no relevance."""
    nothing = relevance_map(np.zeros((0, 2)), np.zeros(0, np.int64), np.zeros(0), length=4, classes=2)
    assert not nothing.any()
    assert not inside(nothing).any()


def test_correlation_is_that_of_numpy():
    """Correlation is that of numpy."""
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(2, 30, 4))
    expected = [np.corrcoef(one[:, c], other[:, c])[0, 1] for c in range(4)]
    assert correlation(one, other) == pytest.approx(expected)


def test_models_that_mark_whole_videos_do_not_agree():
    """Models that mark whole videos do not agree."""
    whole = [np.ones((10, 2))] * 3
    assert mean_agreement(whole, whole, [np.array([0, 1])] * 3) == 0


def test_unrelated_maps_agree_by_nothing_on_average():
    """Unrelated maps agree by nothing on average."""
    rng = np.random.default_rng(2)
    ones, others = ([(rng.random((200, 2)) < 0.3) * 1.0 for _ in range(60)] for _ in range(2))
    assert abs(mean_agreement(ones, others, [np.array([0, 1])] * 60)) < 0.03
    assert mean_agreement(ones, ones, [np.array([0, 1])] * 60) == pytest.approx(1)
