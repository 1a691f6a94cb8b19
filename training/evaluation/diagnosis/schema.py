"""Schema of diagnosis.json and diagnosis_runs.json, as frozen recipes.

"Truths" in field names are ground-truth instances. Axis letters of the tuples: k thresholds of temporal IoU (in the
order of `Diagnosis.tious`), r recalls (in the order of `Diagnosis.recalls`), g multiples of the number of instances.
Shares, precisions and average precisions lie in [0, 1]; times are in the units of the protocol, usually seconds. None
means that there is nothing to measure.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from cache.recipe import Recipe
from training.evaluation.protocol import Protocol

FILE, RUNS_FILE = "diagnosis.json", "diagnosis_runs.json"
PSEUDO_FILE, PSEUDO_RUNS_FILE = "pseudo_diagnosis.json", "pseudo_diagnosis_runs.json"
"""The same of the pseudo segments of training."""
ErrorKind = Literal["double", "wrong_label", "localization", "confusion", "background"]
CharacteristicName = Literal["length", "coverage", "instances"]
Borders = Literal["quantiles", "thumos14", "activitynet"]


class DiagnosisRecipe(Recipe):
    """Settings of the diagnosis."""

    foreground: PositiveFloat = 0.1
    """Temporal IoU with a ground-truth instance below which a false positive is a background error."""
    multiples: PositiveInt = 10
    """Errors are counted among the top G, 2G, ... detections of a class, up to this multiple of its number of
    ground-truth instances G."""
    min_precision: NonNegativeFloat = 0.05
    """A ground-truth instance also counts as missed if the normalised precision at the rank of its detection is not
    above this."""
    borders: Borders = "quantiles"
    """Borders of the bins of length, coverage and instances: quantiles = fifths of the ground-truth instances, or
    DETAD's borders for a dataset."""
    recalls: PositiveInt = 21
    """Points of a precision-recall curve, at equal steps of recall from 0 to 1."""
    kept: PositiveFloat = 1.0
    """Completeness is measured on the top detections of a class, this many for each of its ground-truth instances."""
    paired: PositiveFloat = 0.1
    """Smallest temporal IoU at which a detection is paired with a ground-truth instance to compare their extents."""


class ClassDiagnosis(Recipe):
    """Diagnosis of one class."""

    label: str
    truths: PositiveInt
    detections: NonNegativeInt
    ap: tuple[float, ...]
    """(k) average precision, as the evaluator computes it."""
    ap_normalized: tuple[float, ...]
    """(k) average precision as if the class had the mean number of ground-truth instances (AP_N of DETAD)."""
    precision: tuple[tuple[float, ...], ...]
    """(k, r) the highest precision at this recall or above; 0 where the recall is never reached."""


class TopCounts(Recipe):
    """True positives and errors among the top detections, over all classes."""

    multiple: PositiveInt
    """The top `multiple` x G detections of every class are counted, G being the number of its ground-truth
    instances."""
    detections: NonNegativeInt
    """How many they are; fewer than `multiple` x G where a class has fewer."""
    right: NonNegativeInt
    errors: dict[ErrorKind, NonNegativeInt]
    """`right` and these sum to `detections`."""


class ErrorBreakdown(Recipe):
    """The error types at one threshold."""

    tiou: float
    top: tuple[TopCounts, ...]
    """(g) among the top G, 2G, ... detections: each entry includes the ones before it."""
    gain: dict[ErrorKind, float]
    """Rise of the mAP when every error of this kind is removed."""
    gain_normalized: dict[ErrorKind, float]
    """The same for the normalised mAP of the top `multiples` x G detections of a class: DETAD's impact."""


class Bin(Recipe):
    """Ground-truth instances whose characteristic lies in (low, high]; the lowest bin includes its low border."""

    label: str
    """XS, S, M, L, XL; fewer where instances do not differ enough."""
    low: float
    high: float | None
    """None: no upper border."""
    truths: NonNegativeInt
    missed: tuple[float, ...] | None
    """(k) share of these instances without a true positive (false negatives)."""
    map: tuple[float, ...] | None
    """(k) mAP of these instances alone: true positives of others are left out, not counted as false positives."""
    map_normalized: tuple[float, ...] | None
    """(k) the same with the normalised precision, which makes bins of different size comparable."""


