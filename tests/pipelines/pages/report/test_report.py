"""The report: which detections it shows, what it draws where, and that the page needs and leaks nothing."""

import base64
import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.annotations import Segment, VideoEntry
from cache.detections import Detection
from cache.errors import CacheError
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS, KINDS
from cache.tables.store import PartStore
from pipelines.pages.charts import Axis, Series, counts, line_chart, percents
from pipelines.pages.charts_bars import Bar, columns, stacked, two_sided
from pipelines.pages.marked_texts import MarkedText, PriorsShown
from pipelines.pages.page import page as document
from pipelines.pages.report.content import ReportContent, RunResult, VideoView
from pipelines.pages.report.data import packed, points, video_data
from pipelines.pages.report.page import report
from pipelines.pages.report.videos import JudgedVideo, cutoffs, judge, judge_subset, spread
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs.report import ReportRun, gather, main
from tests.support.data.reports import GRID, WordsBy, World, content, metrics, write_run
from tests.support.data.rows import described
from tests.support.videos.videos import write_video
from training.evaluation.protocol import Protocol
from training.localization.curves import Curves

HOSTILE = "<script>alert('x')</script>&\"'"


def drawn(one: ReportContent) -> dict:
    """The data of its page."""
    return video_data(one.videos, classes=one.classes, grid=one.grid, priors=one.priors)


def test_hostile_text_stays_text() -> None:
    """Names, labels, descriptions and reasons are shown as they are and never become markup or script."""
    page = report(content(HOSTILE))
    plain = report(content("plain"))
    assert page.count("<script") == plain.count("<script") == 2
    assert page.count("&lt;script&gt;") > 15
    assert re.search(r"=\"[^\"<]*'x'", page) is None, "a quote from data stands unescaped in an attribute"


def test_data_cannot_end_its_element() -> None:
    """What scripts read comes back whole, and no `<` in it can begin or end a tag."""
    data = {"said": [HOSTILE, "<!--", "\u2028"], "n": 1.5}
    page = document(title="t", styles=(), body="", data=data)
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert "<" not in text
    assert json.loads(text) == data


def test_page_fetches_nothing() -> None:
    """No address but data URIs and places in the page, and a policy that forbids all others."""
    page = report(content())
    policy = page.partition("Content-Security-Policy")[2].partition(">")[0].replace("&#x27;", "'")
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-" in policy
    assert "media-src" not in policy
    fetched = re.findall(r"https?://[^\"]*|<link|@import|url\(", page)
    assert fetched == ["http://www.w3.org/2000/svg"], "only the name of SVG, which is no address"
    assert all(uri.startswith("#") for uri in re.findall(r'(?:href|src)="([^"]*)"', page))


def test_page_shows_the_figures() -> None:
    """mAP in percent, the change against the other run, and the class figures."""
    one = content()
    assert one.run.metrics is not None
    host = RunResult("host", one.run.recipe, metrics(run="host", map=(0.6, 0.3), average=0.45), ())
    full = RunResult("full", one.run.recipe, metrics(), ())
    page = report(ReportContent("demo", ("Dive", "Jump"), full, host, GRID, (), PriorsShown({}, {})))
    cells = re.findall(r"<td[^>]*>([\d.]+)</td>", page)
    assert cells[:6] == ["60.0", "30.0", "45.0", "65.5", "25.0", "45.2"]
    assert re.findall(r'class="(?:up|down)">([+-][\d.]+)<', page) == ["+0.3", "+5.5", "-5.0"]
    assert "host co2net" in page
    assert "KSM on" in page


