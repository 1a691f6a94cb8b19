"""Tables that `make diagnose` prints."""

from __future__ import annotations

from collections.abc import Sequence

from cache.wording import amount
from pipelines.console import say, table
from training.evaluation.diagnosis.schema import (
    Characteristic,
    Diagnosis,
    Distribution,
    ErrorKind,
    Extent,
    RunsDiagnosis,
)
from training.evaluation.protocol import tiou_key

_TITLES: dict[ErrorKind, str] = {
    "double": "duplicate", "wrong_label": "wrong label", "localization": "localization", "confusion": "confusion",
    "background": "background",
}  # fmt: skip


def print_diagnosis(found: Diagnosis, *, shown: float) -> None:
    """Print all tables; those at a single tIoU are for the threshold nearest to `shown`."""
    place = nearest(found.tious, shown)
    at = f"tIoU {tiou_key(found.tious[place])}"
    instances = f"{amount(found.truths, 'ground-truth instance')} of {amount(len(found.classes), 'class', 'classes')}"
    say(f"{found.name}: {instances}, {amount(found.detections, 'detection')}")
    say(found.protocol.describe())
    if found.outside:
        say(f"{amount(found.outside, 'detection')} in videos outside the evaluated split: false positives")
    for reason, count in found.left_out.items():
        say(f"{amount(count, 'detection is', 'detections are')} left out: {reason}")
    if found.unscored:
        count = amount(sum(found.unscored.values()), "detection")
        say(f"{count} of classes without ground truth: {', '.join(found.unscored)}")
    rows = [
        ["mAP", *map(percent, (*found.map, found.average))],
        ["normalised mAP", *map(percent, (*found.map_normalized, _mean(found.map_normalized)))],
        ["false negatives", *map(percent, (*found.missed, _mean(found.missed)))],
    ]
    table("Over all classes [%]", ["", *(f"@{tiou_key(tiou)}" for tiou in found.tious), "average"], rows)
    _print_errors(found, place, at)
    for one in found.characteristics:
        _print_characteristic(one, place, at)
    _print_completeness(found)
    _print_curves(found)
    header = ["class", "instances", "detections", *(f"AP@{tiou_key(tiou)}" for tiou in found.tious), "average"]
    rows = [
        [one.label, str(one.truths), str(one.detections), *map(percent, (*one.ap, _mean(one.ap)))]
        for one in found.classes
    ]
    table("Average precision by class [%]", header, rows)


def print_runs(found: RunsDiagnosis, first: Diagnosis, *, shown: float) -> None:
    """Print mean and standard deviation over the runs; figures at a single tIoU are for the one nearest to `shown`."""
    at = f"@{tiou_key(first.tious[nearest(first.tious, shown)])}"
    names = [name for name in found.figures if name.startswith("mAP@") or "@" not in name or name.endswith(at)]
    paired = any(one.paired for one in found.differences.values())
    header = ["[%]", f"runs: {len(found.runs)}"]
    if found.against:
        header += [f"against: {len(found.against)}", f"difference{', paired' if paired else ''}"]
    rows = []
    for name in names:
        row = [name, _spread(found.figures[name].mean, found.figures[name].spread)]
        if name in found.differences:
            other, gap = found.against_figures[name], found.differences[name]
            row += [_spread(other.mean, other.spread), _spread(gap.mean, gap.spread, sign="+")]
        rows.append(row + [""] * (len(header) - len(row)))
    against = f" against {', '.join(found.against)}" if found.against else ""
    table(f"{', '.join(found.runs)}{against}: mean ± standard deviation", header, rows)


def percent(value: float | None) -> str:
    """A share in percent; empty if there is none."""
    return "" if value is None else f"{100 * value:.1f}"


def nearest(tious: Sequence[float], shown: float) -> int:
    """Index of the threshold nearest to `shown`."""
    return min(range(len(tious)), key=lambda place: abs(tious[place] - shown))


def _print_errors(found: Diagnosis, place: int, at: str) -> None:
    one = found.errors[place]
    header = ["top detections", "count", "true positive", *_TITLES.values()]
    rows = []
    for top in one.top:
        shares = [count / top.detections if top.detections else None for count in (top.right, *top.errors.values())]
        rows.append([f"{top.multiple} G", str(top.detections), *map(percent, shares)])
    rows.append(["mAP gained", "", "", *(f"{100 * one.gain[kind]:+.1f}" for kind in _TITLES)])
    rows.append(["normalised mAP gained", "", "", *(f"{100 * one.gain_normalized[kind]:+.1f}" for kind in _TITLES)])
    table(f"Kinds of error at {at} [%]; G: ground-truth instances of a class", header, rows)


def _print_characteristic(one: Characteristic, place: int, at: str) -> None:
    rows = []
    for b in one.bins:
        span = f"{b.label}  {b.low:.3g} - {'' if b.high is None else f'{b.high:.3g}'}"
        numbers = [None if values is None else values[place] for values in (b.missed, b.map, b.map_normalized)]
        rows.append([span, str(b.truths), *map(percent, numbers)])
    unknown = f"; {amount(one.unknown, 'instance')} in videos of unknown duration" if one.unknown else ""
    table(f"By {one.name} at {at} [%]{unknown}", [one.name, "count", "false negatives", "mAP", "normalised mAP"], rows)


def _print_completeness(found: Diagnosis) -> None:
    groups = [found.completeness.overall, *found.completeness.lengths, *found.completeness.classes]
    header = ["", "instances", "matched"]
    header += ["missed", "quartiles", "outside", "quartiles", "time missed", "time outside"]
    rows = [
        [
            *_counts(one), *_distribution(one.missed), *_distribution(one.outside), percent(one.time_missed),
            percent(one.time_outside),
        ]
        for one in groups
    ]  # fmt: skip
    title = "Incompleteness (share of an instance missed) and over-completeness (share of a detection outside) [%]"
    table(title, header, rows)
    header = ["", "instances", "matched", "missed: start", "gaps", "end", "fragments"]
    header += ["outside: before", "after", "other instances"]
    rows = []
    for one in groups:
        missed = (one.missed_start, one.missed_inside, one.missed_end, one.missed_fragments)
        outside = (one.outside_before, one.outside_after, one.outside_neighbours)
        rows.append([*_counts(one), *map(percent, (*missed, *outside))])
    table("Missed and outside by position [%]", header, rows)


def _counts(one: Extent) -> list[str]:
    return [one.label, str(one.truths), percent(one.paired / one.truths if one.truths else None)]


def _distribution(one: Distribution | None) -> list[str]:
    if one is None:
        return ["", ""]
    return [percent(one.mean), f"{100 * one.low:.0f} / {100 * one.median:.0f} / {100 * one.high:.0f}"]


def _print_curves(found: Diagnosis) -> None:
    places = [nearest(found.recalls, step / 10) for step in range(11)]
    rows = [
        [f"tIoU {tiou_key(tiou)}", *(percent(curve[place]) for place in places)]
        for tiou, curve in zip(found.tious, found.precision, strict=True)
    ]
    header = ["recall", *(f"{found.recalls[place]:.2g}" for place in places)]
    table("Precision at recall or above, mean of the classes [%]", header, rows)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _spread(value: float, spread: float | None, *, sign: str = "") -> str:
    return f"{100 * value:{sign}.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")
