"""The diagnosis of detections: against plain loops, by hand, and on real detections."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.annotations import Dataset, Segment, VideoEntry
from cache.detections import Detection, DetectionTable
from tests.support.paths import SHARED
from tests.support.plain.metrics import plain_iou
from training.evaluation.diagnosis.characteristics import binned, values
from training.evaluation.diagnosis.columns import Columns, pairs
from training.evaluation.diagnosis.diagnose import diagnose
from training.evaluation.diagnosis.errors import KINDS, RIGHT, kinds
from training.evaluation.diagnosis.precision import average_precision, curves
from training.evaluation.diagnosis.schema import Diagnosis, DiagnosisRecipe
from training.evaluation.evaluate import counted
from training.evaluation.metrics import Ranking, TruthRows
from training.evaluation.protocol import PROTOCOLS, Protocol

AUTOLOC = SHARED / "data" / "autoloc"
LABELS = ("Dive", "Jump")
TIOUS = (0.1, 0.5, 0.75)
RECIPE = DiagnosisRecipe(multiples=2, recalls=6)


def found(video: str, label: str, score: float, start: float, end: float) -> Detection:
    """A detection from any numbers."""
    return Detection(video, label, float(score), float(start), float(end))


def video(video_id: str, *segments: tuple[str, float, float], duration: float | None = 20.0) -> VideoEntry:
    """A test video with its truth."""
    truth = tuple(Segment(label, float(start), float(end)) for label, start, end in segments)
    labels = tuple(sorted({segment.label for segment in truth}))
    return VideoEntry(video_id, "testing", duration, labels, truth, None)


def columns_of(detections: list[Detection], videos: list[VideoEntry]) -> Columns:
    """The columns of detections and truth."""
    truth = TruthRows.of({one.video_id: one.segments for one in videos})
    ranking = Ranking.of(DetectionTable.of(detections), truth, "given")
    return Columns.of(ranking, {one.video_id: one.duration for one in videos})


def diagnosis_of(
    detections: list[Detection], videos: list[VideoEntry], *, tious: Sequence[float] = TIOUS, **recipe: object
) -> Diagnosis:
    """The whole, with the tests' recipe but for some fields."""
    dataset = Dataset("toy", LABELS, tuple(videos))
    what = counted(dataset, DetectionTable.of(detections), official(tious))
    return diagnose(what, recipe=RECIPE.model_copy(update=recipe), name="toy", classes=LABELS)


def official(tious: Sequence[float]) -> Protocol:
    """The official script's protocol at some thresholds."""
    return PROTOCOLS["seconds"].model_copy(update={"tious": tuple(tious)})


spans = st.tuples(st.integers(0, 16), st.integers(0, 16)).map(lambda pair: (min(pair) / 2, max(pair) / 2))


World = tuple[list[tuple], list[tuple]]
truths = st.tuples(st.sampled_from("uv"), st.sampled_from(LABELS), spans)
guesses = st.tuples(st.sampled_from("uvwx"), st.sampled_from(LABELS), spans, st.integers(0, 4))
worlds = st.tuples(st.lists(truths, min_size=1, max_size=10), st.lists(guesses, max_size=16))


def made(world: World) -> tuple[list[Detection], list[VideoEntry]]:
    """Three videos, one of unknown duration and one without truth, and detections, also in a video beyond."""
    rows, guesses = world
    truth = {name: [(label, *span) for where, label, span in rows if where == name] for name in "uv"}
    videos = [video("u", *truth["u"]), video("v", *truth["v"], duration=None), video("w", duration=0.0)]
    return [found(where, label, score / 4, *span) for where, label, span, score in guesses], videos


def plain_ranked(detections: list[Detection], label: str) -> list[Detection]:
    """The detections of a class, best first."""
    return sorted((d for d in detections if d.label == label), key=lambda d: -d.score)


