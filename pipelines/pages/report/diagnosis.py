"""The diagnosis of a run as plots: precision over recall, kinds of error, missed truths, sensitivity, completeness."""

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
    "double": ("double", "finds a truth that a better detection has found"),
    "wrong_label": ("wrong label", "overlaps a truth of another class enough"),
    "localization": ("localization", "overlaps a truth of its class, but not enough"),
    "confusion": ("confusion", "overlaps a truth of another class, but not enough"),
    "background": ("background", "overlaps no truth"),
}
_STYLES = {kind: f"s{place}" for place, kind in enumerate(_KINDS, start=1)}
_SHOWN = ("0.1", "0.3", "0.5", "0.7", "0.75", "0.95")
"""Temporal IoUs with a curve of their own."""
_PROPERTIES = {
    "length": "length of the truth [s]",
    "coverage": "share of the video that the truth takes [%]",
    "instances": "truths of the same class in the video",
}


def diagnosis_sections(found: Diagnosis) -> str:
    """All sections of the diagnosis. Figures at one threshold are those at the tIoU nearest to 0.5."""
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
        counts = [("right", "s0", top.right), *((_KINDS[k][0], _STYLES[k], top.errors.get(k, 0)) for k in _KINDS)]
        whole = max(top.detections, 1)
        stacks[f"{top.multiple}G"] = [
            Bar(count / whole, f"{name}: {count:,} of {top.detections:,}, {100 * count / whole:.1f} %", style)
            for name, style, count in counts
        ]
    gains = {_KINDS[k][0]: errors.gain.get(k, 0.0) for k in _KINDS}
    bars = {
        name: Bar(gain, f"without {name} errors the mAP rises by {100 * gain:.1f} points", style)
        for (name, gain), style in zip(gains.items(), _STYLES.values(), strict=True)
    }
    keys = legend({"s0": "right"} | {_STYLES[k]: name for k, (name, _) in _KINDS.items()})
    shares = percents("share of the detections [%]")
    first = stacked("Kinds of error", "best detections of a class; G = number of its truths", shares, stacks)
    gain_axis = percents("rise of the mAP [points]", max(*gains.values(), 0.05) * 1.1, digits=1)
    second = columns("Rise of the mAP", "kind of error that is removed", gain_axis, bars)
    head = [Column("error", numbers=False), *(Column(f"{tiou:g}") for tiou in found.tious)]
    rows = [Row([Cell(_KINDS[k][0]), *(percent(one.gain.get(k)) for one in found.errors)]) for k in _KINDS]
    meanings = "".join(f"<li><b>{escape(name)}</b>: {escape(meaning)}</li>" for name, meaning in _KINDS.values())
    low = f"Enough is a tIoU of {errors.tiou:g}; to overlap, one of {found.recipe.foreground:g}."
    body = (
        f'<div class="charts two">{figure(first, "What the best detections are", keys)}'
        f"{figure(second, 'What removing a kind of error would bring')}</div>"
        f"<details><summary>What the kinds are, and the rise of the mAP at every tIoU</summary><ul>{meanings}</ul>"
        f"<p>{low}</p>{table('gain-table', head, rows)}</details>"
    )
    return section(f"Errors at tIoU {errors.tiou:g}", body, name="errors")


def _characteristics(found: Diagnosis, at: int) -> str:
    missed, sensitivity = "", ""
    whole = found.map_normalized[at]
    for one in found.characteristics:
        names = [f"{_span(one, b)}" for b in one.bins]
        lost = {
            name: Bar(b.missed[at] if b.missed else None, f"{b.label}: {_truths(b)}", "s1")
            for name, b in zip(names, one.bins, strict=True)
        }
        kept = {
            name: Bar(b.map_normalized[at] if b.map_normalized else None, f"{b.label}: {_truths(b)}", "s0")
            for name, b in zip(names, one.bins, strict=True)
        }
        label = _PROPERTIES[one.name]
        axis = percents("missed [%]", max((bar.value or 0.0 for bar in lost.values()), default=0.0) * 1.15 or 0.1)
        missed += figure(
            columns(f"Missed truths by {one.name}", label, axis, lost, reference=("of all", found.missed[at])),
            f"Missed by {one.name}",
        )
        axis = percents("normalised mAP [%]")
        sensitivity += figure(
            columns(f"mAP by {one.name}", label, axis, kept, reference=("of all", whole)), f"mAP by {one.name}"
        )
    tiou = found.tious[at]
    note = (
        f"At tIoU {tiou:g}; bins from XS to XL, their borders below the columns. The dashed line is the figure of all "
        "truths. A truth is missed where no detection finds it "
        f"with a precision above {found.recipe.min_precision:g}."
    )
    body = f'<p>{note}</p><div class="charts">{missed}{sensitivity}</div>'
    return section("Which truths are missed, and which are found well", body, name="sensitivity")


