"""The diagnosis of a run as charts: completeness, precision over recall, error types, false negatives, sensitivity."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from pipelines.pages.charts import SERIES, Series, line_chart, percents
from pipelines.pages.charts_bars import Bar, columns, stacked, two_sided
from pipelines.pages.page import figure, legend, section
from pipelines.pages.table import Cell, Column, Row, percent, table
from training.evaluation.diagnosis.schema import Bin, Characteristic, Diagnosis, ErrorKind, Extent
from training.evaluation.protocol import tiou_key

_KINDS: dict[ErrorKind, tuple[str, str]] = {
    "double": ("duplicate", "matches a ground-truth instance that a detection with a higher score matches already"),
    "wrong_label": ("wrong label", "matches a ground-truth instance of another class"),
    "localization": ("localization", "overlaps a ground-truth instance of its class, with too low a tIoU"),
    "confusion": ("confusion", "overlaps a ground-truth instance of another class, with too low a tIoU"),
    "background": ("background", "overlaps no ground-truth instance"),
}
_STYLES = {kind: f"s{place}" for place, kind in enumerate(_KINDS, start=1)}
_SHOWN = ("0.1", "0.3", "0.5", "0.7", "0.75", "0.95")
"""Temporal IoUs that have their own curve."""
_PROPERTIES = {
    "length": ("length", "length of the instance [s]"),
    "coverage": ("coverage", "share of the video that the instance covers [%]"),
    "instances": ("number of instances", "instances of the same class in the video"),
}
"""Characteristic -> name in titles, label of its axis."""


def diagnosis_sections(found: Diagnosis) -> str:
    """All sections of the diagnosis. Figures at a single threshold are for the tIoU nearest to 0.5."""
    at = min(range(len(found.tious)), key=lambda k: abs(found.tious[k] - 0.5))
    parts = [_completeness(found), _precision(found), _errors(found, at), _characteristics(found, at)]
    return "".join(parts)


def _precision(found: Diagnosis) -> str:
    chosen = [k for k, tiou in enumerate(found.tious) if tiou_key(tiou) in _SHOWN] or [0]
    recall = percents("recall [%]")
    lines = [
        Series(f"tIoU {found.tious[k]:g}", found.recalls, found.precision[k], style, marks=False)
        for style, k in enumerate(chosen)
    ]
    keys = legend({f"line s{line.style % SERIES}": line.name for line in lines})
    chart = line_chart("Precision over recall, mean of the classes", recall, percents("precision [%]"), lines)
    at = min(chosen, key=lambda k: abs(found.tious[k] - 0.5))
    ranked = sorted(found.classes, key=lambda one: one.ap[at])
    ends = list(dict.fromkeys([*ranked[-2:][::-1], *ranked[:2][::-1]]))
    of_classes = [Series(one.label, found.recalls, one.precision[at], k, marks=False) for k, one in enumerate(ends)]
    names = legend({f"line s{line.style % SERIES}": line.name for line in of_classes})
    second = line_chart("Precision over recall of classes", recall, percents("precision [%]"), of_classes)
    title = f"The best and the worst classes at tIoU {found.tious[at]:g}"
    figures = figure(chart, "Mean of the classes", keys) + figure(second, title, names)
    return section("Precision and recall", f'<div class="charts two">{figures}</div>', name="precision")


def _errors(found: Diagnosis, at: int) -> str:
    errors = found.errors[at]
    stacks = {}
    for top in errors.top:
        counts = [
            ("true positive", "s0", top.right),
            *((_KINDS[k][0], _STYLES[k], top.errors.get(k, 0)) for k in _KINDS),
        ]
        whole = max(top.detections, 1)
        stacks[f"{top.multiple}G"] = [
            Bar(count / whole, f"{name}: {count:,} of {top.detections:,}, {100 * count / whole:.1f} %", style)
            for name, style, count in counts
        ]
    gains = {_KINDS[k][0]: errors.gain.get(k, 0.0) for k in _KINDS}
    bars = {
        name: Bar(gain, f"without {name} errors the mAP is {100 * gain:.1f} points higher", style)
        for (name, gain), style in zip(gains.items(), _STYLES.values(), strict=True)
    }
    keys = legend({"s0": "true positive"} | {_STYLES[k]: name for k, (name, _) in _KINDS.items()})
    shares = percents("share of the detections [%]")
    first = stacked("Kinds of error", "top detections of a class; G = its ground-truth instances", shares, stacks)
    gain_axis = percents("mAP gain [points]", max(*gains.values(), 0.05) * 1.1, digits=1)
    second = columns("mAP gain", "kind of error that is removed", gain_axis, bars)
    head = [Column("error", numbers=False), *(Column(f"{tiou:g}") for tiou in found.tious)]
    rows = [Row([Cell(_KINDS[k][0]), *(percent(one.gain.get(k)) for one in found.errors)]) for k in _KINDS]
    meanings = "".join(f"<li><b>{escape(name)}</b>: {escape(meaning)}</li>" for name, meaning in _KINDS.values())
    low = f"A match needs a tIoU of {errors.tiou:g} or more, an overlap one of {found.recipe.foreground:g} or more."
    body = (
        f'<div class="charts two">{figure(first, "Top-scoring detections by kind of error", keys)}'
        f"{figure(second, 'mAP gain if a kind of error is removed')}</div>"
        f"<details><summary>Definitions of the kinds of error, and mAP gains at every tIoU</summary><ul>{meanings}</ul>"
        f"<p>{low}</p>{table('gain-table', head, rows)}</details>"
    )
    return section(f"Errors at tIoU {errors.tiou:g}", body, name="errors")


def _characteristics(found: Diagnosis, at: int) -> str:
    missed, sensitivity = "", ""
    whole = found.map_normalized[at]
    for one in found.characteristics:
        names = [f"{_span(one, b)}" for b in one.bins]
        lost = {
            name: Bar(b.missed[at] if b.missed else None, f"{b.label}: {_instances(b)}", "s1")
            for name, b in zip(names, one.bins, strict=True)
        }
        kept = {
            name: Bar(b.map_normalized[at] if b.map_normalized else None, f"{b.label}: {_instances(b)}", "s0")
            for name, b in zip(names, one.bins, strict=True)
        }
        name, label = _PROPERTIES[one.name]
        axis = percents(
            "false negatives [%]", max((bar.value or 0.0 for bar in lost.values()), default=0.0) * 1.15 or 0.1
        )
        missed += figure(
            columns(f"False negatives by {name}", label, axis, lost, reference=("all instances", found.missed[at])),
            f"False negatives by {name}",
        )
        axis = percents("normalised mAP [%]")
        sensitivity += figure(
            columns(f"mAP by {name}", label, axis, kept, reference=("all instances", whole)), f"mAP by {name}"
        )
    tiou = found.tious[at]
    note = (
        f"At tIoU {tiou:g}; bins from XS to XL, with their limits below the columns. Dashed line: all ground-truth "
        "instances. An instance is a false negative if no detection matches it at a precision above "
        f"{found.recipe.min_precision:g}."
    )
    body = f'<p>{note}</p><div class="charts">{missed}{sensitivity}</div>'
    return section("False negatives and sensitivity", body, name="sensitivity")


def _span(one: Characteristic, b: Bin) -> str:
    factor = 100 if one.name == "coverage" else 1
    low, high = factor * b.low, None if b.high is None else factor * b.high
    if one.name == "instances":
        first = int(low) + 1 if b is not one.bins[0] else max(int(low), 1)
        if high is None:
            return f"{first}+"
        return f"{first}" if first >= int(high) else f"{first}–{int(high)}"
    return f"> {low:.3g}" if high is None else f"{low:.3g}–{high:.3g}"


def _instances(b: Bin) -> str:
    return f"{b.truths:,} instance{'' if b.truths == 1 else 's'}"


def _completeness(found: Diagnosis) -> str:
    whole = found.completeness
    groups = [("all classes", whole.overall), *((one.label, one) for one in whole.classes)]
    by_length = [(f"length {one.label}", one) for one in whole.lengths]
    extents = [one for _, one in (*groups, *by_length)]
    high = max((max(_mean(one.missed), _mean(one.outside)) for one in extents), default=0.0) or 0.1
    keys = legend(
        {
            "s1": "missed: start",
            "s4": "missed: gaps",
            "s3": "missed: end",
            "s5": "missed, but covered by other detections",
            "s0": "outside: before",
            "s2": "outside: after",
            "other": "outside: in other instances",
        }
    )
    sides = ("incompleteness: instance missed [%]", "over-completeness: detection outside [%]")
    charts = "".join(
        figure(two_sided(f"Completeness by {name}", sides, high, dict(map(_sides, rows))), f"By {name}", style="broad")
        for name, rows in (("class", groups), ("length of the instance", by_length))
        if rows
    )
    overall = whole.overall
    tiles = [
        (
            _share(_mean(overall.missed) if overall.missed else None),
            "incompleteness: share of an instance missed, mean",
        ),
        (
            _share(_mean(overall.outside) if overall.outside else None),
            "over-completeness: share of a detection outside, mean",
        ),
        (_share(overall.time_missed), "of all ground-truth time is not detected"),
        (_share(overall.time_outside), "of all detected time is not ground truth"),
    ]
    shown = "".join(f'<div class="tile"><b>{value}</b><span>{escape(name)}</span></div>' for value, name in tiles)
    per = "" if found.recipe.kept == 1 else f"{found.recipe.kept:g} x "
    note = (
        f"Computed from the N top-scoring detections of each class, N = {per}number of its ground-truth instances. "
        f"{overall.paired:,} of {overall.truths:,} instances are matched by one of them with a tIoU of "
        f"{found.recipe.paired:g} or more. Over these matches: the share of the instance that the detection misses "
        "(incompleteness) and the share of the detection outside the instance (over-completeness)."
    )
    body = f'<p>{escape(note)}</p><div class="tiles">{shown}</div>{keys}{charts}'
    return section("Incompleteness and over-completeness", body, name="completeness")


def _sides(row: tuple[str, Extent]) -> tuple[str, tuple[Sequence[Bar], Sequence[Bar]]]:
    name, one = row
    missed = [
        ("missed before all detections", one.missed_start, "s1"),
        ("missed in gaps between detections", one.missed_inside, "s4"),
        ("missed after all detections", one.missed_end, "s3"),
        ("missed, but covered by other detections", one.missed_fragments, "s5"),
    ]
    outside = [
        ("outside, before the instance", one.outside_before, "s0"),
        ("outside, after the instance", one.outside_after, "s2"),
        ("outside, in other instances of the class", one.outside_neighbours, "other"),
    ]
    parts = [
        [Bar(value, f"{name}: {_share(value)} {where}", style) for where, value, style in side]
        for side in (missed, outside)
    ]
    return name, (parts[0], parts[1])


def _mean(one: object) -> float:
    return getattr(one, "mean", 0.0)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
