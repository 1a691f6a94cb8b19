"""Protocols: what their names stand for, which videos and detections count, and in which units."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.evaluation.protocols import reduced_annotations
from cache.annotations import Dataset, Segment, VideoEntry
from cache.detections import Detection, DetectionTable
from cache.errors import CacheError
from tests.support.paths import SHARED
from training.evaluation.evaluate import Evaluation, evaluate_detections, protocol_videos
from training.evaluation.protocol import (
    PROTOCOLS,
    Protocol,
    ProtocolChoice,
    ProtocolName,
    differences,
    tiou_grid,
    tiou_key,
)

GOLDENS = SHARED / "goldens" / "post_evaluators.npz"
UM_TRUTH = SHARED / "data" / "thumos14" / "um_layout" / "gt.json"
BROKEN = ("video_test_0000270", "video_test_0001496")
ABSENT = "video_test_0001292"


def entry(video: str, *spans: tuple[float, float], ambiguous: tuple[tuple[float, float], ...] = ()) -> VideoEntry:
    """A testing video with instances of Jump."""
    segments = tuple(Segment("Jump", float(start), float(end)) for start, end in spans)
    return VideoEntry(video, "testing", 100.0, ("Jump",), segments, None, ambiguous)


def dataset(*videos: VideoEntry) -> Dataset:
    """Of two classes, of which Dive never occurs."""
    return Dataset("world", ("Dive", "Jump"), videos)


def found(*rows: tuple[str, float, float, float]) -> DetectionTable:
    """Detections of Jump: video, score, start, end."""
    return DetectionTable.of(
        Detection(video, "Jump", score, float(start), float(end)) for video, score, start, end in rows
    )


def test_grids() -> None:
    """Ranges are numpy's linspace, the end included; lists are as given; keys are short and distinct."""
    assert tiou_grid("0.5:0.05:0.95") == tuple(np.linspace(0.5, 0.95, 10).tolist())
    assert tiou_grid("0.3, 0.5,0.7") == (0.3, 0.5, 0.7)
    assert tiou_grid("0.5") == tiou_grid("0.5:0.1:0.5") == (0.5,)
    assert [tiou_key(tiou) for tiou in tiou_grid("0.1:0.1:0.9")] == [f"0.{k}" for k in range(1, 10)]
    assert [tiou_key(tiou) for tiou in (*tiou_grid("0.5:0.05:0.6"), 1.0)] == ["0.5", "0.55", "0.6", "1"]


@pytest.mark.parametrize(
    "text",
    ["", "high", "0.5:0.9", "0.5:0:0.9", "0.9:0.1:0.5", "0.5:0.06:0.95", "0:0.1:0.5", "0.5,0.3", "0.5,1.5", "nan"],
)
def test_grids_that_are_none(text: str) -> None:
    """The message holds what was found."""
    with pytest.raises(ValueError, match=f"tious: found '{text}'"):
        tiou_grid(text)


def test_names_stand_for_the_public_sets() -> None:
    """Three sets of THUMOS14's videos that differ in known ones; ActivityNet's script at its own thresholds."""
    assert {name: PROTOCOLS[name].videos for name in PROTOCOLS if "thumos14-2" in name} == {
        "thumos14-213": 213,
        "thumos14-212": 212,
        "thumos14-210": 210,
    }
    assert PROTOCOLS["thumos14-212"].left_out == (ABSENT,)
    assert set(PROTOCOLS["thumos14-210"].left_out) == {ABSENT, *BROKEN}
    assert set(PROTOCOLS["thumos14-213"].required) == {ABSENT, *BROKEN}
    for name in ("activitynet12", "activitynet13"):
        assert (PROTOCOLS[name].subset, len(PROTOCOLS[name].tious)) == ("validation", 10)
    co2 = PROTOCOLS["thumos14-co2"]
    assert (co2.videos, co2.units, co2.ambiguous, len(co2.tious)) == (212, "snippets", "drop", 9)


def test_variations_are_recorded_and_told_apart() -> None:
    """A varied protocol keeps its name, and says in what it differs; nothing given is the protocol itself."""
    assert all(ProtocolChoice(protocol=name).chosen() == protocol for name, protocol in PROTOCOLS.items())
    varied = ProtocolChoice(protocol="thumos14-210", units="snippets", tious="0.3,0.5", subset="test").chosen()
    assert (varied.name, varied.videos, varied.subset, varied.tious) == ("thumos14-210", 210, "test", (0.3, 0.5))
    assert differences(varied, PROTOCOLS["thumos14-210"]) == [
        "subset: found 'test', expected 'testing'",
        "units: found 'snippets', expected 'seconds'",
        f"tious: found (0.3, 0.5), expected {PROTOCOLS['thumos14-210'].tious}",
    ]
    assert differences(varied, Protocol.model_validate_json(varied.model_dump_json())) == []