def plain_matches(detections: list[Detection], videos: list[VideoEntry], label: str, tiou: float) -> list:
    """For each ranked detection of a class the truth (video, number) that it finds, or None."""
    taken: set[tuple[str, int]] = set()
    matches = []
    for d in plain_ranked(detections, label):
        free = [
            (plain_iou((d.start, d.end), (s.start, s.end)), -k, v.video_id)
            for v in videos
            for k, s in enumerate(v.segments)
            if v.video_id == d.video_id and s.label == label and (v.video_id, k) not in taken
        ]
        overlap, number, where = max(free, default=(-1.0, 0, ""))
        matches.append((where, -number) if overlap >= tiou else None)
        taken.update([matches[-1]] if matches[-1] else [])
    return matches


def plain_ap(hits: list[bool | None], truths: int, size: float) -> float:
    """AP from hits (True), false positives (False) and rows left out (None), with the normalised precision."""
    rows = [hit for hit in hits if hit is not None]
    recall = [sum(rows[: n + 1]) / truths for n in range(len(rows))]
    precision = [r * size / (r * size + (n + 1 - sum(rows[: n + 1]))) if r else 0.0 for n, r in enumerate(recall)]
    return sum((recall[n] - (recall[n - 1] if n else 0)) * max(precision[n:]) for n in range(len(rows)))


def plain_kind(d: Detection, match: object, videos: list[VideoEntry], tiou: float) -> str:
    """One detection's kind of error from DETAD's definition."""
    if match is not None:
        return "right"
    overlaps = [
        (plain_iou((d.start, d.end), (s.start, s.end)), s.label == d.label)
        for v in videos
        for s in v.segments
        if v.video_id == d.video_id
    ]
    best, own = max(overlaps, default=(0.0, False))
    if best >= tiou:
        return "double" if own else "wrong_label"
    if best >= RECIPE.foreground:
        return "localization" if own else "confusion"
    return "background"


@settings(max_examples=40, deadline=None)
@given(worlds)
def test_errors_equal_the_definition(world: World) -> None:
    """Kinds, counts among the best G and 2G, and gains of plain and normalised mAP, as loops have them."""
    detections, videos = made(world)
    diagnosis = diagnosis_of(detections, videos)
    truths = Counter(s.label for v in videos for s in v.segments)
    size = sum(truths.values()) / len(truths)
    assert [one.label for one in diagnosis.classes] == sorted(truths)
    for breakdown in diagnosis.errors:
        ranked = {label: plain_ranked(detections, label) for label in truths}
        kind = {
            label: [
                plain_kind(d, match, videos, breakdown.tiou)
                for d, match in zip(
                    ranked[label], plain_matches(detections, videos, label, breakdown.tiou), strict=True
                )
            ]
            for label in truths
        }
        for top in breakdown.top:
            counts = Counter(one for label in truths for one in kind[label][: top.multiple * truths[label]])
            assert top.right == counts.pop("right", 0)
            assert {name: count for name, count in top.errors.items() if count} == counts
            assert top.detections == top.right + sum(top.errors.values())
        for name in KINDS:
            gains, normalized = [], []
            for label in truths:
                every = [one == "right" for one in kind[label]]
                without = [None if one == name else one == "right" for one in kind[label]]
                many, best = truths[label], RECIPE.multiples * truths[label]
                gains.append(plain_ap(list(without), many, many) - plain_ap(list(every), many, many))
                normalized.append(plain_ap(without[:best], many, size) - plain_ap(list(every[:best]), many, size))
            assert breakdown.gain[name] == pytest.approx(mean(gains))
            assert breakdown.gain_normalized[name] == pytest.approx(mean(normalized))
            assert breakdown.gain[name] >= 0


