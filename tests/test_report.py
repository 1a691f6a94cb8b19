"""The report: which detections it shows, what it draws where, and that the page needs and leaks nothing."""

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from videos import write_video

from cache.annotations import Dataset, Segment, VideoEntry
from cache.detections import Detection, write_detections
from cache.features import FeatureGrid, FeatureStore
from cache.schema import CacheError
from pipelines.evaluate import Metrics
from pipelines.report import ReportRun, gather, main
from pipelines.report_charts import Bar, ClassLanes, Curve, class_bars, timeline
from pipelines.report_page import ReportContent, RunResult, Said, VideoView, report
from pipelines.report_videos import Judged, cutoffs, judge, quality, spread
from pipelines.train import TrainRun
from training.inference import Curves, save_curves
from training.localize import LocalizeRecipe
from training.protocol import Protocol

GRID = FeatureGrid(streams={"rgb": 4, "flow": 4}, fps=16.0, snippet_frames=8, snippet_stride=8)
HOSTILE = "<script>alert('x')</script>&\"'"


def metrics(run: str = "full", **changes: object) -> Metrics:
    """Scores of two classes at two thresholds."""
    values = {
        "run": run,
        "protocol": Protocol(tious=(0.3, 0.5)),
        "subset": "testing",
        "videos": 2,
        "detections": 3,
        "tious": (0.3, 0.5),
        "map": (0.655, 0.25),
        "average": 0.4525,
        "classes": ("Dive", "Jump"),
        "ap": ((0.8, 0.5), (0.51, 0.0)),
        "unscored": {},
        "left_out": {},
        "localize": LocalizeRecipe(),
    }
    return Metrics.model_validate(values | changes)


def content(text: str = "plain") -> ReportContent:
    """A page in which every text from data is `text`."""
    entry = VideoEntry(text, "testing", 20.0, (text,), (Segment(text, 2.0, 6.0),), None)
    found = (Judged(Detection(text, text, 0.9, 2.0, 7.0), 0.8, True),)
    curve = np.linspace(0, 1, 40)
    view = VideoView(entry, 20.0, found, {text: curve}, curve, curve / 2, (), text)
    scores = metrics(run=text, classes=(text, "Jump"), unscored={text: 3}, subset=text)
    run = RunResult(text, TrainRun(dataset=Path(text), run=Path(text)), scores, ({"step": 10, text: 1.5},))
    other = RunResult(text, run.recipe, scores, run.history)
    grid = GRID.model_copy(update={"streams": {text: 8}})
    return ReportContent(text, run, other, grid, (view,), {text: Said(text, text, text)})


def test_hostile_text_stays_text() -> None:
    """Names, labels, descriptions and reasons are shown as they are and never become markup."""
    page = report(content(HOSTILE))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 15
    assert re.search(r"=\"[^\"]*'x'", page) is None, "a quote from data stands unescaped in an attribute"


def test_page_fetches_nothing() -> None:
    """No address but data URIs, no script, and a policy that forbids both."""
    page = report(content())
    assert "default-src 'none'" in page.replace("&#x27;", "'")
    assert not re.findall(r"https?://|//[a-z]|<link|<script|@import|url\(", page)
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in re.findall(r'(?:href|src)="([^"]*)"', page))


def test_page_shows_the_figures() -> None:
    """mAP in percent, the change against the other run, and the class figures."""
    one = content()
    assert one.run.metrics is not None
    host = RunResult("host", one.run.recipe, metrics(run="host", map=(0.6, 0.3), average=0.45), ())
    full = RunResult("full", one.run.recipe, metrics(), ())
    page = report(ReportContent("demo", full, host, GRID, (), {}))
    cells = re.findall(r"<td[^>]*>([\d.]+)</td>", page)
    assert cells[:6] == ["60.0", "30.0", "45.0", "65.5", "25.0", "45.2"]
    assert re.findall(r'class="(?:up|down)">([+-][\d.]+)<', page) == ["+0.3", "+5.5", "-5.0"]
    assert "host co2net" in page
    assert "KSM on" in page


