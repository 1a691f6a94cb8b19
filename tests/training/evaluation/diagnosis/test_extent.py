"""Incompleteness and over-completeness: by hand, and against fine-grained time."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.annotations import Dataset, Segment, VideoEntry
from cache.detections import Detection, DetectionTable
from tests.support.plain.metrics import plain_iou
from training.evaluation.diagnosis.cover import Axis, Cover
from training.evaluation.diagnosis.diagnose import diagnose
from training.evaluation.diagnosis.schema import Completeness, DiagnosisRecipe, Extent
from training.evaluation.evaluate import counted
from training.evaluation.protocol import PROTOCOLS

LABELS = ("Dive", "Jump")
Row = tuple[str, str, float, float]
"""Video, class, start, end."""


def completeness_of(truth: Sequence[Row], detections: Sequence[Row], **recipe: float) -> Completeness:
    """Detections from the best-scored to the worst."""
    videos = [
        VideoEntry(
            name, "testing", None, (), tuple(Segment(label, a, b) for v, label, a, b in truth if v == name), None
        )
        for name in "uv"
    ]
    found = DetectionTable.of([Detection(v, label, 1 - n / 100, a, b) for n, (v, label, a, b) in enumerate(detections)])
    what = counted(Dataset("toy", LABELS, tuple(videos)), found, PROTOCOLS["seconds"])
    return diagnose(what, recipe=DiagnosisRecipe.model_validate(recipe), name="toy", classes=LABELS).completeness


def means(extent: Extent) -> dict[str, object]:
    """The shares of an extent, without those that are 0."""
    assert extent.missed is not None
    assert extent.outside is not None
    parts = ("start", "inside", "end", "fragments")
    numbers = {"missed": extent.missed.mean, "outside": extent.outside.mean}
    numbers |= {f"missed_{part}": getattr(extent, f"missed_{part}") for part in parts}
    numbers |= {f"outside_{part}": getattr(extent, f"outside_{part}") for part in ("before", "after", "neighbours")}
    return {name: pytest.approx(value) for name, value in numbers.items() if value > 1e-9}


def test_only_the_core() -> None:
    """[4, 7] of [0, 10]: nothing is outside; of the truth 0.7 is missed, 0.4 of it at the start and 0.3 at the end."""
    whole = completeness_of([("v", "Jump", 0, 10)], [("v", "Jump", 4, 7)]).overall
    assert means(whole) == {"missed": 0.7, "missed_start": 0.4, "missed_end": 0.3}
    assert (whole.time_missed, whole.time_outside) == (pytest.approx(0.7), pytest.approx(0))


def test_videos_without_truth_are_not_one_video() -> None:
    """Detections at the same time in two videos that the truth does not hold are twice the time outside."""
    truth, right = [("v", "Jump", 0, 10), ("v", "Jump", 20, 30), ("v", "Jump", 40, 50)], ("v", "Jump", 0, 10)
    one = completeness_of(truth, [right, ("x", "Jump", 0, 10)]).overall
    two = completeness_of(truth, [right, ("x", "Jump", 0, 10), ("y", "Jump", 0, 10)]).overall
    assert (one.time_outside, two.time_outside) == (pytest.approx(1 / 2), pytest.approx(2 / 3))


def test_spilling_into_context() -> None:
    """[0, 20] for [5, 15]: nothing is missed; half of the detection is outside, as much before as after."""
    whole = completeness_of([("v", "Jump", 5, 15)], [("v", "Jump", 0, 20)]).overall
    assert means(whole) == {"outside": 0.5, "outside_before": 0.25, "outside_after": 0.25}
    assert (whole.time_missed, whole.time_outside) == (pytest.approx(0), pytest.approx(0.5))


def test_too_late() -> None:
    """[5, 15] for [0, 10] is both: half of each is not in the other."""
    whole = completeness_of([("v", "Jump", 0, 10)], [("v", "Jump", 5, 15)]).overall
    assert means(whole) == {"missed": 0.5, "missed_start": 0.5, "outside": 0.5, "outside_after": 0.5}


def test_in_pieces() -> None:
    """[1, 5] and [7, 9] for [0, 10]: the longer is the pair, the other a fragment, and between them is a gap."""
    truth = [("v", "Jump", 0, 10), ("u", "Jump", 0, 0)]
    whole = completeness_of(truth, [("v", "Jump", 7, 9), ("v", "Jump", 1, 5)]).overall
    assert means(whole) == {
        "missed": 0.6, "missed_start": 0.1, "missed_inside": 0.2, "missed_end": 0.1, "missed_fragments": 0.2,
    }  # fmt: skip
    assert (whole.truths, whole.paired) == (1, 1)  # the truth of no length has no share of anything


def test_merged_instances() -> None:
    """[0, 10] over [0, 4] and [5, 10] is the pair of both; what it has in the other is no context."""
    whole = completeness_of([("v", "Jump", 0, 4), ("v", "Jump", 5, 10)], [("v", "Jump", 0, 10)]).overall
    assert means(whole) == {"outside": 0.55, "outside_after": 0.05, "outside_before": 0.05, "outside_neighbours": 0.45}
    assert whole.time_outside == pytest.approx(0.1)


def test_only_the_best_count() -> None:
    """A weaker detection of the whole hides nothing: there is one truth, so one detection is kept, unless asked."""
    truth, detections = [("v", "Jump", 0, 10)], [("v", "Jump", 4, 7), ("v", "Jump", 0, 10)]
    assert means(completeness_of(truth, detections).overall)["missed"] == 0.7
    assert means(completeness_of(truth, detections, kept=2.0).overall) == {}


def test_other_classes_and_videos_do_not_count() -> None:
    """A truth that only another class, another video or a touch of 0.05 overlaps has no pair and no share."""
    truth = [("v", "Jump", 0, 10), ("v", "Jump", 20, 30), ("v", "Jump", 40, 50), ("u", "Dive", 0, 10)]
    detections = [("v", "Dive", 0, 10), ("u", "Jump", 20, 30), ("v", "Jump", 40, 40.5)]
    found = completeness_of(truth, detections)
    assert (found.overall.truths, found.overall.paired, found.overall.missed) == (4, 0, None)
    assert found.overall.time_missed == pytest.approx(39.5 / 40)
    assert found.overall.time_outside == pytest.approx(20 / 20.5)
    assert [(one.label, one.time_missed) for one in found.classes] == [
        ("Dive", 1.0),
        ("Jump", pytest.approx(29.5 / 30)),
    ]


def test_distribution_and_lengths() -> None:
    """Quartiles and histogram by hand; the lengths have their own shares."""
    truth = [("v", "Jump", 0, 10), ("v", "Jump", 20, 30), ("v", "Jump", 40, 44), ("v", "Jump", 60, 64)]
    detections = [("v", "Jump", 0, 5), ("v", "Jump", 20, 30), ("v", "Jump", 40, 43), ("v", "Jump", 60, 64)]
    found = completeness_of(truth, detections)
    assert found.overall.missed is not None
    spread = found.overall.missed.model_dump()
    assert spread.pop("histogram") == (2, 0, 1, 0, 0, 1, 0, 0, 0, 0)
    assert spread == {"count": 4, "mean": 0.1875, "low": 0.0, "median": 0.125, "high": 0.3125}
    assert [(one.label, one.truths, one.missed and one.missed.mean) for one in found.lengths] == [
        ("S", 2, 0.125), ("L", 2, 0.25),
    ]  # fmt: skip


spans = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(lambda pair: (float(min(pair)), float(max(pair))))
rows = st.tuples(st.sampled_from("uv"), st.sampled_from(LABELS), spans).map(lambda row: (row[0], row[1], *row[2]))


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, min_size=1, max_size=8), st.lists(rows, max_size=10))
def test_equals_counting_seconds(truth: list[Row], detections: list[Row]) -> None:
    """All shares and all parts, second by second, as loops have them from the definitions."""
    counts = Counter(label for _, label, _, _ in truth)
    seen: Counter[str] = Counter()
    kept = []
    for row in detections:
        seen[row[1]] += 1
        kept += [row] if seen[row[1]] <= counts[row[1]] else []

    def seconds(lists: Sequence[Row], where: str, label: str) -> set[int]:
        return {t for v, c, a, b in lists if (v, c) == (where, label) for t in range(int(a), int(b))}

    expected: dict[str, list[float]] = {name: [] for name in ("missed", "outside", "si", "in", "en", "fr", "be", "af")}
    lost = total = 0
    for where, label, a, b in truth:
        own, union = set(range(int(a), int(b))), seconds(kept, where, label)
        lost, total = lost + len(own - union), total + len(own)
        rivals = [(plain_iou((a, b), (c, d)), -n) for n, (v, k, c, d) in enumerate(kept) if (v, k) == (where, label)]
        if not own or max(rivals, default=(0.0, 0))[0] < 0.1:
            continue
        _, _, c, d = kept[-max(rivals)[1]]
        pair, inner = set(range(int(c), int(d))), own & union
        expected["missed"].append(len(own - pair) / len(own))
        expected["si"].append(sum(t < min(inner) for t in own) / len(own))
        expected["en"].append(sum(t > max(inner) for t in own) / len(own))
        expected["in"].append(sum(min(inner) < t < max(inner) and t not in union for t in own) / len(own))
        expected["fr"].append(len((own - pair) & union) / len(own))
        context = pair - seconds(truth, where, label)
        expected["outside"].append(len(pair - own) / len(pair))
        expected["be"].append(sum(t < a for t in context) / len(pair))
        expected["af"].append(sum(t >= b for t in context) / len(pair))
    whole = completeness_of(truth, detections).overall
    assert whole.paired == len(expected["missed"])
    assert whole.time_missed == (pytest.approx(lost / total, abs=1e-6) if total else None)
    covered = {(v, c, t) for v, c, _, _ in kept for t in seconds(kept, v, c)}
    true = {(v, c, t) for v, c, _, _ in truth for t in seconds(truth, v, c)}
    outside = len(covered - true) / len(covered) if covered else None
    assert whole.time_outside == (None if outside is None else pytest.approx(outside, abs=1e-6))
    if not whole.paired:
        assert (whole.missed, whole.outside, whole.missed_start, whole.outside_after) == (None, None, None, None)
        return
    assert whole.missed is not None
    assert whole.outside is not None
    got = {
        "missed": whole.missed.mean, "outside": whole.outside.mean, "si": whole.missed_start, "in": whole.missed_inside,
        "en": whole.missed_end, "fr": whole.missed_fragments, "be": whole.outside_before, "af": whole.outside_after,
    }  # fmt: skip
    assert got == {name: pytest.approx(np.mean(values), abs=1e-6) for name, values in expected.items()}
    outer = (whole.outside_before, whole.outside_after, whole.outside_neighbours)
    assert whole.outside.mean == pytest.approx(sum(part or 0.0 for part in outer))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(spans, st.integers(0, 2)), max_size=8), spans, st.integers(0, 2))
def test_cover(rows: list[tuple[tuple[float, float], int]], span: tuple[float, float], group: int) -> None:
    """A union, measured within a span of one group, is what counting its seconds gives; groups never touch."""
    pieces, groups = np.array([piece for piece, _ in rows]).reshape(-1, 2), np.array([g for _, g in rows], np.int64)
    asked = np.array([span])
    axis = Axis.of([pieces, asked])
    cover = Cover.of(axis.lay(pieces, groups))
    each = [{t for (a, b), g in rows if g == number for t in range(int(a), int(b))} for number in range(3)]
    assert cover.length == pytest.approx(sum(map(len, each)))
    inside = sorted(each[group] & set(range(int(span[0]), int(span[1]))))
    there = axis.lay(asked, np.array([group]))
    assert cover.inside(there)[0] == pytest.approx(len(inside))
    before, after = cover.gaps(there)
    assert before[0] == pytest.approx((inside[0] if inside else span[1]) - span[0])
    assert after[0] == pytest.approx(span[1] - (inside[-1] + 1 if inside else span[0]))
