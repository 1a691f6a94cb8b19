"""Which of a run's segments are written, and which of them are likely enough for tables, subtitles and pages."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from pydantic import PositiveInt

from cache.annotations import VideoEntry
from cache.detections import Detection
from cache.errors import CacheError
from cache.recipe import Recipe
from pipelines.pages.report.videos import Judged, JudgedVideo, judge_subset


class Selection(Recipe):
    """Which segments are written."""

    top: PositiveInt | None = None
    """At most this many segments of a video, those with the highest scores."""
    min_score: float | None = None
    """Segments with a lower score are left out. When not given, detections.json holds all, and tables, subtitles and
    pages those with at least half of the highest score of their class in the video."""
    classes: tuple[str, ...] = ()
    """Only segments of these classes; of all when not given."""

    def of(self, detections: Sequence[Detection]) -> list[Detection]:
        """The segments that are written, the best first."""
        kept = [one for one in detections if not self.classes or one.label in self.classes]
        if self.min_score is not None:
            kept = [one for one in kept if one.score >= self.min_score]
        return sorted(kept, key=lambda one: -one.score)[: self.top]

    def likely(self, video: VideoEntry, detections: Sequence[Detection]) -> JudgedVideo:
        """A video with its likely segments; the best of the others are kept apart."""
        if self.min_score is None:
            return judge_subset(detections, [video])[video.video_id]
        return JudgedVideo(video, tuple(Judged(one, None, True) for one in detections))

    def refuse_unknown(self, known: Sequence[str]) -> None:
        """Raise CacheError for classes that the run does not have."""
        for label in self.classes:
            if label not in known:
                near = difflib.get_close_matches(label, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"expected some of {', '.join(known)}"
                raise CacheError(f"classes: found {label!r}, which the run does not know; {hint}")
