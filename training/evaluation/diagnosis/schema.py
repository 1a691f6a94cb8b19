"""diagnosis.json: what a diagnosis says, as frozen recipes.

Axis letters of the tuples: k thresholds of temporal IoU (in the order of `Diagnosis.tious`), r recalls (in the order of
`Diagnosis.recalls`), g multiples of the number of truths. Shares, precisions and average precisions lie in [0, 1];
times are in the units of the protocol, seconds as a rule. None stands where there is nothing to measure.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from cache.recipe import Recipe
from training.evaluation.protocol import Protocol

FILE, RUNS_FILE = "diagnosis.json", "diagnosis_runs.json"
ErrorKind = Literal["double", "wrong_label", "localization", "confusion", "background"]
CharacteristicName = Literal["length", "coverage", "instances"]
Borders = Literal["quantiles", "thumos14", "activitynet"]


class DiagnosisRecipe(Recipe):
    """How detections are diagnosed."""

    foreground: PositiveFloat = 0.1
    """Temporal IoU from which a wrong detection has to do with a truth; below it is a background error."""
    multiples: PositiveInt = 10
    """Errors are counted among the best G, 2G, ... detections of a class, up to this multiple of its truths G."""
    min_precision: NonNegativeFloat = 0.05
    """A truth counts as missed, too, where the normalised precision at the detection that finds it is no higher."""
    borders: Borders = "quantiles"
    """Borders of the bins of length, coverage and instances: fifths of the truths, or DETAD's for a dataset."""
    recalls: PositiveInt = 21
    """Points of a precision-recall curve, at equal steps of recall from 0 to 1."""
    kept: PositiveFloat = 1.0
    """Completeness looks at this many detections of a class for each of its truths, the best-scored ones."""
    paired: PositiveFloat = 0.1
    """Temporal IoU from which a truth has a detection whose extent can be compared with its own."""


class ClassDiagnosis(Recipe):
    """One class."""

    label: str
    truths: PositiveInt
    detections: NonNegativeInt
    ap: tuple[float, ...]
    """(k) average precision, as the evaluator has it."""
    ap_normalized: tuple[float, ...]
    """(k) average precision as if the class had as many truths as the mean class (AP_N of DETAD)."""
    precision: tuple[tuple[float, ...], ...]
    """(k, r) the highest precision that is reached at this recall or above; 0 where the recall is never reached."""


class TopCounts(Recipe):
    """What the best detections are, over all classes."""

    multiple: PositiveInt
    """The best `multiple` x G detections of every class, G being the number of its truths."""
    detections: NonNegativeInt
    """How many they are; fewer than asked for where a class has not so many."""
    right: NonNegativeInt
    errors: dict[ErrorKind, NonNegativeInt]
    """`right` and these sum to `detections`."""


class ErrorBreakdown(Recipe):
    """The kinds of error at one threshold."""

    tiou: float
    top: tuple[TopCounts, ...]
    """(g) among the best G, 2G, ... detections: each row holds the ones before it."""
    gain: dict[ErrorKind, float]
    """How much the mAP rises when every error of this kind is removed."""
    gain_normalized: dict[ErrorKind, float]
    """The same for the normalised mAP of the best `multiples` x G detections of a class: DETAD's impact."""


class Bin(Recipe):
    """The truths of which a characteristic lies in (low, high]; the lowest bin holds its low border, too."""

    label: str
    """XS, S, M, L, XL; fewer where truths do not differ enough."""
    low: float
    high: float | None
    """None: no upper border."""
    truths: NonNegativeInt
    missed: tuple[float, ...] | None
    """(k) share of these truths that no detection finds (false negatives)."""
    map: tuple[float, ...] | None
    """(k) mAP of these truths alone: detections that find others are left out, not wrong."""
    map_normalized: tuple[float, ...] | None
    """(k) the same with the normalised precision, which makes bins of different size comparable."""


class Characteristic(Recipe):
    """One property of truths, in bins.

    length: end - start, in seconds whatever the units are. coverage: length / duration of the video. instances: truths
    of the same class in the video.
    """

    name: CharacteristicName
    unknown: NonNegativeInt
    """Truths that are in no bin: those of videos whose duration the annotations do not hold."""
    bins: tuple[Bin, ...]


class Distribution(Recipe):
    """Where shares lie."""

    count: PositiveInt
    mean: float
    low: float
    """A quarter is below."""
    median: float
    high: float
    """A quarter is above."""
    histogram: tuple[NonNegativeInt, ...]
    """Counts in ten equal bins from 0 to 1, the last with its upper border."""