def thumos(*missing: str) -> Dataset:
    """213 videos under the names that matter, less some."""
    names = {ABSENT, *BROKEN, *(f"video_test_{number:07d}" for number in range(210))} - set(missing)
    return dataset(*(entry(name, (0, 10)) for name in sorted(names)))


@pytest.mark.parametrize(
    ("name", "missing", "count"),
    [
        ("thumos14-213", (), 213),
        ("thumos14-212", (), 212),
        ("thumos14-212", (ABSENT,), 212),
        ("thumos14-210", (), 210),
        ("thumos14-210", (ABSENT,), 210),
        ("thumos14-210", (ABSENT, *BROKEN), 210),
    ],
)
def test_videos_that_count(name: ProtocolName, missing: tuple[str, ...], count: int) -> None:
    """Annotations may hold more than the protocol counts."""
    chosen = [video.video_id for video in protocol_videos(thumos(*missing), PROTOCOLS[name])]
    assert len(chosen) == count
    assert not set(chosen) & set(PROTOCOLS[name].left_out)


@pytest.mark.parametrize(
    ("name", "missing", "message"),
    [
        ("thumos14-213", (ABSENT,), "found 212 videos, without video_test_0001292; protocol thumos14-213 expects 213"),
        ("thumos14-212", (ABSENT, *BROKEN), f"found 210 videos, without {', '.join(BROKEN)}; protocol thumos14-212"),
        ("thumos14-210", ("video_test_0000007",), "found 209 videos; protocol thumos14-210 expects 210"),
    ],
)
def test_annotations_of_another_set_stop(name: ProtocolName, missing: tuple[str, ...], message: str) -> None:
    """A figure never carries the name of videos that were not all there."""
    with pytest.raises(CacheError, match=message):
        protocol_videos(thumos(*missing), PROTOCOLS[name])


def test_detections_in_other_videos() -> None:
    """Left out and counted, or false positives and counted; the official script has the latter."""
    world = dataset(entry("a", (0, 10)), replace(entry("b", (0, 10)), subset="training"))
    rows = found(("b", 0.9, 0, 10), ("elsewhere", 0.8, 0, 10), ("a", 0.7, 0, 10))
    out = evaluate_detections(world, rows, Protocol(tious=(0.5,)))
    assert (out.scores.average, out.detections, out.outside, out.left_out) == (1.0, 1, 2, {"outside": 2})
    counted = evaluate_detections(world, rows, ProtocolChoice(tious=(0.5,)).chosen())
    assert counted.scores.average == pytest.approx(1 / 3)
    assert (counted.detections, counted.outside, counted.left_out) == (3, 2, {})


def test_ambiguous_stretches() -> None:
    """What touches one is left out, of any class; what only meets its border stays; other videos are not concerned."""
    world = dataset(entry("a", (0, 10), ambiguous=((20.0, 30.0), (50.0, 51.0))), entry("b", (0, 10)))
    rows = found(("a", 0.9, 29, 40), ("a", 0.8, 10, 20), ("a", 0.7, 50, 51), ("b", 0.6, 20, 30), ("a", 0.5, 25, 25))
    dropped = evaluate_detections(world, rows, Protocol(ambiguous="drop"))
    assert (dropped.detections, dropped.left_out) == (3, {"ambiguous": 2})
    assert evaluate_detections(world, rows, Protocol()).detections == 5
    with pytest.raises(CacheError, match="found no field 'ambiguous'"):
        evaluate_detections(dataset(entry("a", (0, 10))), rows, Protocol(ambiguous="drop"))


snippets = st.floats(0, 12).map(lambda k: round(k, 2))
stretches = st.tuples(snippets, snippets).map(lambda pair: (min(pair), max(pair)))


@settings(max_examples=100, deadline=None)
@given(st.lists(stretches, min_size=1, max_size=4), st.lists(stretches, min_size=1, max_size=6))
def test_ambiguous_snippets_are_counted_one_by_one(
    stretches: list[tuple[float, float]], spans: list[tuple[float, float]]
) -> None:
    """In snippets, the filter is that of sets of whole ones: detections truncated, stretches rounded."""
    world = dataset(entry("a", (0, 10), ambiguous=tuple(stretches)))
    rows = found(*(("a", 0.5, start, end) for start, end in spans))
    kept = evaluate_detections(world, rows, Protocol(ambiguous="drop", units="snippets", fps=16))
    undecided = {k for start, end in stretches for k in range(round(start), round(end))}
    touching = [bool(undecided & set(range(int(start), int(end)))) for start, end in spans]
    assert kept.left_out.get("ambiguous", 0) == sum(touching)