@settings(max_examples=40, deadline=None)
@given(worlds, st.sampled_from(["quantiles", "thumos14", "activitynet"]))
def test_bins_equal_the_definition(world: World, borders: str) -> None:
    """Every truth is in one bin or unknown; missed shares and mAP of every bin are what loops have."""
    detections, videos = made(world)
    diagnosis = diagnosis_of(detections, videos, borders=borders, min_precision=0.3)
    truths = [(v.video_id, k, s, v.duration) for v in videos for k, s in enumerate(v.segments)]
    counts = Counter(s.label for _, _, s, _ in truths)
    size = len(truths) / len(counts)
    instances = Counter((where, s.label) for where, _, s, _ in truths)
    value = {
        "length": {(w, k): s.end - s.start for w, k, s, _ in truths},
        "coverage": {(w, k): (s.end - s.start) / d for w, k, s, d in truths if d},
        "instances": {(w, k): float(instances[w, s.label]) for w, k, s, _ in truths},
    }
    for one in diagnosis.characteristics:
        known = value[one.name]
        assert one.unknown == len(truths) - len(known)
        assert sum(b.truths for b in one.bins) == len(known)
        assert all(low.high == high.low for low, high in pairwise(one.bins))
        assert one.bins[-1].high is None
        for place, b in enumerate(one.bins):
            top = float("inf") if b.high is None else b.high
            inside = {key for key, x in known.items() if (b.low < x or place == 0) and x <= top}
            assert len(inside) == b.truths
            if not inside:
                assert (b.missed, b.map, b.map_normalized) == (None, None, None)
                continue
            assert b.missed is not None
            assert b.map is not None
            assert b.map_normalized is not None
            for k, tiou in enumerate(TIOUS):
                seen, aps, normalized = set(), [], []
                for label in sorted(counts):
                    matches = plain_matches(detections, videos, label, tiou)
                    hits = 0
                    for n, match in enumerate(matches):
                        hits += match is not None
                        recall = hits / counts[label]
                        if match is not None and recall * size / (recall * size + n + 1 - hits) > 0.3:
                            seen.add(match)
                    mine = [key for key in inside if next(s for w, n, s, _ in truths if (w, n) == key).label == label]
                    rows = [
                        None if match is not None and match not in inside else match is not None for match in matches
                    ]
                    if mine:
                        aps.append(plain_ap(rows, len(mine), len(mine)))
                        normalized.append(plain_ap(rows, len(mine), size))
                assert b.missed[k] == pytest.approx(len(inside - seen) / len(inside))
                assert b.map[k] == pytest.approx(mean(aps))
                assert b.map_normalized[k] == pytest.approx(mean(normalized))


@settings(max_examples=40, deadline=None)
@given(worlds)
def test_the_parts_agree_with_the_whole(world: World) -> None:
    """The diagnosis's own AP is the evaluator's; with every truth in it a bin has the whole's figures; curves fall."""
    detections, videos = made(world)
    diagnosis = diagnosis_of(detections, videos)
    columns = columns_of(detections, videos)
    matched = columns.ranking.matched(np.array(TIOUS))
    for one, rows in zip(diagnosis.classes, columns.by_class(), strict=True):
        right = matched[rows] >= 0
        np.testing.assert_allclose(average_precision(right, ~right, truths=one.truths), one.ap, atol=1e-12)
        assert (np.diff(np.array(one.precision), axis=1) <= 1e-12).all()
    missing = diagnosis_of(detections, videos, min_precision=0.0).missed
    for k in range(len(TIOUS)):
        assert missing[k] == pytest.approx(1 - len(set(matched[matched[:, k] >= 0, k].tolist())) / diagnosis.truths)
    assert diagnosis.outside == sum(d.video_id == "x" and d.label not in diagnosis.unscored for d in detections)
    assert diagnosis.detections + sum(diagnosis.unscored.values()) == len(detections)


def test_kinds_by_hand() -> None:
    """One detection of each kind at 0.5, in the words of the paper."""
    truth = [video("v", ("Jump", 0, 10), ("Dive", 12, 20))]
    detections = [
        found("v", "Jump", 0.9, 0, 10),  # finds the jump
        found("v", "Jump", 0.8, 1, 10),  # finds it again
        found("v", "Jump", 0.7, 12, 19),  # a dive taken for a jump
        found("v", "Jump", 0.6, 0, 3),  # 0.3 of the jump
        found("v", "Jump", 0.5, 18, 20),  # 0.25 of the dive
        found("v", "Jump", 0.4, 10.5, 11.5),  # between the two
        found("elsewhere", "Jump", 0.3, 0, 10),
    ]
    columns = columns_of(detections, truth)
    half = np.array([0.5])
    codes = kinds(columns, columns.ranking.matched(half), half, foreground=0.1)[:, 0].tolist()
    expected = ["right", "double", "wrong_label", "localization", "confusion", "background", "background"]
    assert ["right" if code == RIGHT else KINDS[code] for code in codes] == expected


