"""What an evaluation protocol is worth in mAP: the same published detections on THUMOS14 under each of them.

`python -m benchmarks protocols [--shared ../shared/data]` reads AutoLoc's detections (normalized times, indices for
names) and the reduced annotations in W-TALC's layout, brings both to seconds and public names, and prints a row a
protocol. The annotations are object arrays, which only pickle can read: use a copy that you trust.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from cache.annotations import Dataset, Segment, VideoEntry
from cache.detections import DetectionTable
from training.evaluation.evaluate import evaluate_detections
from training.evaluation.protocol import ProtocolChoice, tiou_key

GRID = "0.1:0.1:0.7"
ROWS = (
    ProtocolChoice(protocol="seconds", tious=GRID),
    ProtocolChoice(protocol="thumos14-212", tious=GRID),
    ProtocolChoice(protocol="thumos14-212", tious=GRID, ambiguous="drop"),
    ProtocolChoice(protocol="thumos14-212", tious=GRID, units="snippets"),
    ProtocolChoice(protocol="thumos14-co2", tious=GRID),
    ProtocolChoice(protocol="thumos14-210", tious=GRID),
    ProtocolChoice(protocol="thumos14-210", tious=GRID, outside="false-positive"),
    ProtocolChoice(protocol="thumos14-210", tious=GRID, ties="numpy"),
)


def reduced_annotations(folder: Path) -> Dataset:
    """The 212 test videos in seconds, with durations and ambiguous stretches."""
    names = ("videoname", "subset", "duration", "labels", "segments")
    columns = [np.load(folder / f"{name}.npy", allow_pickle=True, encoding="bytes").tolist() for name in names]
    ambiguous: dict[str, list[tuple[float, float]]] = {}
    for line in (folder / "Ambiguous_test.txt").read_text().splitlines():
        if line.strip():
            video, *_, start, end = line.split()
            ambiguous.setdefault(video, []).append((float(start), float(end)))
    entries = []
    for video, subset, (duration,), labels, spans in zip(*columns, strict=True):
        if _text(subset) == "test":
            segments = tuple(Segment(_text(c), float(a), float(b)) for c, (a, b) in zip(labels, spans, strict=True))
            stretches = tuple(ambiguous.get(_text(video), ()))
            entries.append(VideoEntry(_text(video), "testing", duration, (), segments, None, stretches))
    classes = [_text(name) for name in np.load(folder / "classlist.npy").tolist()]
    return Dataset("thumos14", tuple(classes), tuple(entries))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def in_seconds(detections: DetectionTable, dataset: Dataset) -> DetectionTable:
    """Public names and seconds for AutoLoc's; detections in videos of unknown duration keep their normalized times,
    which is as good as any others, since these videos have no truth."""
    durations = {video.video_id: video.duration for video in dataset.videos}
    videos = tuple(f"video_test_{video}" for video in detections.videos)
    factor = np.array([durations.get(video) or 1.0 for video in videos])
    labels = tuple(dataset.classes[int(label.removeprefix("class_"))] for label in detections.labels)
    return replace(
        detections, videos=videos, labels=labels, segments=detections.segments * factor[detections.video, None]
    )


def main() -> None:
    """Print a row a protocol."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    shared = parser.parse_args().shared
    dataset = reduced_annotations(shared / "thumos14" / "co2_layout")
    detections = in_seconds(DetectionTable.read(shared / "autoloc" / "thumos14_detections.json"), dataset)
    print(
        f"{'mAP [%]':44}"
        + "".join(f"{'@' + tiou_key(tiou):>6}" for tiou in ROWS[0].chosen().tious)
        + " average   scored"
    )
    for choice in ROWS:
        found = evaluate_detections(dataset, detections, choice.chosen())
        variation = choice.model_dump(exclude={"protocol", "tious"}, exclude_none=True)
        name = " ".join([choice.protocol, *(f"--{field} {value}" for field, value in variation.items())])
        figures = "".join(f"{100 * value:6.2f}" for value in (*found.scores.map, found.scores.average))
        print(f"{name:44}{figures} {found.detections:10}")


if __name__ == "__main__":
    main()
