"""The files of predictions in their folder, and which videos are finished there.

<output>/index.html, detections.json, segments.csv    of all videos of a call
<output>/videos/<name>.html, .vtt, .mp4, .json        of one; .json is written last: with it the video is finished
<output>/features/<name>-<stamp>.npy                  features of the videos, until the run or the video changes
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from cache.annotations import VideoEntry
from cache.detections import Detection, DetectionTable, write_detections
from cache.errors import CacheError
from cache.features import FeatureGrid
from cache.files.atomic import atomic_path
from cache.files.json_text import read_json
from pipelines.pages.page import picture_uri
from pipelines.pages.predictions.page import VIDEOS_FOLDER, PredictionIndex, index_page, video_page
from pipelines.pages.report.content import VideoView
from pipelines.predicting.formats import web_vtt, write_csv
from pipelines.predicting.inputs import Failure, Input
from pipelines.predicting.predictor import Prediction, stamp_of
from pipelines.predicting.selection import Selection

DETECTIONS, SEGMENTS, INDEX = "detections.json", "segments.csv", "index.html"
_CLASSES = 8
"""Classes of a video whose T-CAM its page can show: the detected ones, then those with the highest T-CAM."""


@dataclass(frozen=True)
class Finished:
    """A video whose files are written."""

    video: VideoEntry
    detections: tuple[Detection, ...]
    """Those that are written, the best first."""
    note: str = ""


@dataclass(frozen=True)
class Results:
    """The folder of predictions."""

    folder: Path
    run: str
    """Name of the run, for pages."""
    settings: str
    """Hash of all that the files of a video depend on, but for the video."""
    selection: Selection
    pages: bool = True

    @property
    def features(self) -> Path:
        """Folder of the features of the videos."""
        return self.folder / "features"

    def file(self, name: str, suffix: str) -> Path:
        """A file of one video."""
        return self.folder / VIDEOS_FOLDER / f"{name}{suffix}"

    def finished(self, one: Input) -> Finished | None:
        """The results of a video if they are those of the file as it is and of these settings."""
        path = self.file(one.name, ".json")
        try:
            document, _ = read_json(path)
            about = document["external_data"]
            if (about["settings"], about["source"]) != (self.settings, stamp_of(one.path)):
                return None
            found = tuple(DetectionTable.read(path).rows())
            return Finished(_entry(one, about["duration"]), found, about["note"])
        except (OSError, CacheError, KeyError, TypeError):
            return None

    def write(self, one: Input, prediction: Prediction, *, burned: bool = False) -> Finished:
        """Write the files of one video; with `burned` its .mp4 is there already."""
        detections = tuple(self.selection.of(prediction.detections))
        done = Finished(_entry(one, _seconds(prediction)), detections, prediction.note)
        judged = self.selection.likely(done.video, detections)
        _write(self.file(one.name, ".vtt"), web_vtt([item.detection for item in judged.drawn]))
        if self.pages:
            view = self._view(done, prediction)
            page = video_page(view, run=self.run, classes=prediction.classes, grid=prediction.grid)
            _write(self.file(one.name, ".html"), page)
        else:
            self.file(one.name, ".html").unlink(missing_ok=True)  # of earlier predictions
        if not burned:
            self.file(one.name, ".mp4").unlink(missing_ok=True)
        about = {
            "run": self.run,
            "settings": self.settings,
            "source": stamp_of(one.path),
            "duration": done.video.duration,
            "note": done.note,
        }
        write_detections(self.file(one.name, ".json"), detections, external_data=about)
        return done

    def write_all(
        self,
        done: Sequence[Finished],
        failures: Sequence[Failure],
        *,
        classes: tuple[str, ...],
        grid: FeatureGrid,
        facts: Sequence[str],
    ) -> None:
        """Write the files of all videos together."""
        found = [detection for one in done for detection in one.detections]
        write_detections(self.folder / DETECTIONS, found, external_data={"run": self.run, "settings": self.settings})
        judged = [self.selection.likely(one.video, one.detections) for one in done]
        rows = [item.detection for video in judged for item in sorted(video.drawn, key=lambda j: j.detection.start)]
        write_csv(self.folder / SEGMENTS, rows)
        if self.pages:
            views = [
                VideoView(video, video.entry.duration or 0.0, {}, None, None, problem=one.note)
                for video, one in zip(judged, done, strict=True)
            ]
            told = [(failure.name, failure.reason) for failure in failures]
            _write(self.folder / INDEX, index_page(PredictionIndex(self.run, facts, classes, grid, views, told)))

    def _view(self, done: Finished, prediction: Prediction) -> VideoView:
        judged = self.selection.likely(done.video, done.detections)
        frames = prediction.frames
        return VideoView(
            judged=judged,
            duration=done.video.duration or 0.0,
            cas=_chosen(prediction, [item.detection.label for item in judged.drawn]),
            attention=prediction.curves.attention,
            attention_csr=None,
            pictures=() if frames is None else tuple(map(picture_uri, frames.jpegs)),
            player=_player(done.video.path, self.file(done.video.video_id, ".html").parent),
            problem=done.note,
        )


def _entry(one: Input, duration: float | None) -> VideoEntry:
    return VideoEntry(one.name, "", duration, (), (), None if one.is_features else one.path)


def _seconds(prediction: Prediction) -> float:
    """Duration of the video, or the end of the last snippet of features without one."""
    length = len(prediction.curves.attention)
    return prediction.video.duration or prediction.grid.end_seconds(length - 1)


def _chosen(prediction: Prediction, detected: Sequence[str]) -> dict[str, np.ndarray]:
    cas = dict(zip(prediction.classes, prediction.curves.cas.T, strict=True))
    highest = sorted(cas, key=lambda label: -float(cas[label].max(initial=0.0)))
    return {label: cas[label] for label in list(dict.fromkeys([*detected, *highest]))[:_CLASSES]}


def _player(video: Path | None, pages: Path) -> str:
    """URL of the video's file relative to the folder of its page."""
    if video is None:
        return ""
    return quote(Path(os.path.relpath(video.resolve(), pages.resolve())).as_posix())


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