def test_of_equal_overlaps_the_own_class_counts() -> None:
    """Where each dive is annotated as a cliff dive, too, the second detection of it is a double, not a wrong label."""
    truth = [video("v", ("Dive", 0, 10), ("Jump", 0, 10))]
    detections = [found("v", "Jump", 0.9, 0, 10), found("v", "Jump", 0.8, 1, 10), found("v", "Jump", 0.7, 0, 3)]
    breakdown = diagnosis_of(detections, truth, tious=(0.5,), multiples=3).errors[0]
    assert (breakdown.top[0].right, breakdown.top[0].detections) == (1, 1)
    assert breakdown.top[2].errors == {
        "double": 1, "wrong_label": 0, "localization": 1, "confusion": 0, "background": 0,
    }  # fmt: skip


def test_gain_by_hand() -> None:
    """A wrong detection before the right one halves the AP of one class of two; without it the mAP rises by 1/4."""
    truth = [video("v", ("Jump", 0, 10), ("Dive", 12, 20))]
    detections = [found("w", "Jump", 0.9, 0, 10), found("v", "Jump", 0.8, 0, 10)]
    diagnosis = diagnosis_of(detections, truth, tious=(0.5,))
    assert diagnosis.map == (0.25,)
    assert diagnosis.errors[0].gain["background"] == pytest.approx(0.25)
    assert diagnosis.errors[0].gain["localization"] == 0
    # DETAD's counts among the best multiples x G: the gain of the best one alone is that of an empty list
    alone = diagnosis_of(detections, truth, tious=(0.5,), multiples=1)
    assert alone.errors[0].gain_normalized["background"] == 0


def test_normalised_precision_by_hand() -> None:
    """With 1 of 2 truths found and 1 false positive, as if there were 4 truths: 0.5 x 4 / (0.5 x 4 + 1) = 2/3."""
    right, wrong = np.array([[False], [True]]), np.array([[True], [False]])
    np.testing.assert_allclose(average_precision(right, wrong, truths=2), [0.25])
    np.testing.assert_allclose(average_precision(right, wrong, truths=2, size=4), [0.5 * 2 / 3])


def test_curve_by_hand() -> None:
    """Hits at ranks 1 and 4 of 4 truths: precision 1 up to recall 1/4, 1/2 up to 1/2, and nothing beyond."""
    right = np.array([[True], [False], [False], [True]])
    curve = curves(right, ~right, truths=4, recalls=np.linspace(0, 1, 9))
    np.testing.assert_allclose(curve, [[1, 1, 1, 0.5, 0.5, 0, 0, 0, 0]])


def test_curve_at_recalls_that_floats_miss() -> None:
    """0.05 x 3 of 20 truths are three hits, although the float is a little more."""
    right = np.ones((3, 1), dtype=bool)
    assert curves(right, ~right, truths=20, recalls=np.array([0.05 * 3]))[0, 0] == 1


def test_detad_borders() -> None:
    """DETAD's bins are closed above: 3 s is XS and 3.1 s is S on THUMOS14; a coverage beyond 1 stays in the highest."""
    truth = [video("v", ("Jump", 0, 3), ("Jump", 5, 8.1), ("Jump", 0, 40), ("Dive", 0, 0))]
    length, coverage, instances = binned(columns_of([], truth), "thumos14")
    assert length.place.tolist() == [0, 1, 4, 0]
    assert coverage.place.tolist() == [4, 4, 4, 0]
    assert [instances.labels[place] for place in instances.place] == ["S", "S", "S", "XS"]


def test_unknown_duration_has_no_coverage() -> None:
    """Neither has one of zero; length and instances do not need it."""
    truth = [video("v", ("Jump", 0, 3), duration=None), video("w", ("Jump", 0, 3), duration=0.0)]
    numbers = values(columns_of([], truth))
    assert np.isnan(numbers["coverage"]).all()
    assert numbers["length"].tolist() == [3.0, 3.0]
    _, coverage, _ = diagnosis_of([], truth).characteristics
    assert coverage.unknown == 2
    assert [b.truths for b in coverage.bins] == [0]


