"""The pages in a real browser: no errors, tables that sort and filter, pages of videos, and texts that stay texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("selenium", reason="the browser is driven by selenium")

from selenium.webdriver import ActionChains, Chrome, Keys

from pipelines.caches.inspect import InspectRun
from pipelines.caches.inspect import main as inspect_cache
from pipelines.runs.compare import CompareRun
from pipelines.runs.compare import main as compare
from pipelines.runs.report import ReportRun
from pipelines.runs.report import main as report
from tests.support.chromium import BROWSER, DRIVER, Page, chromium
from tests.support.data.caches import HOSTILE, LABEL, small_cache
from tests.support.data.reports import IMAGE, SCRIPT, describe, hostile_world, write_run

pytestmark = [
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no chromium with its chromedriver"),
    pytest.mark.allow_hosts(["127.0.0.1", "localhost", "::1"]),  # the driver's own port
]
VIDEOS = [IMAGE, "alpha", "beta"]
"""From the worst to the best, then by name."""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One browser for all tests."""
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of a world in which ids, file names, class names and descriptions are markup, with their pages."""
    root = tmp_path_factory.mktemp("pages")
    data = root / "data"
    worlds = {"full": hostile_world(data), "host": hostile_world(data, better=False)}
    for name, world in worlds.items():
        write_run(data, root / name, world)
    describe(data)
    report(ReportRun(run=root / "full", compare=root / "host", frames=3))
    both = (root / "host", root / "full")
    compare(CompareRun(runs=both, names=("host", SCRIPT), html=root / "compare.html"))
    return root


@pytest.fixture
def page(driver: Chrome, runs: Path) -> Page:
    """The report, opened anew."""
    return Page(driver, runs / "full" / "report.html")


def ids(page: Page) -> list[str]:
    """Videos of the table that are shown, in their order."""
    return page.texts("#video-table tbody th")


def press(page: Page, name: str, table: str = "video-table") -> str:
    """Press the head of a column; how it is sorted then."""
    for head in page.driver.find_elements("css selector", f"#{table} thead th"):
        if head.text.rstrip("↑↓") == name:
            head.find_element("css selector", "button").click()
            return head.get_attribute("aria-sort") or ""
    raise AssertionError(f"no column {name}")


def open_video(page: Page, video_id: str) -> None:
    """Through the link of its row."""
    page.go(f"video/{quote(video_id, safe='')}")


@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("place", ["", "#video/alpha"])
def test_report_opens_without_errors(driver: Chrome, runs: Path, place: str, width: int) -> None:
    """No error of a script, nothing refused by the policy, and no page wider than the window."""
    page = Page(driver, runs / "full" / "report.html", place, width=width)
    assert page.run("return document.documentElement.scrollWidth") <= width
    assert page.texts("h1") == ["alpha" if place else "full"]
    assert page.problems() == []


def test_columns_sort(page: Page) -> None:
    """Numbers begin with the greatest, texts with the first; pressing again turns the order; the worst come first."""
    assert ids(page) == VIDEOS
    assert press(page, "F1") == "descending"
    assert ids(page) == ["alpha", "beta", IMAGE]
    assert press(page, "F1") == "ascending"
    assert ids(page) == VIDEOS
    assert press(page, "video") == "ascending"
    assert press(page, "video") == "descending"
    assert ids(page) == ["beta", "alpha", IMAGE]
    assert press(page, "instances") == "descending"
    assert ids(page) == ["alpha", "beta", IMAGE]
    assert len(page.driver.find_elements("css selector", "#video-table th[aria-sort]")) == 1


def test_filters_narrow(page: Page) -> None:
    """Words, class and outcome, together; the count says so; clearing brings all back."""
    output = page.one("#videos output")
    assert output.text == "3 of 3 videos"
    page.choose("#videos [name=text]", "ALP")
    assert (ids(page), output.text) == (["alpha"], "1 of 3 videos")
    page.choose("#videos [name=text]", "")
    page.choose("#videos [name=class]", SCRIPT)
    assert ids(page) == [IMAGE]
    page.choose("#videos [name=state]", "right")
    assert (ids(page), output.text) == ([], "0 of 3 videos")
    page.choose("#videos [name=class]", "")
    assert ids(page) == ["alpha", "beta"]
    page.one("#videos [type=reset]").click()
    page.run("return new Promise((done) => setTimeout(done, 20))")
    assert output.text == "3 of 3 videos"


def test_videos_open_and_close(page: Page) -> None:
    """Through links, by the address, onwards to the neighbour in the order of the table, and back by a key."""
    page.one("#video-table a[href$=alpha]").click()
    assert page.headed("alpha")
    assert page.driver.title.startswith("alpha · ")
    assert page.texts("#video nav a") == ["All videos", "← previous", "next →"]
    page.one("#video nav a[rel=next]").click()
    assert page.headed("beta")
    assert page.texts("#video nav a") == ["All videos", "← previous"]
    ActionChains(page.driver).send_keys(Keys.ESCAPE).perform()
    assert page.headed("full")
    assert page.driver.switch_to.active_element.text == "beta"
    for unknown in ("video/nobody", "video/%", "videos"):
        page.go(unknown)
        assert page.texts("h1") == ["full"]
    assert page.problems() == []


def test_reading_at_a_time(page: Page) -> None:
    """The pointer and the keys move one cursor; what stands at its time is told in seconds, to those who hear, too."""
    open_video(page, "alpha")
    stage = page.one(".stage")
    line = page.one(".timeline line.axis")
    axis = [float(line.get_attribute(name) or 0) for name in ("x1", "x2")]
    middle = (axis[0] + axis[1]) / 2
    width = page.run("return arguments[0].getBoundingClientRect().width", stage)
    ActionChains(page.driver).move_to_element_with_offset(stage, round(middle - width / 2), 0).perform()
    read = page.one("#readout").text.split("\n")
    assert float(read[0].split()[0]) == pytest.approx(10.0, abs=0.05)
    assert read[1].startswith("Jump ")
    assert float(read[1].split()[-1]) == pytest.approx(0.4, abs=0.03)
    assert read[-2:] == ["A_KSM 0.50", "A_CSR 0.25"]
    stage.send_keys(Keys.HOME)
    assert page.one("#readout").text.startswith("0.00 s")
    stage.send_keys(Keys.PAGE_UP, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert stage.get_attribute("aria-valuenow") == "6.00"
    heard = stage.get_attribute("aria-valuetext") or ""
    assert heard.startswith("6.00 seconds; Jump: ground truth · detection 0.90 · T-CAM 0.2")
    stage.send_keys(Keys.END)
    assert stage.get_attribute("aria-valuenow") == stage.get_attribute("aria-valuemax") == "20.00"


def test_the_timeline_stands_at_its_seconds(page: Page) -> None:
    """Ground truth, detections and curves share the axis; a false negative looks different; classes can be chosen."""
    open_video(page, "alpha")
    boxes = page.run(
        "const box = ({ x, width }) => [x.baseVal.value, x.baseVal.value + width.baseVal.value];"
        "const all = (name) => [...document.querySelectorAll(`.timeline rect.${name}`)].map(box);"
        "const axis = document.querySelector('.timeline line.axis');"
        "return { truth: all('truth'), found: all('found'), axis: [axis.x1.baseVal.value, axis.x2.baseVal.value],"
        " points: [...document.querySelector('polyline.tcam').points].map(({ x, y }) => [x, y]) }"
    )
    start, end = boxes["axis"]
    second = (end - start) / 20
    assert boxes["truth"][0] == pytest.approx([start + 5 * second, start + 10 * second], abs=0.1)
    assert boxes["found"][0] == pytest.approx([start + 5 * second, start + 9 * second], abs=0.1)
    assert len(boxes["points"]) == 40
    assert boxes["points"][0][0] == pytest.approx(start + 0.25 * second, abs=0.1)
    heights = [y for _, y in boxes["points"]]
    assert heights == sorted(heights, reverse=True), "the T-CAM rises"
    assert page.run("return document.querySelectorAll('rect.missed').length") == 0
    curves = "return document.querySelectorAll('polyline.tcam').length"
    before = page.run(curves)
    page.one(".switches label:not(.apart) input:checked").click()
    assert page.run(curves) == before - 1
    open_video(page, IMAGE)
    count = "return document.querySelectorAll(`.timeline rect.${arguments[0]}`).length"
    assert [page.run(count, style) for style in ("truth.missed", "ambiguous", "further")] == [1, 1, 0]
    page.one(".apart input").click()
    assert page.run(count, "further") == 1


def test_texts_of_a_video_stay_texts(page: Page) -> None:
    """Ids, classes, file names and descriptions that are markup are shown letter by letter; action words are marked."""
    open_video(page, IMAGE)
    assert page.texts("h1") == [IMAGE]
    assert SCRIPT in page.texts(".switches label")
    assert page.texts(".said b") == [SCRIPT]
    assert page.texts(".said p")[0] == f"key Someone jumps {SCRIPT} {IMAGE}"
    assert page.texts(".said mark") == ["jumps", "jumps"]
    assert page.run("return document.querySelectorAll('.timeline image').length") == 3
    harmless(page, scripts=2)
    open_video(page, "beta")
    assert page.texts("#video h2") == ["Descriptions of this video (captioning model)"]
    assert page.texts(".said b") == ["Jump"]


def harmless(page: Page, *, scripts: int) -> None:
    """No element of those that the texts would make, and no script but the page's own."""
    assert page.run("return document.scripts.length") == scripts
    assert page.run("return document.querySelectorAll('main script, img[src=x], [onerror]').length") == 0
    assert page.problems() == []  # an alert would have ended the test


