"""How long a diagnosis takes, beside the evaluation of the same detections and beside plain loops for the same answers.

`python -m benchmarks diagnosis [--detections 100000]` draws detections on 213 videos with as much truth as THUMOS14's
test set and prints seconds at ten thresholds: of the mAP, of the whole diagnosis, and of its kinds of error, by arrays
and by a loop over detections and truths. It exits with 1 where the loop counts other kinds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np

from cache.annotations import Dataset, Segment, VideoEntry
from cache.detections import DetectionTable
from training.evaluation.diagnosis.columns import Columns
from training.evaluation.diagnosis.diagnose import diagnose
from training.evaluation.diagnosis.errors import KINDS, RIGHT, kinds
from training.evaluation.diagnosis.schema import DiagnosisRecipe
from training.evaluation.evaluate import counted, evaluate_detections
from training.evaluation.metrics import Ranking, TruthRows
from training.evaluation.protocol import PROTOCOLS, tiou_grid

TIMES = 3
VIDEOS, CLASSES, TRUTHS, SECONDS = 213, 20, 3358, 200.0
TIOUS = tiou_grid("0.5:0.05:0.95")


def draw(detections: int) -> tuple[Dataset, DetectionTable]:
    """One class a video; half of the detections are truths that were shifted, half lie anywhere, a tenth of all has any
    class."""
    rng = np.random.default_rng(0)
    names = tuple(f"class_{number:02d}" for number in range(CLASSES))
    ids = tuple(f"video_{number:03d}" for number in range(VIDEOS))
    video = rng.integers(VIDEOS, size=TRUTHS)
    start = rng.uniform(0, SECONDS - 10, TRUTHS)
    truth = np.stack([start, start + rng.uniform(0.5, 10, TRUTHS)], axis=1)
    entries = []
    for number, video_id in enumerate(ids):
        label = names[number % CLASSES]
        segments = tuple(Segment(label, *times) for times in truth[video == number].tolist())
        entries.append(VideoEntry(video_id, "testing", SECONDS, (label,), segments, None))
    source = rng.integers(TRUTHS, size=detections)
    near = truth[source] + rng.normal(0, 1, (detections, 2))
    anywhere = rng.uniform(0, SECONDS, (detections, 2))
    spans = np.sort(np.where(rng.random((detections, 1)) < 0.5, near, anywhere), axis=1)
    label = np.where(rng.random(detections) < 0.9, video[source] % CLASSES, rng.integers(CLASSES, size=detections))
    return Dataset("drawn", names, tuple(entries)), DetectionTable(
        ids, names, video[source], label, rng.random(detections), spans
    )


def best(work: Callable[[], object]) -> float:
    """Seconds of the fastest of several calls."""
    taken = []
    for _ in range(TIMES):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return min(taken)


def kinds_by_loop(columns: Columns, matched: np.ndarray, foreground: float) -> list[list[int]]:
    """What `kinds` gives, detection by detection and truth by truth."""
    truth: dict[int, list[tuple[float, float, int]]] = {}
    for (start, end), label, video in zip(
        columns.truth.tolist(), columns.truth_class, columns.truth_video, strict=True
    ):
        truth.setdefault(int(video), []).append((start, end, int(label)))
    rows = zip(columns.found.tolist(), columns.found_class.tolist(), columns.found_video.tolist(), matched, strict=True)
    result = []
    for (start, end), label, video, hits in rows:
        most, own = 0.0, False
        for other_start, other_end, other_label in truth.get(video, ()):
            inner = max(min(end, other_end) - max(start, other_start), 0.0)
            union = (end - start) + (other_end - other_start) - inner
            overlap = inner / union if union > 0 else 0.0
            if overlap >= most:
                most, own = overlap, (own and overlap == most) or other_label == label
        far = RIGHT - 1 if most < foreground else KINDS.index("localization" if own else "confusion")
        near = KINDS.index("double" if own else "wrong_label")
        result.append(
            [RIGHT if hit >= 0 else near if most >= tiou else far for hit, tiou in zip(hits, TIOUS, strict=True)]
        )
    return result


def main(detections: int) -> int:
    """Measure and print; 1 where the loop differs."""
    dataset, table = draw(detections)
    protocol = PROTOCOLS["seconds"].model_copy(update={"tious": TIOUS})
    recipe = DiagnosisRecipe()
    evaluation = best(lambda: evaluate_detections(dataset, table, protocol))
    whole = best(lambda: diagnose(counted(dataset, table, protocol), recipe=recipe, name="x", classes=dataset.classes))
    what = counted(dataset, table, protocol)
    columns = Columns.of(Ranking.of(what.detections, TruthRows.of(what.truth), protocol.ties), what.durations)
    matched = columns.ranking.matched(np.array(TIOUS))
    by_arrays = best(lambda: kinds(columns, matched, np.array(TIOUS), foreground=recipe.foreground))
    ours = kinds(columns, matched, np.array(TIOUS), foreground=recipe.foreground)
    begin = time.perf_counter()
    theirs = kinds_by_loop(columns, matched, recipe.foreground)
    by_loop = time.perf_counter() - begin
    print(f"{detections} detections, {len(columns.truth)} truths, {len(TIOUS)} thresholds")
    print(f"mAP                    {evaluation:7.2f} s")
    print(f"whole diagnosis        {whole:7.2f} s   {whole / evaluation:.1f} times the mAP")
    print(f"kinds of error         {by_arrays:7.2f} s")
    print(f"the same by a loop     {by_loop:7.2f} s   {by_loop / by_arrays:.0f} times as long")
    differing = int((ours != np.array(theirs)).sum())
    print(f"kinds that differ      {differing}")
    return int(differing > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detections", type=int, default=100_000)
    sys.exit(main(parser.parse_args().detections))