def test_truth_is_rounded_half_to_even() -> None:
    """0.5 and 2.5 snippets become 0 and 2; detections are not rounded."""
    world = dataset(entry("a", (0.5, 2.5)))
    protocol = Protocol(units="snippets", fps=16, tious=(0.75, 0.76, 1.0))
    exact = evaluate_detections(world, found(("a", 0.9, 0, 2)), protocol)
    np.testing.assert_array_equal(exact.scores.map, [1, 1, 1])
    near = evaluate_detections(world, found(("a", 0.9, 0.5, 2.0)), protocol)
    np.testing.assert_array_equal(near.scores.map, [1, 0, 0])


def test_borders_of_snippets_come_back_whole() -> None:
    """Seconds of whole snippets of 0.64 s: [k, k + 2] on [k, k + 4] is half of it, at every k."""
    at = [k * 16 / 25 for k in range(0, 3000, 5)]
    world = dataset(*(entry(f"v{k}", (start, start + 4 * 16 / 25)) for k, start in enumerate(at)))
    rows = found(*((f"v{k}", 0.9, start, (5 * k + 2) * 16 / 25) for k, start in enumerate(at)))
    assert evaluate_detections(world, rows, Protocol(units="snippets", tious=(0.5,))).scores.average == 1.0


def test_unknown_labels() -> None:
    """They stop, with the nearest class; or they are left out and counted. Known ones without truth are counted
    apart."""
    world = dataset(entry("a", (0, 10)))
    rows = [Detection("a", "Jumps", 0.9, 0, 10), Detection("a", "Dive", 0.8, 0, 10), Detection("a", "Jump", 0.7, 0, 10)]
    with pytest.raises(CacheError, match=r"label 'Jumps' \(video 'a'\) is no class.*did you mean 'Jump'"):
        evaluate_detections(world, DetectionTable.of(rows), Protocol())
    out = evaluate_detections(world, DetectionTable.of(rows), Protocol(), unknown_labels="ignore")
    assert (out.left_out, out.scores.unscored, out.scores.average) == ({"unknown label": 1}, {"Dive": 1}, 1.0)


def test_truth_without_segments_stops() -> None:
    """Video labels alone can not be evaluated against."""
    with pytest.raises(CacheError, match="none of the 1 videos of 'testing' has a segment"):
        evaluate_detections(dataset(entry("a")), found(), Protocol())


def golden_evaluation(golden: np.lib.npyio.NpzFile, videos: Dataset, **variation: object) -> Evaluation:
    """The 7,513 predictions of the golden figures, scored."""
    labels = tuple(sorted(videos.classes))
    names, video = np.unique(golden["pred/video"], return_inverse=True)
    table = DetectionTable(
        tuple(names.tolist()),
        labels,
        video,
        golden["pred/label"],
        golden["pred/score"],
        golden["pred/start_end_seconds"],
    )
    return evaluate_detections(videos, table, ProtocolChoice.model_validate(variation).chosen())


@pytest.mark.skipif(not GOLDENS.exists() or not UM_TRUTH.exists(), reason=f"{SHARED} is not there")
def test_public_figures_in_seconds() -> None:
    """UM's evaluator on 210 videos, predictions in two others included: every class and threshold."""
    golden = np.load(GOLDENS)
    out = golden_evaluation(golden, Dataset.load(UM_TRUTH), subset="test")
    assert (out.videos, out.outside, out.left_out) == (210, len(golden["pred/video"]) - inside(golden), {})
    np.testing.assert_allclose(out.scores.ap.T, golden["um/ap_iou_by_class"], rtol=0, atol=1e-12)


def inside(golden: np.lib.npyio.NpzFile) -> int:
    """Predictions in the 210 videos of the truth."""
    database = json.loads(UM_TRUTH.read_text())["database"]
    return sum(str(video) in database for video in golden["pred/video"])


@pytest.mark.skipif(not GOLDENS.exists() or not UM_TRUTH.exists(), reason=f"{SHARED} is not there")
def test_public_figures_in_rounded_snippets() -> None:
    """CO2-Net's evaluator on 212 videos: every class and threshold.

    Rounded truths of a video are often of equal length, so a detection that covers two has equal overlaps with them.
    At tIoU 0.1 that decides three classes; the evaluator leaves it to an unstable sort, which goes the one way or the
    other with the processor: each class has the figure of one of the two orders of its truth.
    """
    golden, videos = np.load(GOLDENS), reduced_annotations(SHARED / "data" / "thumos14" / "co2_layout")
    variation = {"protocol": "thumos14-co2", "ambiguous": "keep"}
    backwards = replace(videos, videos=tuple(replace(video, segments=video.segments[::-1]) for video in videos.videos))
    one, other = (golden_evaluation(golden, truth, **variation) for truth in (videos, backwards))
    expected = golden["co2/ap_iou_by_class"]
    assert (one.videos, one.detections) == (212, 7513)
    np.testing.assert_allclose(one.scores.ap.T[1:], expected[1:], rtol=0, atol=1e-12)
    distance = np.minimum(np.abs(one.scores.ap.T - expected), np.abs(other.scores.ap.T - expected))
    assert distance.max() < 1e-12