def test_overview_stays_text(page: Page) -> None:
    """The same in the tables and charts of the overview, and of the comparison."""
    assert IMAGE in ids(page)
    assert SCRIPT in page.texts("#class-table tbody th")
    assert SCRIPT in page.run("return document.querySelector('#completeness svg').textContent")
    harmless(page, scripts=2)


def test_player(driver: Chrome, runs: Path) -> None:
    """With --player the file beside the page is played, whatever it is called, over the strip of frames, with the
    detections as subtitles; a click on the timeline seeks."""
    report(ReportRun(run=runs / "full", player=True, frames=3))
    text = (runs / "full" / "report.html").read_text()
    page = Page(driver, runs / "full" / "report.html", f"#video/{quote(IMAGE, safe='')}")
    loaded = (
        "const done = arguments[0], player = document.querySelector('video');"
        "const tell = () => done([player.duration, player.error?.message ?? '']);"
        "if (player.readyState) tell();"
        "else for (const name of ['loadedmetadata', 'error']) player.addEventListener(name, tell);"
    )
    duration, error = driver.execute_async_script(loaded)
    assert (duration, error) == (pytest.approx(1.6, abs=0.05), "")
    assert page.run("return document.querySelectorAll('.stage image').length") == 3
    cues = page.run(
        "return [...document.querySelector('video').textTracks[0].cues].map((cue) => cue.getCueAsHTML().textContent)"
    )
    assert cues == [f"{SCRIPT} 0.60"]
    page.one(".stage").click()
    time = page.run("return document.querySelector('video').currentTime")
    assert time == pytest.approx(float(page.one("#readout").text.split()[0]), abs=0.02)
    assert time > 0
    assert "media-src &#x27;self&#x27; file:" in text
    assert page.problems() == []
    report(ReportRun(run=runs / "full", compare=runs / "host", frames=3))  # as the other tests know it


