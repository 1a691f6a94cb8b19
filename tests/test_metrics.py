"""Average precision: against its definition, and against published and official figures."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_metrics import plain_iou

from cache.annotations import Dataset, Segment
from cache.detections import Detection, read_detections
from training.metrics import mean_average_precision, temporal_iou

SHARED = Path(__file__).parents[2] / "shared"
AUTOLOC = SHARED / "data" / "autoloc"
GOLDENS = SHARED / "goldens" / "post_evaluators.npz"


def found(video: str, label: str, score: float, start: float, end: float) -> Detection:
    """A detection from any numbers."""
    return Detection(video, label, float(score), float(start), float(end))


def real(label: str, start: float, end: float) -> Segment:
    """A true segment from any numbers."""
    return Segment(label, float(start), float(end))


def plain_ap(detections: list[Detection], truth: dict[str, list[Segment]], label: str, tiou: float) -> float:
    """One class at one threshold, as loops: sort, match the best free truth, interpolate."""
    wanted = [(v, k) for v, segments in truth.items() for k, s in enumerate(segments) if s.label == label]
    mine = sorted((d for d in detections if d.label == label), key=lambda d: -d.score)
    locked: set[tuple[str, int]] = set()
    hits = []
    for d in mine:
        free = [
            (plain_iou((d.start, d.end), (truth[v][k].start, truth[v][k].end)), -k)
            for v, k in wanted
            if v == d.video_id and (v, k) not in locked
        ]
        best = max(free, default=(-1.0, 0))
        hits.append(best[0] >= tiou)
        if hits[-1]:
            locked.add((d.video_id, -best[1]))
    precision = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
    recall = [sum(hits[: n + 1]) / len(wanted) for n in range(len(hits))]
    area, before = 0.0, 0.0
    for n in range(len(hits)):
        area += (recall[n] - before) * max(precision[n:])
        before = recall[n]
    return area


VIDEOS = ("u", "v", "w")
LABELS = ("Dive", "Jump")
halves = st.integers(0, 16).map(lambda k: k / 2)
spans = st.tuples(halves, halves).map(sorted)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Detection], dict[str, list[Segment]]]:
    """Detections (also in a video without truth) and truth with at least one segment."""
    rows = draw(
        st.lists(st.tuples(st.sampled_from(VIDEOS[:2]), st.sampled_from(LABELS), spans), min_size=1, max_size=12)
    )
    truth: dict[str, list[Segment]] = {"u": [], "v": []}
    for video, label, (start, end) in rows:
        truth[video].append(real(label, start, end))
    present = sorted({label for _, label, _ in rows})
    guesses = draw(
        st.lists(st.tuples(st.sampled_from(VIDEOS), st.sampled_from(present), spans, st.integers(0, 5)), max_size=20)
    )
    return [found(video, label, score / 5, *span) for video, label, span, score in guesses], truth


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_equals_the_definition(world: tuple[list[Detection], dict[str, list[Segment]]]) -> None:
    """Matching all videos and thresholds at once gives what plain loops give, ties, locks and duplicates included."""
    detections, truth = world
    tious = (0.1, 0.3, 0.5, 0.7, 0.95)
    scores = mean_average_precision(detections, truth, tious=tious)
    assert scores.classes == tuple(sorted({s.label for segments in truth.values() for s in segments}))
    expected = [[plain_ap(detections, truth, label, tiou) for tiou in tious] for label in scores.classes]
    np.testing.assert_allclose(scores.ap, expected, atol=1e-12)
    np.testing.assert_allclose(scores.map, np.mean(expected, axis=0), atol=1e-12)
    assert scores.average == pytest.approx(np.mean(expected))


@settings(max_examples=50, deadline=None)
@given(st.lists(spans, min_size=1, max_size=6), st.lists(spans, min_size=1, max_size=6))
def test_temporal_iou(first: list[tuple[float, float]], second: list[tuple[float, float]]) -> None:
    """All pairs equal the definition; it is symmetric, and 1 exactly for equal segments of some length."""
    a, b = np.array(first), np.array(second)
    matrix = temporal_iou(a[:, None], b[None])
    np.testing.assert_allclose(matrix, [[plain_iou(x, y) for y in second] for x in first])
    np.testing.assert_array_equal(matrix, temporal_iou(b[:, None], a[None]).T)
    assert all(
        (matrix[i, j] == 1) == (x == y and x[1] > x[0]) for i, x in enumerate(first) for j, y in enumerate(second)
    )


def test_iou_by_hand() -> None:
    """[0, 4] and [2, 6] share 2 of 6 seconds; nothing is added to lengths."""
    assert temporal_iou(np.array([[0.0, 4.0]]), np.array([[2.0, 6.0]]))[0] == pytest.approx(1 / 3)


def test_second_best_truth_is_taken_when_the_best_is_locked() -> None:
    """Both detections lie nearest to the first truth; the weaker one finds the second at a low threshold."""
    truth = {"v": [real("Jump", 0, 10), real("Jump", 6, 20)]}
    detections = [found("v", "Jump", 0.9, 0, 10), found("v", "Jump", 0.8, 1, 11)]
    scores = mean_average_precision(detections, truth, tious=(0.2, 0.5))
    np.testing.assert_allclose(scores.map, [1.0, 0.5])
    assert scores.at(0.5) == 0.5
    with pytest.raises(KeyError, match=r"0\.7"):
        scores.at(0.7)


def test_video_without_truth_is_a_false_positive() -> None:
    """As in the official script: a stronger detection in an unknown video halves the precision."""
    truth = {"v": [real("Jump", 0, 10)]}
    good, stray = found("v", "Jump", 0.5, 0, 10), found("elsewhere", "Jump", 0.9, 0, 10)
    assert mean_average_precision([stray, good], truth, tious=(0.5,)).average == 0.5


def test_equal_scores_keep_the_order_given() -> None:
    """A tie is resolved by the order of the detections, on every machine."""
    truth = {"v": [real("Jump", 0, 10)]}
    right, wrong = found("v", "Jump", 0.5, 0, 10), found("v", "Jump", 0.5, 20, 30)
    assert mean_average_precision([right, wrong], truth, tious=(0.5,)).average == 1.0
    assert mean_average_precision([wrong, right], truth, tious=(0.5,)).average == 0.5


def test_labels() -> None:
    """Unknown labels stop; known ones without truth are counted apart and stay out of the mean; silence scores 0."""
    truth = {"v": [real("Jump", 0, 10), real("Dive", 0, 10)]}
    right, other = found("v", "Jump", 0.5, 0, 10), found("v", "Run", 0.9, 0, 10)
    with pytest.raises(ValueError, match=r"'Run'.*expected one of \['Dive', 'Jump'\]"):
        mean_average_precision([right, other], truth, tious=(0.5,))
    scores = mean_average_precision([right, other], truth, tious=(0.5,), classes=("Dive", "Jump", "Run"))
    assert scores.unscored == {"Run": 1}
    assert scores.classes == ("Dive", "Jump")
    np.testing.assert_array_equal(scores.ap[:, 0], [0.0, 1.0])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (found("v", "Jump", float("nan"), 0, 1), "a score is not finite"),
        (found("v", "Jump", 0.5, 3, 2), r"segment \[3.0, 2.0\] s"),
        (found("v", "Jump", 0.5, 0, float("inf")), "finite start <= end"),
    ],
)
def test_impossible_detections_stop(bad: Detection, message: str) -> None:
    """Numbers that can not be a detection are never scored."""
    with pytest.raises(ValueError, match=message):
        mean_average_precision([bad], {"v": [real("Jump", 0, 10)]}, tious=(0.5,))


def test_truth_without_segments_stops() -> None:
    """Video labels alone can not be evaluated against."""
    with pytest.raises(ValueError, match="no segment in 1 videos"):
        mean_average_precision([], {"v": []}, tious=(0.5,))


@pytest.mark.skipif(not AUTOLOC.exists(), reason=f"{AUTOLOC} is not there")
def test_published_figures_of_real_detections() -> None:
    """20,763 published detections on THUMOS14 score what their authors published, to three decimals."""
    truth = {v.video_id: v.segments for v in Dataset.load(AUTOLOC / "thumos14_ground_truth.json").videos}
    detections = read_detections(AUTOLOC / "thumos14_detections.json")
    scores = mean_average_precision(detections, truth, tious=[k / 10 for k in range(1, 8)])
    np.testing.assert_allclose(scores.map, [0.467, 0.417, 0.358, 0.290, 0.212, 0.134, 0.058], atol=5.1e-4)


@pytest.mark.skipif(not GOLDENS.exists(), reason=f"{GOLDENS} is not there")
def test_official_evaluator_class_by_class() -> None:
    """7,513 synthetic predictions on THUMOS14's truth: every class and threshold as the public evaluator has it."""
    golden = np.load(GOLDENS)
    database = json.loads((SHARED / "data/thumos14/um_layout/gt.json").read_text())["database"]
    truth = {
        video: [real(a["label"], *map(float, a["segment"])) for a in entry["annotations"]]
        for video, entry in database.items()
        if entry["subset"] == "test"
    }
    labels = sorted({s.label for segments in truth.values() for s in segments})
    columns = zip(
        golden["pred/video"], golden["pred/label"], golden["pred/score"], golden["pred/start_end_seconds"], strict=True
    )
    detections = [found(str(v), labels[k], float(score), *map(float, span)) for v, k, score, span in columns]
    scores = mean_average_precision(detections, truth, tious=[k / 10 for k in range(1, 8)])
    np.testing.assert_allclose(scores.ap.T, golden["um/ap_iou_by_class"], atol=1e-12)