def _span(one: Characteristic, b: Bin) -> str:
    factor = 100 if one.name == "coverage" else 1
    low, high = factor * b.low, None if b.high is None else factor * b.high
    if one.name == "instances":
        first = int(low) + 1 if b is not one.bins[0] else max(int(low), 1)
        if high is None:
            return f"{first}+"
        return f"{first}" if first >= int(high) else f"{first}–{int(high)}"
    return f"> {low:.3g}" if high is None else f"{low:.3g}–{high:.3g}"


def _truths(b: Bin) -> str:
    return f"{b.truths:,} truth{'' if b.truths == 1 else 's'}"


def _completeness(found: Diagnosis) -> str:
    whole = found.completeness
    groups = [("all classes", whole.overall), *((one.label, one) for one in whole.classes)]
    by_length = [(f"length {one.label}", one) for one in whole.lengths]
    extents = [one for _, one in (*groups, *by_length)]
    high = max((max(_mean(one.missed), _mean(one.outside)) for one in extents), default=0.0) or 0.1
    keys = legend(
        {
            "s1": "missed at the start",
            "s4": "in gaps",
            "s3": "at the end",
            "s5": "found in pieces",
            "s0": "outside, before",
            "s2": "after",
            "other": "in a neighbour",
        }
    )
    sides = ("incompleteness: share of the truth missed [%]", "over-completeness: share of the detection outside [%]")
    charts = "".join(
        figure(two_sided(f"Completeness by {name}", sides, high, dict(map(_sides, rows))), f"By {name}", style="broad")
        for name, rows in (("class", groups), ("length of the truth", by_length))
        if rows
    )
    overall = whole.overall
    tiles = [
        (_share(_mean(overall.missed) if overall.missed else None), "incompleteness: of a truth, missed"),
        (_share(_mean(overall.outside) if overall.outside else None), "over-completeness: of a detection, outside"),
        (_share(overall.time_missed), "of the time of all truths is covered by nothing"),
        (_share(overall.time_outside), "of the time of all detections is in no truth"),
    ]
    shown = "".join(f'<div class="tile"><b>{value}</b><span>{escape(name)}</span></div>' for value, name in tiles)
    many = "as many as there are truths" if found.recipe.kept == 1 else f"{found.recipe.kept:g} for each truth"
    note = (
        f"Of each class its best detections count, {many}. {overall.paired:,} of {overall.truths:,} truths have one "
        f"that overlaps them by a tIoU of {found.recipe.paired:g} or more. Of these pairs: how much of the truth the "
        "detection misses (incomplete), and how much of the detection lies outside of the truth (over-complete)."
    )
    body = f'<p>{escape(note)}</p><div class="tiles">{shown}</div>{keys}{charts}'
    return section("Incomplete and over-complete", body, name="completeness")


def _sides(row: tuple[str, Extent]) -> tuple[str, tuple[Sequence[Bar], Sequence[Bar]]]:
    name, one = row
    missed = [
        ("before all detections", one.missed_start, "s1"),
        ("in gaps between detections", one.missed_inside, "s4"),
        ("after all detections", one.missed_end, "s3"),
        ("by its pair, but found by others", one.missed_fragments, "s5"),
    ]
    outside = [
        ("before the truth", one.outside_before, "s0"),
        ("after the truth", one.outside_after, "s2"),
        ("in other truths of the class", one.outside_neighbours, "other"),
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
