"""Average precision: against its definition, and against published and official figures."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.annotations import Dataset, Segment
from cache.detections import Detection, DetectionTable, read_detections
from tests.support.paths import SHARED
from tests.support.plain.metrics import plain_iou
from training.evaluation.metrics import mean_average_precision, temporal_iou
from training.evaluation.protocol import tiou_grid

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


def official_ap(detections: list[Detection], truth: dict[str, list[Segment]], label: str, tiou: float) -> float:
    """One class at one threshold, in the steps and with the sorts of ActivityNet's script."""
    mine = [d for d in detections if d.label == label]
    wanted = {video: [s for s in segments if s.label == label] for video, segments in truth.items()}
    positives = sum(map(len, wanted.values()))
    taken: set[tuple[str, int]] = set()
    hits = np.zeros(len(mine))
    for row, k in enumerate(np.array([d.score for d in mine]).argsort()[::-1]):
        found = mine[k]
        overlaps = np.array(
            [plain_iou((found.start, found.end), (s.start, s.end)) for s in wanted.get(found.video_id, [])]
        )
        for place in overlaps.argsort()[::-1]:
            if overlaps[place] < tiou:
                break
            if (found.video_id, int(place)) not in taken:
                taken.add((found.video_id, int(place)))
                hits[row] = 1
                break
    precision = np.hstack([[0], np.cumsum(hits) / np.arange(1, len(mine) + 1), [0]])
    recall = np.hstack([[0], np.cumsum(hits) / positives, [1]])
    for place in range(len(precision) - 1)[::-1]:
        precision[place] = max(precision[place], precision[place + 1])
    rises = np.where(recall[1:] != recall[:-1])[0] + 1
    return float(np.sum((recall[rises] - recall[rises - 1]) * precision[rises]))


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
    columns = mean_average_precision(DetectionTable.of(detections), truth, tious=tious)
    np.testing.assert_array_equal(columns.ap, scores.ap)


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_equals_the_official_script(world: tuple[list[Detection], dict[str, list[Segment]]]) -> None:
    """With numpy's order of equals, every figure is that of the official steps, however many scores and overlaps are
    equal."""
    detections, truth = world
    tious = tiou_grid("0.1:0.2:0.9")
    scores = mean_average_precision(detections, truth, tious=tious, ties="numpy")
    expected = [[official_ap(detections, truth, label, tiou) for tiou in tious] for label in scores.classes]
    np.testing.assert_allclose(scores.ap, expected, atol=1e-12)


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


def test_equal_overlaps_take_the_truth_given_first() -> None:
    """The long detection reaches both alike and takes [0, 2], so the next one on [0, 2] goes without; had it taken
    the other truth, both were right."""
    first, second = real("Jump", 0, 2), real("Jump", 6, 8)
    detections = [found("v", "Jump", 0.9, 0, 8), found("v", "Jump", 0.8, 0, 2)]
    assert mean_average_precision(detections, {"v": [first, second]}, tious=(0.25,)).average == 0.5
    assert mean_average_precision(detections, {"v": [second, first]}, tious=(0.25,)).average == 1.0


def test_duplicate_truths_are_two() -> None:
    """One detection finds one of them; a second one on the same place is no duplicate, and a third one is."""
    truth = {"v": [real("Jump", 0, 10), real("Jump", 0, 10)]}
    detections = [found("v", "Jump", score, 0, 10) for score in (0.9, 0.8, 0.7)]
    assert mean_average_precision(detections[:1], truth, tious=(0.5,)).average == 0.5
    assert mean_average_precision(detections[:2], truth, tious=(0.5,)).average == 1.0
    assert mean_average_precision([*detections, found("v", "Jump", 0.6, 0, 10)], truth, tious=(0.5,)).average == 1.0


def test_instances_of_no_length_are_never_found() -> None:
    """Such a truth counts as missed even where a detection of no length lies on it (0 / 0 is no overlap); such a
    detection is a false positive."""
    truth = {"v": [real("Jump", 0, 10), real("Jump", 4, 4)]}
    point, whole = found("v", "Jump", 0.9, 4, 4), found("v", "Jump", 0.5, 0, 10)
    assert mean_average_precision([whole], truth, tious=(0.5,)).average == 0.5
    assert mean_average_precision([point, whole], truth, tious=(0.5,)).average == 0.25


def test_detection_beyond_the_end_of_the_video_counts_as_it_is() -> None:
    """Nothing is clipped: [0, 20] on a truth that fills a video of 10 s has IoU 1/2."""
    detections = [found("v", "Jump", 0.9, 0, 20)]
    truth = {"v": [real("Jump", 0, 10)]}
    np.testing.assert_array_equal(mean_average_precision(detections, truth, tious=(0.5, 0.51)).map, [1, 0])


def test_video_without_detections_misses_its_truth() -> None:
    """Recall is over the truth of all videos; a video without truth and detections changes nothing."""
    truth = {"v": [real("Jump", 0, 10)], "w": [real("Jump", 0, 10)], "empty": []}
    assert mean_average_precision([found("v", "Jump", 0.5, 0, 10)], truth, tious=(0.5,)).average == 0.5


def test_nothing_found_scores_zero() -> None:
    """No detection at all: a mean of zeros, no error."""
    scores = mean_average_precision([], {"v": [real("Jump", 0, 10)]}, tious=(0.3, 0.5))
    np.testing.assert_array_equal(scores.ap, [[0, 0]])


def test_threshold_must_be_above_zero() -> None:
    """At tIoU 0 everything would be right."""
    with pytest.raises(ValueError, match="expected thresholds above 0"):
        mean_average_precision([], {"v": [real("Jump", 0, 10)]}, tious=(0.0, 0.5))


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
    """20,763 published detections on THUMOS14 score what their authors published, to three decimals. Those in three
    videos without truth are false positives there."""
    truth = {v.video_id: v.segments for v in Dataset.load(AUTOLOC / "thumos14_ground_truth.json").videos}
    detections = read_detections(AUTOLOC / "thumos14_detections.json")
    published = [0.467, 0.417, 0.358, 0.290, 0.212, 0.134, 0.058, 0.016, 0.002]
    scores = mean_average_precision(detections, truth, tious=tiou_grid("0.1:0.1:0.9"))
    np.testing.assert_array_equal(scores.map.round(3), published)


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
