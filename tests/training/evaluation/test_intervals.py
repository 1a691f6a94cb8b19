"""Intervals: redrawing equals evaluating what was redrawn, and intervals hold the truth as often as they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.annotations import Dataset, Segment, VideoEntry
from cache.detections import Detection, DetectionTable
from training.evaluation.intervals import BootstrapRecipe, ClassHits, Redraws, class_hits, resampled_scores
from training.evaluation.metrics import mean_average_precision
from training.evaluation.protocol import Protocol

TIOUS = (0.3, 0.5, 0.7)


def made_up(seed: int, *, videos: int = 6, labels: tuple[str, ...] = ("a", "b")):
    """Truth and noisy detections; a video without truth, and a detection in a video that is not there."""
    rng = np.random.default_rng(seed)
    truth, found = {}, []
    for video in range(videos):
        rows = [
            Segment(str(rng.choice(labels)), float(start), float(start + rng.uniform(1, 4)))
            for start in rng.uniform(0, 20, size=rng.integers(0, 4))
        ]
        truth[f"v{video}"] = rows
        for row in [*rows, *rows]:
            start, end = row.start + rng.normal(0, 0.5), row.end + rng.normal(0, 0.5)
            found.append(Detection(f"v{video}", row.label, float(rng.random()), start, max(end, start)))
        found.append(Detection(f"v{video}", labels[0], float(rng.random()), 0.0, 3.0))
    truth["last"] = [Segment(label, 0.0, 1.0) for label in labels]
    found.append(Detection("elsewhere", labels[0], 0.5, 0.0, 1.0))
    return truth, found


def hits_of(found: list[Detection], truth: dict[str, list[Segment]]) -> list[ClassHits]:
    """Of these detections, in a dataset of this truth."""
    labels = tuple(sorted({segment.label for segments in truth.values() for segment in segments}))
    videos = tuple(VideoEntry(video, "testing", None, labels, tuple(rows), None) for video, rows in truth.items())
    protocol = Protocol(tious=TIOUS, outside="false-positive")
    return class_hits(Dataset("toy", labels, videos), DetectionTable.of(found), protocol)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 3), min_size=7, max_size=7))
def test_a_redrawn_test_set_scores_as_if_it_were_written_out(seed, times):
    """A video drawn three times stands three times in truth and detections, under three names."""
    truth, found = made_up(seed)
    copies = [(video, f"{video}#{n}") for video, k in zip(truth, times, strict=True) for n in range(k)]
    written_truth = {copy: truth[video] for video, copy in copies}
    written = [
        Detection(copy, one.label, one.score, one.start, one.end)
        for one in found
        for video, copy in copies
        if one.video_id == video
    ]
    written += [one for one in found if one.video_id == "elsewhere"]
    scores = resampled_scores(hits_of(found, truth), np.array([times], np.float32))
    if not any(written_truth.values()):
        assert not scores.any()
        return
    expected = mean_average_precision(written, written_truth, tious=TIOUS, classes=("a", "b"))
    np.testing.assert_allclose(scores[0], [*expected.map, expected.average], rtol=1e-5)


def test_the_test_set_itself_comes_first():
    """Redraw 0 holds every video once: its scores are those of the evaluation."""
    truth, found = made_up(1, videos=30)
    redraws = Redraws.draw(len(truth), BootstrapRecipe(redraws=10))
    scores = resampled_scores(hits_of(found, truth), redraws.videos)
    expected = mean_average_precision(found, truth, tious=TIOUS)
    np.testing.assert_allclose(scores[0], [*expected.map, expected.average], rtol=1e-5)
    assert (redraws.videos.sum(axis=1) == len(truth)).all()


def test_the_same_recipe_gives_the_same_interval():
    """And another seed of the redraws hardly another."""
    truth, found = made_up(2, videos=40)
    hits = hits_of(found, truth)

    def interval(seed: int):
        redraws = Redraws.draw(len(truth), BootstrapRecipe(seed=seed))
        scores = resampled_scores(hits, redraws.videos)
        return redraws.interval(np.stack([share * scores for share in (1.0, 0.9, 0.95)]))

    one, same, other = interval(0), interval(0), interval(1)
    np.testing.assert_array_equal(one.low, same.low)
    np.testing.assert_allclose(one.high - one.low, other.high - other.low, rtol=0.15)


def test_without_chance_of_videos_it_is_the_t_interval():
    """Scores that no redraw changes: mean and standard deviation of the seeds, and Student's t."""
    values = np.array([0.50, 0.53, 0.55, 0.49, 0.52])
    runs = np.broadcast_to(values[:, None, None], (5, 20_001, 1))
    redraws = Redraws.draw(4, BootstrapRecipe(redraws=20_000))
    interval = redraws.interval(runs)
    error = values.std(ddof=1) / 5**0.5
    assert interval.mean[0] == pytest.approx(values.mean())
    assert interval.spread[0] == pytest.approx(values.std(ddof=1))
    assert interval.high[0] - interval.mean[0] == pytest.approx(2.776 * error, rel=0.05)
    assert interval.mean[0] - interval.low[0] == pytest.approx(2.776 * error, rel=0.05)


def test_one_seed_speaks_of_the_videos_alone():
    """No spread, and an interval of what redrawing does."""
    runs = np.random.default_rng(0).normal(0.5, 0.1, size=(1, 4001, 1))
    interval = Redraws.draw(4, BootstrapRecipe(redraws=4000)).interval(runs)
    assert np.isnan(interval.spread[0])
    assert interval.high[0] - interval.low[0] == pytest.approx(2 * 1.96 * 0.1, rel=0.1)


@pytest.mark.parametrize(("of_seeds", "of_videos"), [(1.0, 0.1), (0.3, 1.0), (1.0, 5.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(of_seeds, of_videos):
    """Differences made of a seed's part, a video's part and the rest; their mean over videos is the score."""
    rng = np.random.default_rng(3)
    seeds, videos, trials, covered = 5, 40, 300, 0
    for trial in range(trials):
        parts = rng.normal(0, of_seeds, (seeds, 1)) + rng.normal(0, of_videos, (1, videos))
        parts = parts + rng.normal(0, 0.5, (seeds, videos))
        redraws = Redraws.draw(videos, BootstrapRecipe(redraws=200, seed=trial))
        interval = redraws.interval(np.einsum("sv,rv->sr", parts, redraws.videos)[..., None] / videos)
        covered += int(interval.low[0] <= 0 <= interval.high[0])
    assert 0.92 <= covered / trials <= 0.99