def test_page_without_truth() -> None:
    """With no scores the page says so, and does not call detections wrong."""
    entry = VideoEntry("v", "testing", 20.0, (), (), None)
    judged = judge_subset([Detection("v", "Jump", 0.9, 2.0, 7.0)], [entry])["v"]
    run = RunResult("r", TrainRun(dataset=Path("d"), run=Path("r")), None, ())
    one = ReportContent(
        "mine", ("Jump",), run, None, GRID, (VideoView(judged, 20.0, {}, None, None),), PriorsShown({}, {})
    )
    page = report(one)
    assert "there is no mAP" in page
    body = page.partition("<body>")[2].partition("<script")[0]
    assert "missed" not in body
    assert "positive" not in body
    assert not drawn(one)["scored"]
    assert "hold no A_CSR" in page


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60), st.integers(1, 9))
def test_curves_come_back(values: list[float], size: int) -> None:
    """Means of snippets, each in a byte: at most half a step from what they were, and never below 0."""
    whole = np.array(values)
    mean = points(whole, size)
    assert mean == pytest.approx([float(np.mean(values[k : k + size])) for k in range(0, len(values), size)])
    top, text = packed(mean)
    back = np.frombuffer(base64.b64decode(text), np.uint8) / 255 * top
    assert back == pytest.approx(np.maximum(mean, 0), abs=top / 255 / 2 + 1e-4)