def test_lengths_are_seconds_in_whatever_units() -> None:
    """In snippets of 0.64 s the truth [0, 6.3] is ten of them: bins of length stay in seconds, coverage is the same."""
    protocol = PROTOCOLS["seconds"].model_copy(update={"units": "snippets", "tious": (0.5,)})
    dataset = Dataset("toy", LABELS, (video("v", ("Jump", 0, 6.3), ("Dive", 0, 12.7), duration=12.8),))
    what = counted(dataset, DetectionTable.of([found("v", "Jump", 1, 0, 6.4)]), protocol)
    diagnosis = diagnose(what, recipe=RECIPE, name="toy", classes=LABELS)
    length, coverage, _ = diagnosis.characteristics
    assert length.bins[0].high == pytest.approx(6.4)
    assert coverage.bins[0].high == pytest.approx(0.5)
    assert diagnosis.map == (0.5,)


def test_nothing_detected() -> None:
    """No detection at all: everything is missed, nothing is wrong, shares of extents do not exist."""
    diagnosis = diagnosis_of([], [video("v", ("Jump", 0, 10)), video("w")])
    assert diagnosis.missed == (1.0, 1.0, 1.0)
    assert diagnosis.map == (0.0, 0.0, 0.0)
    assert all(top.detections == 0 for one in diagnosis.errors for top in one.top)
    whole = diagnosis.completeness.overall
    assert (whole.paired, whole.missed, whole.outside, whole.time_outside) == (0, None, None, None)
    assert whole.time_missed == 1.0


@given(st.lists(st.integers(0, 3), max_size=8), st.lists(st.integers(0, 3), max_size=8))
def test_pairs(left: list[int], right: list[int]) -> None:
    """Every combination of equal numbers once, in the order of the left, then of the right."""
    rows, others = pairs(np.array(left, dtype=np.int64), np.array(right, dtype=np.int64))
    expected = [(i, j) for i, x in enumerate(left) for j, y in enumerate(right) if x == y]
    assert list(zip(rows.tolist(), others.tolist(), strict=True)) == expected


def test_comes_back_from_json(tmp_path: Path) -> None:
    """What is written is what is read."""
    diagnosis = diagnosis_of([found("v", "Jump", 0.9, 0, 7)], [video("v", ("Jump", 0, 10), ("Dive", 1, 1))])
    diagnosis.save(tmp_path / "diagnosis.json")
    assert Diagnosis.load(tmp_path / "diagnosis.json") == diagnosis


@pytest.mark.skipif(not AUTOLOC.exists(), reason=f"{AUTOLOC} is not there")
def test_real_detections() -> None:
    """Published detections: the published mAP, every count and gain in order, and lengths that matter."""
    dataset = Dataset.load(AUTOLOC / "thumos14_ground_truth.json")
    detections = DetectionTable.read(AUTOLOC / "thumos14_detections.json")
    what = counted(dataset, detections, PROTOCOLS["seconds"].model_copy(update={"subset": "test"}))
    diagnosis = diagnose(what, recipe=DiagnosisRecipe(), name="autoloc", classes=dataset.classes)
    np.testing.assert_allclose(diagnosis.map, [0.467, 0.417, 0.358, 0.290, 0.212, 0.134, 0.058], atol=5.1e-4)
    assert (diagnosis.truths, diagnosis.detections) == (3234, 20763)
    half = diagnosis.errors[4]
    assert half.top[0].detections == 3234
    assert max(half.gain, key=lambda kind: half.gain[kind]) == "background"
    # the longest fifth is found in part, the shortest is overrun
    extents = (diagnosis.completeness.lengths[0], diagnosis.completeness.overall, diagnosis.completeness.lengths[-1])
    missed = [one.missed.mean for one in extents if one.missed]
    outside = [one.outside.mean for one in extents if one.outside]
    assert missed == sorted(missed)
    assert outside == sorted(outside, reverse=True)
    assert len(missed) == len(outside) == 3
