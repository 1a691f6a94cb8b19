"""The pages of predictions in a real browser, with names that are markup: player, frames, subtitles, index."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

pytest.importorskip("selenium", reason="the browser is driven by selenium")

from selenium.webdriver import Chrome

from cache.annotations import VideoEntry
from cache.detections import Detection
from pipelines.predicting.inputs import Failure, Input
from pipelines.predicting.predictor import Prediction
from pipelines.predicting.results import Results
from pipelines.predicting.selection import Selection
from priors.video.thumbnails import thumbnails
from tests.support.chromium import BROWSER, DRIVER, Page, chromium
from tests.support.data.reports import GRID, IMAGE, SCRIPT
from tests.support.videos.videos import write_video
from training.localization.curves import Curves

pytestmark = [
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no chromium with its chromedriver"),
    pytest.mark.allow_hosts(["127.0.0.1", "localhost", "::1"]),  # the driver's own port
]
CLASSES = ("Jump", SCRIPT)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One browser for all tests."""
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions of a video whose name is markup, of features without a video, and a file that could not be used."""
    root = tmp_path_factory.mktemp("pages")
    video = Input(IMAGE, write_video(root / "clips" / f"{IMAGE}.mp4", 50))
    features = Input("only features", root / "f.npy")
    features.path.touch()
    results = Results(root / "out", SCRIPT, "settings", Selection())
    curves = Curves("", np.tile([0.1, 0.7], (4, 1)), np.full(4, 0.4), None, np.ones(2))
    done = []
    for one in (video, features):
        found = [Detection(one.name, SCRIPT, 0.8, 0.25, 1.0), Detection(one.name, "Jump", 0.6, 1.0, 1.5)]
        found += [Detection(one.name, "Jump", 0.1, 0.0, 0.5)]
        frames = None if one.is_features else thumbnails(one.path, count=3)
        entry = VideoEntry(one.name, "", frames and frames.duration, (), (), None if one.is_features else one.path)
        done.append(results.write(one, Prediction(entry, tuple(found), curves, GRID, CLASSES, frames)))
    failures = [Failure(SCRIPT, "no such file")]
    results.write_all(done, failures, classes=CLASSES, grid=GRID, facts=["2 snippets a second"])
    return root / "out"


@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("name", ["index", IMAGE, "only features"])
def test_pages_open_without_errors(driver: Chrome, output: Path, name: str, width: int) -> None:
    """No error of a script, nothing refused by the policy, no page wider than the window, no markup from names."""
    path = output / "index.html" if name == "index" else output / "videos" / f"{name}.html"
    page = Page(driver, path, width=width)
    assert page.run("return document.documentElement.scrollWidth") <= width
    assert page.texts("h1") == [SCRIPT if name == "index" else name]
    assert page.problems() == []
    assert page.run("return document.querySelectorAll('img, main script').length") == 0


def test_a_video_is_shown_with_its_segments(driver: Chrome, output: Path) -> None:
    """Player with subtitles, frames above the timeline, likely segments as bars; the way back leads to the index."""
    page = Page(driver, output / "videos" / f"{IMAGE}.html")
    loaded = (
        "const done = arguments[0], player = document.querySelector('video');"
        "const tell = () => done([player.duration, player.error?.message ?? '']);"
        "if (player.readyState) tell();"
        "else for (const name of ['loadedmetadata', 'error']) player.addEventListener(name, tell);"
    )
    duration, error = driver.execute_async_script(loaded)
    assert (duration, error) == (pytest.approx(2.0, abs=0.1), "")
    cues = "[...document.querySelector('video').textTracks[0].cues].map((cue) => cue.getCueAsHTML().textContent)"
    assert page.run(f"return {cues}") == [f"{SCRIPT} 0.80", "Jump 0.60"]
    assert page.run("return document.querySelectorAll('.stage image').length") == 3
    assert page.run("return document.querySelectorAll('.stage rect.found').length") == 2
    page.one("#back").click()
    assert page.headed(SCRIPT)


def test_features_are_shown_without_a_player(driver: Chrome, output: Path) -> None:
    """The timeline ends with the last snippet."""
    page = Page(driver, output / "videos" / "only features.html")
    assert page.run("return document.querySelectorAll('video, .stage image').length") == 0
    assert page.one(".stage").get_attribute("aria-valuemax") == "2.00"


def test_the_index_leads_to_the_videos(driver: Chrome, output: Path) -> None:
    """Rows with classes, counts and a small timeline; failures with their reasons."""
    page = Page(driver, output / "index.html")
    assert page.texts("#video-table tbody th") == [IMAGE, "only features"]
    assert page.texts("#failure-table td") == ["no such file"]
    assert page.run("return document.querySelectorAll('#video-table .lane rect.found').length") == 4
    page.choose("#videos [name=text]", "only")
    assert page.texts("#video-table tbody th") == ["only features"]
    page.choose("#videos [name=text]", "")
    page.one("#video-table a").click()
    assert page.headed(IMAGE)


def test_a_player_loads_the_subtitles(driver: Chrome, output: Path) -> None:
    """The .vtt file as the track of a video element, as a web server delivers it."""
    (output / "player.html").write_text(
        f"<video><track default src='videos/{quote(IMAGE)}.vtt'></video>", encoding="utf-8"
    )
    handler = partial(_Quiet, directory=str(output))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        driver.get(f"http://127.0.0.1:{server.server_port}/player.html")
        script = (
            "const done = arguments[0], track = document.querySelector('track');"
            "const tell = () => done([...track.track.cues].map((cue) => [cue.startTime, cue.endTime, cue.text]));"
            "if (track.readyState === 2) tell(); else track.addEventListener('load', tell);"
        )
        cues = driver.execute_async_script(script)
        server.shutdown()
    escaped = SCRIPT.replace("<", "&lt;").replace(">", "&gt;")
    assert cues == [[0.25, 1.0, f"{escaped} 0.80"], [1.0, 1.5, "Jump 0.60"]]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