def test_long_curves_of_many_videos_stay_small() -> None:
    """A page of thousands of long videos holds means: the number of points is bounded, their times are those of the
    snippets that they stand for."""
    view = content().videos[0]
    long = VideoView(view.judged, 600.0, {"plain": np.ones(5000)}, np.ones(5000), None)
    run = content().run
    many = ReportContent("d", ("plain",), run, None, GRID, (long,) * 3000, PriorsShown({}, {}))
    one = drawn(many)["videos"][0]
    size = one["snippets"]
    count = len(base64.b64decode(one["ksm"][1]))
    assert 3000 * 3 * count <= 4_000_000
    assert count == -(-5000 // size)
    assert one["step"] == pytest.approx(size * 0.5)
    assert one["offset"] == pytest.approx(size * 0.5 / 2)
    short = drawn(ReportContent("d", ("plain",), run, None, GRID, (view,), PriorsShown({}, {})))["videos"][0]
    assert (short["snippets"], short["offset"], short["step"]) == (1, 0.25, 0.5)


@given(st.text("ab<&", max_size=12), st.lists(st.integers(0, 12), max_size=6))
def test_pieces_are_the_text(text: str, borders: list[int]) -> None:
    """Every second piece is marked; together they are the text."""
    edges = sorted({min(border, len(text)) for border in borders})
    marks = tuple(zip(edges[::2], edges[1::2], strict=False))
    pieces = MarkedText(text, marks).pieces
    assert "".join(pieces) == text
    assert pieces[1::2] == [text[start:end] for start, end in marks]


def places(svg: str, tag: str, style: str) -> list[dict[str, str]]:
    """Attributes of the elements of a drawing with a class."""
    return [one.attrib for one in ElementTree.fromstring(svg).iter(tag) if one.attrib.get("class", "") == style]


def test_lines_stand_at_their_values() -> None:
    """Points lie on the straight way between the ticks; the axes say what they are."""
    lines = [Series("a", (0.1, 0.3, 0.5), (0.0, 0.5, 1.0), 0), Series("<b>", (0.1, 0.5), (1.0, 1.0), 1)]
    svg = line_chart("mAP", Axis("temporal IoU", 0.1, 0.5, (0.1, 0.5)), percents("mAP [%]"), lines)
    first, second = (
        [tuple(map(float, at.split(","))) for at in places(svg, "polyline", style)[0]["points"].split()]
        for style in ("line s0", "line s1")
    )
    ticks = {one["x"]: one for one in places(svg, "text", "tick middle")}
    assert [f"{x:.1f}" for x in (first[0][0], first[2][0])] == list(ticks)
    assert first[1] == pytest.approx(((first[0][0] + first[2][0]) / 2, (first[0][1] + first[2][1]) / 2), abs=0.1)
    assert second[0][1] == second[1][1] == first[2][1]
    assert "temporal IoU" in svg
    assert "&lt;b&gt;: 100 at 0.1" in svg


def test_bars_are_as_long_as_their_values() -> None:
    """Columns from the floor, stacks on each other, and rows to both sides of the middle."""
    bars = {"x": Bar(0.2, "one"), "y": Bar(0.8, "two"), "none": Bar(None, "three")}
    heights = [float(one["height"]) for one in places(columns("n", "x", percents("y"), bars), "rect", "fill s0")]
    assert heights[1] == pytest.approx(4 * heights[0], rel=0.01)
    assert len(heights) == 2
    stack = stacked("n", "x", percents("y"), {"1G": [Bar(0.25, "a"), Bar(0.75, "b", "s1")]})
    (low,), (high,) = places(stack, "rect", "fill s0"), places(stack, "rect", "fill s1")
    assert float(high["y"]) + float(high["height"]) == pytest.approx(float(low["y"]), abs=0.2)
    svg = two_sided("n", ("left", "right"), 0.5, {"r": ([Bar(0.1, "l")], [Bar(0.3, "r", "s1")])})
    (left,), (right,) = places(svg, "rect", "fill s0"), places(svg, "rect", "fill s1")
    assert float(right["width"]) == pytest.approx(3 * float(left["width"]), rel=0.01)
    assert float(left["x"]) + float(left["width"]) == pytest.approx(float(right["x"]), abs=0.2)


@given(st.integers(0, 100_000))
def test_counts_reach_their_greatest(most: int) -> None:
    """Few round ticks, the last of which is not below."""
    axis = counts("videos", most)
    assert axis.ticks[0] == 0
    assert axis.ticks[-1] == axis.high >= most
    assert 2 <= len(axis.ticks) <= 8


def test_cutoffs_keep_as_many_as_there_are_truths() -> None:
    """Per class over all videos; a class without ground truth keeps none, unless there is no ground truth at all."""
    truth = {"u": [Segment("Jump", 0.0, 1.0)], "v": [Segment("Jump", 0.0, 1.0)]}
    rows = [("u", "Jump", 0.9), ("u", "Jump", 0.8), ("v", "Jump", 0.7), ("v", "Run", 0.6)]
    detections = [Detection(video, label, score, 0.0, 1.0) for video, label, score in rows]
    assert cutoffs(detections, truth) == {"Jump": 0.8, "Run": float("inf")}
    assert cutoffs(detections, {"u": []}) == {"Jump": 0.45, "Run": 0.3}


def test_judge_gives_each_truth_to_one_detection() -> None:
    """The better of two detections is a true positive; the other, and one of another class, are false positives."""
    segments = [Segment("Jump", 0.0, 10.0), Segment("Run", 20.0, 30.0)]
    rows = [("Jump", 0.5, 0.0, 9.0), ("Jump", 0.9, 1.0, 10.0), ("Jump", 0.8, 20.0, 30.0)]
    judged = judge([Detection("v", *row) for row in rows], segments)
    assert [(item.detection.score, item.tiou, item.right) for item in judged] == [
        (0.9, pytest.approx(0.9), True),
        (0.8, 0.0, False),
        (0.5, pytest.approx(0.9), False),
    ]
    one = JudgedVideo(VideoEntry("v", "testing", 40.0, (), tuple(segments), None), tuple(judged))
    assert (one.quality, one.hit, one.missed, one.false) == (pytest.approx(2 / 5), {0}, 1, 2)
    assert JudgedVideo(VideoEntry("v", "testing", 40.0, (), (), None), ()).quality == 1.0


def test_the_best_below_the_cut_offs_are_kept_apart() -> None:
    """They are neither right nor wrong, and only a few."""
    entry = VideoEntry("v", "testing", 100.0, ("Jump",), (Segment("Jump", 0.0, 10.0),), None)
    detections = [Detection("v", "Jump", 0.9 - k / 100, 0.0, 10.0 - k / 10) for k in range(30)]
    judged = judge_subset(detections, [entry])["v"]
    assert [item.detection.score for item in judged.drawn] == [0.9]
    assert [item.detection.score for item in judged.further] == [0.9 - k / 100 for k in range(1, 13)]
    assert judged.further[0].tiou == pytest.approx(0.99)
    assert not any(item.right for item in judged.further)


def test_spread() -> None:
    """First and last are among them; few items are all kept."""
    assert spread(range(100), 3) == [0, 50, 99]
    assert spread([1, 2], 12) == [1, 2]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An evaluated run on a dataset of one readable video, one missing, and one damaged."""
    data = tmp_path / "data"
    write_video(data / "videos" / "good.mp4", 40)
    (data / "videos" / "damaged.mp4").write_bytes(b"no video")
    entries = [
        VideoEntry(name, "testing", 4.0, ("Jump",), (Segment("Jump", 1.0, 2.0),), data / "videos" / f"{name}.mp4")
        for name in ("good", "damaged")
    ]
    entries.append(VideoEntry("missing", "testing", 4.0, ("Jump",), (), None))
    ones = np.ones(8)
    curves = [Curves(entry.video_id, np.ones((8, 1)), ones, None, ones[:1]) for entry in entries]
    world = World(entries, [Detection("good", "Jump", 0.9, 1.1, 2.0)], curves, ("Jump",))
    return write_run(data, tmp_path / "runs" / "full", world)


def test_from_a_run_folder(run: Path) -> None:
    """Frames of the readable video, a reason for each of the others, and one page that is written at once."""
    main(ReportRun(run=run, compare=run, frames=4))
    page = (run / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 4
    content = gather(ReportRun(run=run))
    views = {view.judged.entry.video_id: view for view in content.videos}
    assert list(views) == ["damaged", "good", "missing"], "the worst first"
    assert views["good"].problem == ""
    assert "damaged.mp4" in views["damaged"].problem
    assert views["missing"].problem == "No frames: the annotations name no file for this video"
    assert [item.right for item in views["good"].judged.drawn] == [True]
    assert content.diagnosis is not None
    assert content.diagnosis.truths == 2
    assert "host.mil" in page
    assert all(ElementTree.fromstring(svg) is not None for svg in re.findall(r"<svg.*?</svg>", page))


def test_frames_of_few_videos_and_none(run: Path) -> None:
    """`videos` bounds the frames, not the timelines."""
    content = gather(ReportRun(run=run, videos=0))
    assert len(content.videos) == 3
    assert not any(view.pictures or view.problem for view in content.videos)


def test_a_removed_video_speaks_for_no_class(run: Path, tmp_path: Path) -> None:
    """Descriptions of a class are shown of the videos that the annotations have."""
    store = PartStore.create(tmp_path / "data/descriptions", WordsBy(), DESCRIPTIONS, key=DESCRIPTION_KEY)
    store.append([described(video, "Jump", kind) for video in ("a-removed-one", "good") for kind in KINDS])
    shown = gather(ReportRun(run=run)).priors.by_class["Jump"]
    assert [one.video_id for one in shown] == ["good"]


def test_run_that_was_not_evaluated(run: Path) -> None:
    """The message names the file and the command."""
    (run / "detections.json").unlink()
    with pytest.raises(CacheError, match=r"detections\.json: no such file.*make eval"):
        main(ReportRun(run=run))
    assert not (run / "report.html").exists()


def test_run_of_another_protocol_does_not_stand_beside_it(run: Path, tmp_path: Path) -> None:
    """Figures of two protocols never share a page; the message names the difference."""
    other = tmp_path / "runs" / "other"
    shutil.copytree(run, other)
    protocol = Protocol(tious=(0.3, 0.5), ambiguous="drop")
    metrics(videos=3, classes=("Jump",), ap=((0.8, 0.5),), protocol=protocol).save(other / "metrics.json")
    with pytest.raises(CacheError, match=r"other/metrics.json: protocol.ambiguous: found 'drop', expected 'keep'"):
        main(ReportRun(run=run, compare=other))