def test_page_without_truth() -> None:
    """With no scores the page says so, and does not call detections wrong."""
    entry = VideoEntry("v", "testing", 20.0, (), (), None)
    view = VideoView(entry, 20.0, (Judged(Detection("v", "Jump", 0.9, 2.0, 7.0), None, True),), {}, None, None, ())
    run = RunResult("r", TrainRun(dataset=Path("d"), run=Path("r")), None, ())
    page = report(ReportContent("mine", run, None, GRID, (view,), {}))
    assert "there is no mAP" in page
    assert "1 found" in page
    assert "wrong" not in page.partition("<body>")[2]


def drawing() -> ElementTree.Element:
    """A timeline of 20 s with one class, as XML."""
    seconds = np.arange(0.25, 20, 0.5)
    lanes = ClassLanes(
        "Jump",
        (Bar(5.0, 10.0, "truth"),),
        (Bar(5.0, 12.0, "hit"), Bar(6.0, 9.0, "overlaps", False), Bar(15.0, 25.0, "beyond the end")),
        Curve("T-CAM", "tcam", seconds, np.where(seconds < 10, 0.0, 1.0)),
    )
    uris = ["data:image/jpeg;base64,aa", "data:image/jpeg;base64,bb"]
    text = timeline(name="v", duration=20.0, pictures=uris, classes=[lanes], attention=[])
    return ElementTree.fromstring(text)


def box(element: ElementTree.Element) -> tuple[float, float]:
    """Left and right of a rectangle or picture."""
    left = float(element.attrib["x"])
    return left, left + float(element.attrib["width"])


def test_bars_stand_at_their_seconds() -> None:
    """Pictures, truth and detections share one time axis: half of the duration is the border of the two pictures."""
    svg = drawing()
    first, second = (box(element) for element in svg.iter("image"))
    start, middle, end = first[0] - 1, (first[1] + second[0]) / 2, second[1] + 1
    bars = {bar.findtext("title"): box(bar) for bar in svg.iter("rect") if bar.find("title") is not None}
    quarter = (end - start) / 4
    assert bars["truth"] == pytest.approx((start + quarter, middle), abs=0.2)
    assert bars["hit"] == pytest.approx((start + quarter, start + quarter * 12 / 5), abs=0.2)
    assert bars["beyond the end"][1] == pytest.approx(end, abs=0.2)


def test_overlapping_bars_take_rows_and_wrong_ones_another_colour() -> None:
    """What overlaps goes one row down; what does not overlap stays in the first."""
    bars = {bar.findtext("title"): bar.attrib for bar in drawing().iter("rect")}
    assert bars["hit"]["y"] == bars["beyond the end"]["y"] < bars["overlaps"]["y"]
    assert bars["overlaps"]["class"] == "found wrong"


def test_curve_rises_where_it_should() -> None:
    """The curve's points lie at the middles of the snippets, low before 10 s and high after."""
    line = next(drawing().iter("polyline"))
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    heights = [y for _, y in points]
    assert len(points) == 40
    assert heights[19] > heights[20] == min(heights)
    assert points == sorted(points, key=lambda point: point[0])


def test_class_bars_are_sorted() -> None:
    """Best class first, the other run's mark at its value."""
    svg = ElementTree.fromstring(class_bars({"A": 0.2, "B": 0.8}, {"A": 0.5, "B": 0.8}, {}))
    names = [text.text for text in svg.iter("text") if text.attrib["class"] == "name end"]
    assert names == ["B", "A"]
    widths = [float(bar.attrib["width"]) for bar in svg.iter("rect") if bar.attrib["class"] == "bar"]
    marks = [float(line.attrib["x1"]) for line in svg.iter("line") if line.attrib["class"] == "mark"]
    assert widths[0] == pytest.approx(4 * widths[1], rel=0.01)
    assert marks[0] - marks[1] == pytest.approx(0.3 / 0.8 * widths[0], rel=0.01)