def test_comparison(driver: Chrome, runs: Path) -> None:
    """Which videos are better, figures that lead to the reports, and names of runs that stay text."""
    page = Page(driver, runs / "compare.html")
    assert SCRIPT in page.texts("#map-table tbody th")
    assert page.texts("#videos output") == ["3 of 3 videos"]
    page.choose("#videos [name=state]", "better")
    assert ids(page) == ["beta"]
    assert page.texts("#video-table tbody tr td:last-child") == ["+100.0"]
    page.one("#videos [type=reset]").click()
    assert press(page, "difference") == "descending"
    assert ids(page)[0] == "beta"
    assert press(page, "class", "class-table") == "ascending"
    assert page.texts("#class-table tbody th")[-1] == "Jump"
    harmless(page, scripts=1)
    page.one("#video-table a[href$='#video/beta']").click()
    assert page.headed("beta")


def test_gallery(driver: Chrome, tmp_path: Path) -> None:
    """The page of `make inspect --html`: filters narrow, the address keeps them, hostile texts stay texts."""
    small_cache(tmp_path)
    inspect_cache(InspectRun(dataset=tmp_path, html=tmp_path / "gallery.html"))
    page = Page(driver, tmp_path / "gallery.html")
    count = page.one("#count")
    assert count.text == "5 of 5 descriptions, 3 of 3 videos"
    page.choose("[name=status]", "failed")
    assert count.text == "2 of 5 descriptions, 1 of 3 videos"
    assert page.run("return location.hash") == "#status=failed"
    page.choose("[name=status]", "")
    page.choose("[name=text]", "script")
    assert HOSTILE in page.texts(".said p")
    page.choose("[name=text]", "")
    page.choose("[name=class]", LABEL)
    assert page.texts("mark")[:2] == ["kicks", "high"]
    harmless(page, scripts=1)
