"""The diagnosis of detections in plain Python, on `plain_evaluation`: kinds of error, misses, extents.

An independent second form of `training.evaluation.diagnosis`: DETAD's kinds of error (Alwassel et al., ECCV 2018) one
detection at a time, and incompleteness and over-completeness by cutting time at every border.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from benchmarks.evaluation.plain_evaluation import (
    Counted,
    Found,
    PlainProtocol,
    Span,
    average_precision,
    counted,
    matches,
    overlap_of,
    overlapped,
    ranked,
)

KINDS = ("double", "wrong_label", "localization", "confusion", "background")
FOREGROUND, MIN_PRECISION, PAIRED = 0.1, 0.05, 0.1


def diagnose(annotations: dict, results: dict, protocol: PlainProtocol) -> dict:
    """At every threshold: what the best G detections of each class are, what each kind costs, and the share missed;
    and over all instances, how the extents of detections compare with theirs."""
    what = counted(annotations, results, protocol)
    return {
        "tious": list(protocol.tious),
        "errors": [_errors(what, tiou) for tiou in protocol.tious],
        "missed": [_missed(what, tiou) for tiou in protocol.tious],
        "completeness": completeness(what),
    }


def _positives(what: Counted) -> dict[str, int]:
    return dict(sorted(Counter(label for _, label, _, _ in what.truth).items()))


def kind_of(row: Found, match: int | None, what: Counted, tiou: float) -> str:
    """Of one detection: "right" or one of KINDS."""
    if match is not None:
        return "right"
    best, own = 0.0, False
    for video, label, first, last in what.truth:
        if video != row[0]:
            continue
        overlap = overlap_of((row[2], row[3]), (first, last))
        if overlap > best:
            best, own = overlap, False
        if overlap == best and label == row[1]:
            own = True
    if best >= tiou:
        return "double" if own else "wrong_label"
    if best >= FOREGROUND:
        return "localization" if own else "confusion"
    return "background"


def _errors(what: Counted, tiou: float) -> dict:
    counts: Counter[str] = Counter()
    gain = dict.fromkeys(KINDS, 0.0)
    positives = _positives(what)
    for label, many in positives.items():
        rows = ranked(what.found, label)
        found = [
            kind_of(row, match, what, tiou)
            for row, match in zip(rows, matches(overlapped(what, label), tiou), strict=True)
        ]
        counts.update(found[:many])
        whole = average_precision([one == "right" for one in found], many)
        for kind in KINDS:
            without = [one == "right" for one in found if one != kind]
            gain[kind] += (average_precision(without, many) - whole) / len(positives)
    return {"top": {kind: counts[kind] for kind in ("right", *KINDS)}, "gain": gain}


def _missed(what: Counted, tiou: float) -> float:
    """An instance that is found only where the normalised precision is down to 1/20 counts as missed, too."""
    positives = _positives(what)
    size = len(what.truth) / len(positives)
    seen: set[int] = set()
    for label, many in positives.items():
        right = 0
        for rank, match in enumerate(matches(overlapped(what, label), tiou), start=1):
            if match is not None:
                right += 1
                scaled = right / many * size
                if scaled / (scaled + rank - right) > MIN_PRECISION:
                    seen.add(match)
    return 1 - len(seen) / len(what.truth)


def completeness(what: Counted) -> dict:
    """Means over the instances with a pair, and shares of time over all."""
    kept = [row for label, many in _positives(what).items() for row in ranked(what.found, label)[:many]]
    missed, outside = [], []
    for video, label, first, last in what.truth:
        if last <= first:
            continue
        mine = [row for row in kept if row[0] == video and row[1] == label]
        best, pair = 0.0, None
        for row in mine:
            overlap = overlap_of((row[2], row[3]), (first, last))
            if overlap > best:
                best, pair = overlap, row
        if pair is None or best < PAIRED:
            continue
        inner = min(last, pair[3]) - max(first, pair[2])
        missed.append(1 - inner / (last - first))
        outside.append(1 - inner / (pair[3] - pair[2]))
    true_time = lost = found_time = spilt = 0.0
    groups = {(row[0], row[1]) for row in what.truth} | {(row[0], row[1]) for row in kept}
    for video, label in groups:
        truths = [(row[2], row[3]) for row in what.truth if (row[0], row[1]) == (video, label)]
        covers = [(row[2], row[3]) for row in kept if (row[0], row[1]) == (video, label)]
        for piece in pieces(truths + covers):
            length = piece[1] - piece[0]
            in_truths, in_covers = (sum(covers_it(span, piece) for span in spans) for spans in (truths, covers))
            true_time += length * in_truths  # an instance that stands there twice counts twice
            lost += length * in_truths * (in_covers == 0)
            found_time += length * (in_covers > 0)
            spilt += length * (in_covers > 0 and in_truths == 0)
    return {
        "paired": len(missed),
        "missed": sum(missed) / len(missed),
        "outside": sum(outside) / len(outside),
        "time_missed": lost / true_time,
        "time_outside": spilt / found_time,
    }


def pieces(spans: list[Span]) -> list[Span]:
    """Time cut at every border of the spans."""
    borders = sorted({time for span in spans for time in span})
    return list(pairwise(borders))


def covers_it(span: Span, piece: Span) -> bool:
    """Whether a span holds a piece that no border of it cuts."""
    return span[0] <= piece[0] and piece[1] <= span[1]
