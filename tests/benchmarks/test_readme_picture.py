"""The picture of the README: what the script takes of a report, and the file that the README shows."""

from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="the browser is driven by selenium")

from PIL import Image

from benchmarks.readme_picture import SCALE, WIDTH, take
from pipelines.runs.report import ReportRun
from pipelines.runs.report import main as report
from tests.support.chromium import BROWSER, DRIVER
from tests.support.data.reports import hostile_world, write_run
from tests.support.paths import ROOT

PICTURE = ROOT / "docs/timeline.png"


@pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no chromium with its chromedriver")
@pytest.mark.allow_hosts(["127.0.0.1", "localhost", "::1"])  # the driver's own port
def test_a_timeline_becomes_a_picture(tmp_path: Path) -> None:
    """It is about as wide as the page, and not of one colour; a video that the report lacks is named."""
    data, run = tmp_path / "data", tmp_path / "run"
    write_run(data, run, hostile_world(data))
    report(ReportRun(run=run, frames=3))
    take(run / "report.html", "alpha", tmp_path / "alpha.png")
    with Image.open(tmp_path / "alpha.png") as picture:
        assert 0.8 * WIDTH * SCALE < picture.width <= WIDTH * SCALE
        colours = picture.convert("RGB").getcolors(maxcolors=256)
    assert colours is not None
    assert len(colours) > 8
    with pytest.raises(ValueError, match="found no video gamma"):
        take(run / "report.html", "gamma", tmp_path / "gamma.png")


def test_the_picture_in_the_readme_is_there_and_small() -> None:
    """Less than 200 kB."""
    assert "](docs/timeline.png)" in (ROOT / "README.md").read_text()
    with Image.open(PICTURE) as picture:
        assert picture.format == "PNG"
    assert PICTURE.stat().st_size < 200_000