class Characteristic(Recipe):
    """One property of ground-truth instances, in bins.

    length: end - start, always in seconds. coverage: length / duration of the video. instances: number of instances of
    the same class in the video.
    """

    name: CharacteristicName
    unknown: NonNegativeInt
    """Instances in no bin: those of videos whose duration is not in the annotations."""
    bins: tuple[Bin, ...]


class Distribution(Recipe):
    """Distribution of shares."""

    count: PositiveInt
    mean: float
    low: float
    """First quartile."""
    median: float
    high: float
    """Third quartile."""
    histogram: tuple[NonNegativeInt, ...]
    """Counts in ten equal bins from 0 to 1, the last including its upper border."""


class Extent(Recipe):
    """How the extent of detections compares with that of a group of ground-truth instances; `extent` defines it."""

    label: str
    truths: NonNegativeInt
    """Ground-truth instances whose length is not zero."""
    paired: NonNegativeInt
    """Those with a pair, a kept detection of their class that overlaps enough. The shares below are over these."""
    missed: Distribution | None
    """Incompleteness: the share of the instance that its pair misses. Its mean is the sum of the next four."""
    missed_start: float | None
    """Mean share before all kept detections of the class in the instance."""
    missed_inside: float | None
    """Mean share in gaps between them."""
    missed_end: float | None
    """Mean share after all of them."""
    missed_fragments: float | None
    """Mean share that the pair misses but other kept detections of the class cover: the instance was detected in
    pieces."""
    outside: Distribution | None
    """Over-completeness: the share of the pair that is outside of its instance. Its mean is the sum of the next
    three."""
    outside_before: float | None
    """Mean share before the instance, in no other instance of the class."""
    outside_after: float | None
    """Mean share after the instance, in no other instance of the class."""
    outside_neighbours: float | None
    """Mean share in other instances of the class: instances were merged."""
    time_missed: float | None
    """Share of the time of all instances, paired or not, that no kept detection of the class covers."""
    time_outside: float | None
    """Share of the time of all kept detections, pairs or not, that is in no instance of the class. None for lengths."""


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
    """Name of the run or of the detection file."""
    protocol: Protocol
    """Which videos and detections count, in which units, at which temporal IoUs."""
    recipe: DiagnosisRecipe
    tious: tuple[float, ...]
    """(k) thresholds of the protocol."""
    recalls: tuple[float, ...]
    """(r)"""
    videos: PositiveInt
    truths: PositiveInt
    detections: NonNegativeInt
    """Detections of classes that the ground truth has; all of them are diagnosed."""
    outside: NonNegativeInt
    """Those among them in videos outside the evaluated split, if the protocol counts them as false positives."""
    left_out: dict[str, PositiveInt]
    """Detections that the protocol leaves out, by reason."""
    unscored: dict[str, PositiveInt]
    """Detections of each class without ground truth in the subset; they are not counted here."""
    map: tuple[float, ...]
    """(k) as `make eval` gives it."""
    average: float
    """Mean of `map`."""
    map_normalized: tuple[float, ...]
    """(k) mean of the classes' `ap_normalized`."""
    missed: tuple[float, ...]
    """(k) share of all ground-truth instances without a true positive (false negatives)."""
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
    """Values of the runs, in their order."""


class Difference(Recipe):
    """One figure of some runs minus that of the runs they are compared with."""

    mean: float
    spread: float | None
    """Standard deviation of the differences of pairs; standard error of the difference of the means otherwise."""
    paired: bool
    """Whether each run has a counterpart with the same seed."""


class RunsDiagnosis(Recipe):
    """diagnosis_runs.json: the figures of runs that differ in their seed, and of those they are compared with."""

    schema_version: Literal[1] = 1
    """Rises when a field changes its meaning or goes."""
    runs: tuple[str, ...]
    against: tuple[str, ...]
    """Names of the runs compared with; empty if there are none."""
    figures: dict[str, Measured]
    """By name, such as "mAP@0.5", "missed@0.5", "incompleteness"."""
    against_figures: dict[str, Measured]
    differences: dict[str, Difference]
