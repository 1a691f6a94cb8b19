"""Evidence of labels in and around detections: worlds in which the better segments are known."""

import numpy as np
import pytest

from training.evaluation.label_free.evidence import (
    erasing,
    label_contrast,
    log_likelihood,
    pooled,
    predictability,
    video_map,
)

CLASSES, VIDEOS, LENGTH = 4, 24, 60


def world(seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """T-CAMs with noise, the true maps, and labels: one action of ten snippets a video."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((VIDEOS, CLASSES), dtype=bool)
    cams, maps = [], []
    for video in range(VIDEOS):
        label = video // 2 % CLASSES
        labels[video, label] = True
        start = int(rng.integers(5, LENGTH - 15))
        true = np.zeros((LENGTH, CLASSES))
        true[start : start + 10, label] = 1
        maps.append(true)
        cams.append(true + 0.2 * rng.normal(size=true.shape))
    return cams, maps, labels


def shifted(maps: list[np.ndarray], by: int) -> list[np.ndarray]:
    """The same at another place."""
    return [np.roll(one, by, axis=0) for one in maps]


def widened(maps: list[np.ndarray], by: int) -> list[np.ndarray]:
    """The same, longer by so many snippets at both ends."""
    return [np.max([np.roll(one, k, axis=0) for k in range(-by, by + 1)], axis=0) for one in maps]


def test_erasing_the_action_costs_more_than_erasing_another_place():
    """Erasing the action costs more than erasing another place."""
    cams, maps, labels = world()
    right, wrong = erasing(cams, maps, labels), erasing(cams, shifted(maps, 25), labels)
    assert right > 0.4
    assert wrong < 0.1
    narrow = [one * (np.cumsum(one, axis=0) <= 3) for one in maps]
    assert erasing(cams, narrow, labels) < right / 2  # what is left of the action tells its class


def test_detections_that_fill_the_video_are_worth_nothing():
    """Detections that fill the video are worth nothing."""
    cams, maps, labels = world()
    whole = [np.ones_like(one) for one in maps]
    assert erasing(cams, whole, labels) == pytest.approx(0)
    assert label_contrast(cams, whole, labels) == 0


def test_contrast_is_highest_for_the_true_bounds():
    """Contrast is highest for the true bounds."""
    cams, maps, labels = world()
    right = label_contrast(cams, maps, labels)
    assert right > label_contrast(cams, widened(maps, 6), labels) > label_contrast(cams, shifted(maps, 25), labels)


def test_true_bounds_can_be_predicted_from_features_others_cannot():
    """True bounds can be predicted from features others cannot."""
    cams, maps, labels = world()
    own = [np.flatnonzero(row) for row in labels]
    right = predictability(cams, maps, own)
    assert right > 0.8
    assert right > predictability(cams, widened(maps, 6), own) > predictability(cams, shifted(maps, 25), own)


def test_pooled_reads_only_where_it_may():
    """Pooled reads only where it may."""
    curve = np.array([[5.0], [4.0], [1.0], [0.0]])
    assert pooled(curve, where=np.array([True] * 4), share=0.5) == pytest.approx([4.5])
    assert pooled(curve, where=np.array([False, True, True, True]), share=0.5) == pytest.approx([2.5])
    assert pooled(curve, where=np.zeros(4, dtype=bool), share=0.5) == pytest.approx([0.0])


def test_likelihood_is_that_of_the_labels():
    """Likelihood is that of the labels."""
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    labels = np.array([[True, True, False], [False, False, True]])
    expected = np.mean([(np.log(0.5) + np.log(0.25)) / 2, np.log(0.8)])
    assert log_likelihood(probabilities, labels) == pytest.approx(expected)


def test_video_map_is_1_for_a_perfect_ranking():
    """Video map is 1 for a perfect ranking."""
    labels = np.array([[True, False], [False, True], [True, True]])
    assert video_map(labels * 1.0, labels) == 1
    assert video_map(1.0 - labels, labels) < 0.7