class Extent(Recipe):
    """How the extent of detections compares with that of a group of ground-truth instances; `extent` defines it."""

    label: str
    truths: NonNegativeInt
    """Truths of some length."""
    paired: NonNegativeInt
    """Those with a pair, a kept detection of their class that overlaps them enough. The shares below are theirs."""
    missed: Distribution | None
    """Incompleteness: the share of the truth that its pair misses. Its mean is the sum of the next four."""
    missed_start: float | None
    """Mean share before all kept detections of the class in the truth."""
    missed_inside: float | None
    """Mean share in gaps between them."""
    missed_end: float | None
    """Mean share after all of them."""
    missed_fragments: float | None
    """Mean share that the pair misses and other kept detections of the class cover: the truth was found in pieces."""
    outside: Distribution | None
    """Over-completeness: the share of the pair that is outside of its truth. Its mean is the sum of the next three."""
    outside_before: float | None
    """Mean share before the truth, in no truth of the class."""
    outside_after: float | None
    """Mean share after the truth, in no truth of the class."""
    outside_neighbours: float | None
    """Mean share in other truths of the class: instances were merged."""
    time_missed: float | None
    """Share of the time of all truths, paired or not, that no kept detection of the class covers."""
    time_outside: float | None
    """Share of the time of all kept detections, pairs or not, that is in no truth of the class. None for lengths."""


class Completeness(Recipe):
    """Incompleteness and over-completeness, the two problems of weakly-supervised localization, measured."""

    overall: Extent
    classes: tuple[Extent, ...]
    """In the order of `Diagnosis.classes`."""
    lengths: tuple[Extent, ...]
    """In the bins of the characteristic `length`."""


class Diagnosis(Recipe):
    """diagnosis.json."""

    schema_version: Literal[1] = 1
    """Rises when a field changes its meaning or goes."""
    name: str
    """Of the run or of the file of detections."""
    protocol: Protocol
    """Which videos and detections count, in which units, at which temporal IoUs."""
    recipe: DiagnosisRecipe
    tious: tuple[float, ...]
    """(k) those of the protocol: from which a detection is right."""
    recalls: tuple[float, ...]
    """(r)"""
    videos: PositiveInt
    truths: PositiveInt
    detections: NonNegativeInt
    """Of classes that the truth has; all of them are diagnosed."""
    outside: NonNegativeInt
    """Those among them in videos that do not count, where the protocol takes them for false positives."""
    left_out: dict[str, PositiveInt]
    """Detections that the protocol leaves out, by reason."""
    unscored: dict[str, PositiveInt]
    """By class without any truth in the subset: its detections, which nothing here counts."""
    map: tuple[float, ...]
    """(k) as `make eval` gives it."""
    average: float
    """Mean of `map`."""
    map_normalized: tuple[float, ...]
    """(k) mean of the classes' `ap_normalized`."""
    missed: tuple[float, ...]
    """(k) share of all truths that no detection finds."""
    precision: tuple[tuple[float, ...], ...]
    """(k, r) mean of the classes' curves."""
    classes: tuple[ClassDiagnosis, ...] = Field(min_length=1)
    """In alphabetical order."""
    errors: tuple[ErrorBreakdown, ...]
    """(k)"""
    characteristics: tuple[Characteristic, ...]
    """Length, coverage, instances."""
    completeness: Completeness


class Measured(Recipe):
    """One figure over several runs."""

    mean: float
    spread: float | None
    """Standard deviation (n - 1); None for a single run."""
    values: tuple[float, ...]
    """Of each run, in their order."""


class Difference(Recipe):
    """One figure of some runs, less that of the runs they are held against."""

    mean: float
    spread: float | None
    """Standard deviation of the differences of pairs; standard error of the difference of the means otherwise."""
    paired: bool
    """Whether each run has a counterpart with the same seed."""


class RunsDiagnosis(Recipe):
    """diagnosis_runs.json: the figures of runs that differ in their seed, and of those they are held against."""

    schema_version: Literal[1] = 1
    """Rises when a field changes its meaning or goes."""
    runs: tuple[str, ...]
    against: tuple[str, ...]
    """Empty where there is nothing to hold against."""
    figures: dict[str, Measured]
    """By name, such as "mAP@0.5", "missed@0.5", "incompleteness"."""
    against_figures: dict[str, Measured]
    differences: dict[str, Difference]
