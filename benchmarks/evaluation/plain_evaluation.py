"""The evaluation of detections in plain Python: dicts, lists and loops over one detection and one segment at a time.

An independent second form of what `training.evaluation.metrics`, `training.evaluation.protocol` and
`training.evaluation.evaluate` do at once. It follows the steps of ActivityNet's official script `eval_detection.py` and
imports nothing of this project: per class the detections are sorted by score; each takes, at every threshold, the
untaken instance of its video that it overlaps most, if that overlap reaches the threshold; precision is made to fall
(VOC 2011) and averaged over recall; the mean is over the classes that have an instance.

The script leaves equals to an unstable sort and divides 0 by 0 for two instants; here, of equal scores the one given
first goes first, of equal overlaps the instance given first is taken, and instants overlap nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

Span = tuple[float, float]
Instance = tuple[str, str, float, float]
"""(video, label, start, end)."""
Found = tuple[str, str, float, float, float]
"""(video, label, start, end, score)."""


@dataclass(frozen=True)
class PlainProtocol:
    """What counts, and how."""

    tious: tuple[float, ...]
    subset: str = "testing"
    without: tuple[str, ...] = ()
    """Videos that do not count."""
    snippet: float | None = None
    """Seconds of a snippet where times are counted in snippets."""
    drop_ambiguous: bool = False
    strangers_count: bool = False
    """Whether detections in videos that do not count are false positives."""


def steps(first: float, last: float, count: int) -> tuple[float, ...]:
    """Evenly spread thresholds, as numpy's linspace has them."""
    step = (last - first) / (count - 1)
    return (*(k * step + first for k in range(count - 1)), last)


ABSENT, BROKEN = "video_test_0001292", ("video_test_0000270", "video_test_0001496")
_TENTHS = PlainProtocol(steps(0.1, 0.7, 7))
_ACTIVITYNET = PlainProtocol(steps(0.5, 0.95, 10), subset="validation")
PROTOCOLS = {
    "seconds": replace(_TENTHS, strangers_count=True),
    "thumos14-213": _TENTHS,
    "thumos14-212": replace(_TENTHS, without=(ABSENT,)),
    "thumos14-210": replace(_TENTHS, without=(ABSENT, *BROKEN)),
    "thumos14-co2": PlainProtocol(steps(0.1, 0.9, 9), without=(ABSENT,), snippet=16 / 25, drop_ambiguous=True),
    "activitynet12": _ACTIVITYNET,
    "activitynet13": _ACTIVITYNET,
}
"""The protocols by their names, restated."""


@dataclass(frozen=True)
class Counted:
    """What counts under a protocol, in its units."""

    videos: list[str]
    truth: list[Instance]
    found: list[Found]
    outside: int
    """Detections in videos that do not count."""
    ambiguous: int
    """Detections that were dropped for touching an undecided stretch."""


def overlap_of(one: Span, other: Span) -> float:
    """Temporal intersection over union."""
    inner = min(one[1], other[1]) - max(one[0], other[0])
    if inner <= 0:
        return 0.0
    return inner / ((one[1] - one[0]) + (other[1] - other[0]) - inner)


def counted(annotations: dict, results: dict, protocol: PlainProtocol) -> Counted:
    """Annotations and results as their JSON documents hold them, in the protocol's units."""
    database = annotations["database"]
    videos = [v for v, entry in database.items() if entry["subset"] == protocol.subset and v not in protocol.without]
    truth: list[Instance] = []
    for video in videos:
        for item in database[video]["annotations"]:
            start, end = (float(time) for time in item["segment"])
            if protocol.snippet is not None:
                start, end = (float(round(time / protocol.snippet)) for time in (start, end))
            truth.append((video, item["label"], start, end))
    found: list[Found] = []
    outside = ambiguous = 0
    for video, rows in results["results"].items():
        for row in rows:
            start, end = (float(time) for time in row["segment"])
            if protocol.snippet is not None:
                start, end = (round(time / protocol.snippet, 9) for time in (start, end))
            if video not in videos:
                outside += 1
                if not protocol.strangers_count:
                    continue
            elif protocol.drop_ambiguous and _undecided((start, end), database[video].get("ambiguous", []), protocol):
                ambiguous += 1
                continue
            found.append((video, row["label"], start, end, float(row["score"])))
    return Counted(videos, truth, found, outside, ambiguous)


