"""The picture of the README: the timeline of one video, taken from the page of a report.

`make bench-readme_picture` opens the report that `make demo` wrote in Debian's chromium and writes docs/timeline.png;
`ARGS="--report runs/NAME/report.html --video ID --to FILE.png"` takes another run, video or file.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.support.chromium import BROWSER, DRIVER, Page, chromium

VIDEO = "testing_0057"
"""Three ground-truth instances of the demo, all detected, and one false positive."""
WIDTH, SCALE, COLOURS = 900, 2, 128
"""Of the page in CSS pixels, image pixels to one of these, and what the palette of the PNG holds."""
_MARGIN = 14
_BOX = """
const shown = [".stage", ".keys"].map((one) => document.querySelector(`#video ${one}`));
document.querySelector("#video .readout").remove();
for (const one of document.querySelectorAll("#video *"))
  if (!shown.some((part) => part.contains(one))) one.style.visibility = "hidden";
for (const one of shown) Object.assign(one.style, { visibility: "visible", border: "none" });
const [stage, keys] = shown.map((one) => one.getBoundingClientRect());
return { x: stage.left, y: stage.top + scrollY, width: stage.width, height: keys.bottom - stage.top };
"""
"""Hides all but the timeline and its legend, and says where in the page these lie."""


def take(report: Path, video: str, to: Path) -> None:
    """Write the timeline of a video of a report, with its legend, as a PNG with a palette.

    Raises:
        ValueError: the report has no page of that video.
    """
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as driver:
        page = Page(driver, report, f"#video/{video}", width=WIDTH)
        if not page.headed(video):
            raise ValueError(f"{report}: found no video {video}; run `make demo`, or name another with --video")
        box = page.run(_BOX)
        corner = {side: box[side] - _MARGIN for side in ("x", "y")}
        size = {side: box[side] + 2 * _MARGIN for side in ("width", "height")}
        clip = {**corner, **size, "scale": SCALE}
        taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    picture = Image.open(io.BytesIO(base64.b64decode(taken["data"]))).convert("RGB")
    to.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(to, optimize=True)


def main() -> None:
    """Take the picture that the options name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, default=Path("runs/demo/report.html"), help="report.html of a run")
    parser.add_argument("--video", default=VIDEO, help="id of the video")
    parser.add_argument("--to", type=Path, default=Path("docs/timeline.png"), help="file that is written")
    options = parser.parse_args()
    if not (BROWSER and DRIVER):
        sys.exit("chromium and chromedriver are missing: install the packages chromium and chromium-driver")
    try:
        take(options.report, options.video, options.to)
    except ValueError as error:
        sys.exit(str(error))
    print(options.to)


if __name__ == "__main__":
    main()