def test_cutoffs_keep_as_many_as_there_are_truths() -> None:
    """Per class over all videos; a class without truth keeps none, unless there is no truth at all."""
    truth = {"u": [Segment("Jump", 0.0, 1.0)], "v": [Segment("Jump", 0.0, 1.0)]}
    rows = [("u", "Jump", 0.9), ("u", "Jump", 0.8), ("v", "Jump", 0.7), ("v", "Run", 0.6)]
    detections = [Detection(video, label, score, 0.0, 1.0) for video, label, score in rows]
    assert cutoffs(detections, truth) == {"Jump": 0.8, "Run": float("inf")}
    assert cutoffs(detections, {"u": []}) == {"Jump": 0.45, "Run": 0.3}


def test_judge_gives_each_truth_to_one_detection() -> None:
    """The better of two detections takes the truth; the other, and one of another class, are wrong."""
    segments = [Segment("Jump", 0.0, 10.0), Segment("Run", 20.0, 30.0)]
    rows = [("Jump", 0.5, 0.0, 9.0), ("Jump", 0.9, 1.0, 10.0), ("Jump", 0.8, 20.0, 30.0)]
    judged = judge([Detection("v", *row) for row in rows], segments)
    assert [(item.detection.score, item.tiou, item.right) for item in judged] == [
        (0.9, pytest.approx(0.9), True),
        (0.8, 0.0, False),
        (0.5, pytest.approx(0.9), False),
    ]
    assert quality(judged, segments) == pytest.approx(2 / 5)
    assert quality([], []) == 1.0


def test_spread() -> None:
    """First and last are among them; few items are all kept."""
    assert spread(range(100), 3) == [0, 50, 99]
    assert spread([1, 2], 12) == [1, 2]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An evaluated run on a dataset of one readable video, one missing, and one damaged."""
    data, folder = tmp_path / "data", tmp_path / "runs" / "full"
    (data / "videos").mkdir(parents=True)
    folder.mkdir(parents=True)
    write_video(data / "videos" / "good.mp4", 40)
    (data / "videos" / "damaged.mp4").write_bytes(b"no video")
    entries = [
        VideoEntry(name, "testing", 4.0, ("Jump",), (Segment("Jump", 1.0, 2.0),), data / "videos" / f"{name}.mp4")
        for name in ("good", "damaged")
    ]
    entries.append(VideoEntry("missing", "testing", 4.0, ("Jump",), (), None))
    Dataset("tiny", ("Jump",), tuple(entries)).save(data / "annotations.json")
    FeatureStore.create(data / "features", GRID)
    write_detections(folder / "detections.json", [Detection("good", "Jump", 0.9, 1.1, 2.0)])
    ones = np.ones(8)
    curves = [Curves(entry.video_id, np.ones((8, 1)), ones, None, ones[:1]) for entry in entries]
    save_curves(folder / "curves.npz", curves)
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 10, "lr": 1e-3, "seconds": 1.0, "host.mil": 0.7}) + "\n")
    TrainRun(dataset=data, run=folder).save(folder / "recipe.json")
    metrics(videos=3, classes=("Jump",), ap=((0.8, 0.5),)).save(folder / "metrics.json")
    return folder


def test_from_a_run_folder(run: Path) -> None:
    """Frames of the readable video, a reason for each of the others, and one page that is written at once."""
    main(ReportRun(run=run, compare=run, frames=4))
    page = (run / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 4
    views = {view.entry.video_id: view for view in gather(ReportRun(run=run)).videos}
    assert views["good"].problem == ""
    assert "damaged.mp4" in views["damaged"].problem
    assert views["missing"].problem == "the annotations know no file of this video"
    assert [item.right for item in views["good"].judged] == [True]
    assert "host.mil" in page
    assert all(ElementTree.fromstring(svg) is not None for svg in re.findall(r"<svg.*?</svg>", page))


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