def _undecided(span: Span, stretches: list[list[float]], protocol: PlainProtocol) -> bool:
    for first, last in stretches:
        if protocol.snippet is None:
            if min(span[1], last) > max(span[0], first):
                return True
        elif set(range(int(span[0]), int(span[1]))) & set(
            range(round(first / protocol.snippet), round(last / protocol.snippet))
        ):
            return True
    return False


def ranked(found: list[Found], label: str) -> list[Found]:
    """The detections of a class, the best first; equals as given."""
    return sorted((row for row in found if row[1] == label), key=lambda row: -row[4])


def overlapped(what: Counted, label: str) -> list[list[tuple[int, float]]]:
    """For each ranked detection of a class the instances that it touches, by number, and how much."""
    there: dict[str, list[tuple[int, Span]]] = {}
    for k, (video, what_label, first, last) in enumerate(what.truth):
        if what_label == label:
            there.setdefault(video, []).append((k, (first, last)))
    return [
        [(k, overlap) for k, span in there.get(video, []) if (overlap := overlap_of((start, end), span)) > 0]
        for video, _, start, end, _ in ranked(what.found, label)
    ]


def matches(touched: list[list[tuple[int, float]]], tiou: float) -> list[int | None]:
    """For each ranked detection of a class the number of the instance that it takes, or None."""
    taken: set[int] = set()
    result: list[int | None] = []
    for instances in touched:
        best, number = 0.0, None
        for k, overlap in instances:
            if k not in taken and overlap > best:
                best, number = overlap, k
        if number is not None and best >= tiou:
            taken.add(number)
            result.append(number)
        else:
            result.append(None)
    return result


def average_precision(hits: list[bool], positives: int) -> float:
    """Area under the interpolated precision-recall curve."""
    precision, recall = [0.0], [0.0]
    right = 0
    for rank, hit in enumerate(hits, start=1):
        right += hit
        precision.append(right / rank)
        recall.append(right / positives)
    precision.append(0.0)
    recall.append(1.0)
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    return sum(
        (recall[place] - recall[place - 1]) * precision[place]
        for place in range(1, len(recall))
        if recall[place] != recall[place - 1]
    )


def evaluate(annotations: dict, results: dict, protocol: PlainProtocol) -> dict:
    """All figures: videos, detections, outside, ambiguous, unscored, tious, ap by class, map, average."""
    what = counted(annotations, results, protocol)
    classes = sorted({label for _, label, _, _ in what.truth})
    positives = {label: sum(row[1] == label for row in what.truth) for label in classes}
    ap: dict[str, list[float]] = {}
    for label in classes:
        touched = overlapped(what, label)
        hits = ([match is not None for match in matches(touched, tiou)] for tiou in protocol.tious)
        ap[label] = [average_precision(found, positives[label]) for found in hits]
    means = [sum(ap[label][k] for label in classes) / len(classes) for k in range(len(protocol.tious))]
    unscored: dict[str, int] = {}
    for row in what.found:
        if row[1] not in classes:
            unscored[row[1]] = unscored.get(row[1], 0) + 1
    return {
        "videos": len(what.videos),
        "detections": len(what.found),
        "outside": what.outside,
        "ambiguous": what.ambiguous,
        "unscored": dict(sorted(unscored.items())),
        "tious": list(protocol.tious),
        "ap": ap,
        "map": means,
        "average": sum(means) / len(means),
    }
