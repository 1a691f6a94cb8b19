"""The figures of several runs that differ in their seed: mean, spread, and differences to other runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

from training.evaluation.diagnosis.schema import Diagnosis, Difference, Measured, RunsDiagnosis
from training.evaluation.protocol import tiou_key


@dataclass(frozen=True)
class Run:
    """A diagnosed run and the seed that it was trained with."""

    diagnosis: Diagnosis
    seed: int


def over_runs(runs: Sequence[Run], against: Sequence[Run] = ()) -> RunsDiagnosis:
    """Mean and spread of every figure, and the difference of `runs` to `against`.

    Runs are paired by their seed if both sides have the same seeds, each once: runs of one seed see the same batches,
    so paired differences vary less than the runs do. Figures that some run does not have are left out.
    """
    ours, others = _measured(runs), _measured(against)
    both = [name for name in ours if name in others]
    order = _counterparts(runs, against)
    return RunsDiagnosis(
        runs=tuple(run.diagnosis.name for run in runs),
        against=tuple(run.diagnosis.name for run in against),
        figures=ours,
        against_figures=others,
        differences={name: _difference(ours[name], others[name], order) for name in both},
    )


def figures(diagnosis: Diagnosis) -> dict[str, float]:
    """The figures of one diagnosis, by name; undefined ones are absent.

    "mAP@0.5", "missed@0.5", of each kind of error its share of the top G detections ("background@0.5"), "average mAP",
    "AP LongJump" (mean over the thresholds), and those of completeness over all truths.
    """
    at = [f"@{tiou_key(tiou)}" for tiou in diagnosis.tious]
    values: dict[str, float | None] = {"average mAP": diagnosis.average}
    values |= {f"mAP{name}": value for name, value in zip(at, diagnosis.map, strict=True)}
    values |= {f"missed{name}": value for name, value in zip(at, diagnosis.missed, strict=True)}
    for name, errors in zip(at, diagnosis.errors, strict=True):
        first = errors.top[0]
        if first.detections:
            values |= {f"{kind}{name}": count / first.detections for kind, count in first.errors.items()}
    whole = diagnosis.completeness.overall
    values["incompleteness"] = whole.missed.mean if whole.missed else None
    values["over-completeness"] = whole.outside.mean if whole.outside else None
    values["without a pair"] = 1 - whole.paired / whole.truths if whole.truths else None
    values["time missed"], values["time outside"] = whole.time_missed, whole.time_outside
    values |= {f"AP {one.label}": mean(one.ap) for one in diagnosis.classes}
    return {name: value for name, value in values.items() if value is not None}


def _measured(runs: Sequence[Run]) -> dict[str, Measured]:
    each = [figures(run.diagnosis) for run in runs]
    names = [name for name in each[0] if all(name in one for one in each)] if each else []
    return {name: _measure([one[name] for one in each]) for name in names}


def _measure(values: Sequence[float]) -> Measured:
    return Measured(mean=mean(values), spread=stdev(values) if len(values) > 1 else None, values=tuple(values))


def _counterparts(runs: Sequence[Run], against: Sequence[Run]) -> list[int] | None:
    """For each run the index of the one with its seed; None if the seeds do not pair up."""
    place: Mapping[int, int] = {run.seed: number for number, run in enumerate(against)}
    seeds = [run.seed for run in runs]
    if len(place) != len(against) or len(set(seeds)) != len(seeds) or set(seeds) != set(place):
        return None
    return [place[seed] for seed in seeds]


def _difference(mine: Measured, other: Measured, order: Sequence[int] | None) -> Difference:
    if order is not None:
        gaps = [value - other.values[place] for value, place in zip(mine.values, order, strict=True)]
        return Difference(mean=mean(gaps), spread=stdev(gaps) if len(gaps) > 1 else None, paired=True)
    spread = None
    if mine.spread is not None and other.spread is not None:
        spread = sqrt(mine.spread**2 / len(mine.values) + other.spread**2 / len(other.values))
    return Difference(mean=mine.mean - other.mean, spread=spread, paired=False)
