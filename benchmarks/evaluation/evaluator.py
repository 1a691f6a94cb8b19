"""How fast detections are scored, beside a loop over the rows of pandas tables as in ActivityNet's official script.

`python -m benchmarks evaluator [--detections 100000]` draws detections on 213 videos with as much truth as THUMOS14's
test set, scores them at ten thresholds by both, and as a file by the command. It prints the seconds and the ratio, and
exits with 1 where the average precisions differ by more than 1e-9 or the ratio is below 50. The loop takes minutes; a
smaller `--detections` is scored by both, nothing is extrapolated.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from cache.annotations import Dataset, Segment, VideoEntry
from cache.detections import DetectionTable, write_detections
from training.evaluation.metrics import mean_average_precision
from training.evaluation.protocol import tiou_grid

T = TypeVar("T")
VIDEOS, CLASSES, INSTANCES = 213, 20, 3358
TIOUS = tiou_grid("0.5:0.05:0.95")
WANTED_RATIO, WANTED_DIFFERENCE = 50, 1e-9


def draw(detections: int) -> tuple[Dataset, DetectionTable]:
    """One class a video, instances of a few seconds; half of the detections are truths that were shifted and
    stretched, half lie anywhere, and a tenth of all have another class."""
    rng = np.random.default_rng(0)
    class_of = rng.permutation(np.arange(VIDEOS) % CLASSES)
    durations = rng.uniform(30, 600, VIDEOS)
    video = np.sort(rng.integers(VIDEOS, size=INSTANCES))
    length = np.minimum(rng.exponential(4, INSTANCES) + 0.5, durations[video] / 2)
    start = rng.uniform(0, durations[video] - length)
    truth = np.stack([start, start + length], axis=1)
    names = [f"class_{index:02d}" for index in range(CLASSES)]
    entries = []
    for index in range(VIDEOS):
        label = names[class_of[index]]
        segments = tuple(Segment(label, *times) for times in truth[video == index].tolist())
        entries.append(VideoEntry(f"video_{index:03d}", "testing", float(durations[index]), (label,), segments, None))
    source = rng.integers(INSTANCES, size=detections)
    near = truth[source] + rng.normal(0, 0.25, (detections, 2)) * length[source, None]
    anywhere = rng.uniform(0, 1, (detections, 2)) * durations[video[source], None]
    segments = np.sort(np.where(rng.random((detections, 1)) < 0.5, near, anywhere), axis=1)
    label = np.where(rng.random(detections) < 0.9, class_of[video[source]], rng.integers(CLASSES, size=detections))
    ids = tuple(entry.video_id for entry in entries)
    table = DetectionTable(ids, tuple(names), video[source], label, rng.random(detections), segments)
    return Dataset("drawn", tuple(names), tuple(entries)), table


def loop_over_rows(truth: pd.DataFrame, detections: pd.DataFrame, tious: np.ndarray) -> np.ndarray:
    """Average precision of one class at every threshold (k,), row by row as the official script goes."""
    locked = np.full((len(tious), len(truth)), -1)
    detections = detections.loc[detections["score"].to_numpy().argsort()[::-1]].reset_index(drop=True)
    hits = np.zeros((len(tious), len(detections)))
    truth_of = truth.groupby("video")
    for row, (_, found) in enumerate(detections.iterrows()):
        try:
            here = truth_of.get_group(found["video"]).reset_index()
        except KeyError:
            continue
        start = np.maximum(found["start"], here["start"].to_numpy())
        end = np.minimum(found["end"], here["end"].to_numpy())
        inner = (end - start).clip(0)
        overlap = inner / ((here["end"] - here["start"]).to_numpy() + (found["end"] - found["start"]) - inner)
        order = overlap.argsort()[::-1]
        for level, tiou in enumerate(tious):
            for place in order:
                if overlap[place] < tiou:
                    break
                if locked[level, here.loc[place]["index"]] >= 0:
                    continue
                hits[level, row] = 1
                locked[level, here.loc[place]["index"]] = row
                break
    return np.array([interpolated(row, len(truth)) for row in hits])


def interpolated(hits: np.ndarray, positives: int) -> float:
    """Area under the precision-recall curve, with precision made to fall (VOC 2011)."""
    found = np.cumsum(hits)
    precision = np.hstack([[0], found / np.arange(1, len(hits) + 1), [0]])
    recall = np.hstack([[0], found / positives, [1]])
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    rises = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(((recall[rises] - recall[rises - 1]) * precision[rises]).sum())


def score_by_loop(dataset: Dataset, table: DetectionTable) -> np.ndarray:
    """Average precision (c, k) by the loop, class after class in one process."""
    rows = [(v.video_id, s.label, s.start, s.end) for v in dataset.videos for s in v.segments]
    truth = pd.DataFrame(rows, columns=["video", "label", "start", "end"])
    found = pd.DataFrame(table.rows()).rename(columns={"video_id": "video"})
    by_label = found.groupby("label")
    ap = []
    for label, mine in truth.groupby("label"):
        detections = pd.DataFrame(by_label.get_group(label)).reset_index(drop=True)
        ap.append(loop_over_rows(mine.reset_index(drop=True), detections, np.array(TIOUS)))
    return np.array(ap)


def seconds_of_command(dataset: Dataset, table: DetectionTable) -> float:
    """Wall time of `python -m pipelines evaluate-file --json` on the same detections, the best of three."""
    with tempfile.TemporaryDirectory() as folder:
        annotations, detections = Path(folder) / "annotations.json", Path(folder) / "detections.json"
        dataset.save(annotations)
        write_detections(detections, table.rows())
        arguments = ["--annotations", annotations, "--detections", detections, "--tious", "0.5:0.05:0.95", "--json"]
        command = [sys.executable, "-m", "pipelines", "evaluate-file", *map(str, arguments)]
        return best(lambda: subprocess.run(command, check=True, capture_output=True), times=3)[0]


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds of a call, and what it returned."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def best(work: Callable[[], T], *, times: int = 5) -> tuple[float, T]:
    """The quickest of several calls."""
    return min((timed(work) for _ in range(times)), key=lambda run: run[0])


def main() -> int:
    """Draw, score by both, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detections", type=int, default=100_000)
    options = parser.parse_args()
    dataset, table = draw(options.detections)
    truth = {video.video_id: video.segments for video in dataset.videos}
    print(f"{VIDEOS} videos, {INSTANCES} instances of {CLASSES} classes, {len(table)} detections, {len(TIOUS)} tIoUs")
    objects = table.rows()
    ours, scores = best(lambda: mean_average_precision(table, truth, tious=TIOUS))
    one_by_one, _ = best(lambda: mean_average_precision(objects, truth, tious=TIOUS))
    print(f"columns, all videos and thresholds at once {ours:10.3f} s   average mAP {scores.average:.6f}")
    print(f"the same from one object a detection       {one_by_one:10.3f} s")
    print(f"the command, file to JSON, start included  {seconds_of_command(dataset, table):10.3f} s", flush=True)
    loop, ap = timed(lambda: score_by_loop(dataset, table))
    difference = float(np.abs(ap - scores.ap).max())
    print(f"loop over rows of pandas tables            {loop:10.3f} s   average mAP {ap.mean():.6f}")
    print(f"ratio {loop / ours:.0f} (wanted: {WANTED_RATIO}); largest difference of an AP {difference:.1e}")
    return int(loop / ours < WANTED_RATIO or difference > WANTED_DIFFERENCE)


if __name__ == "__main__":
    sys.exit(main())
