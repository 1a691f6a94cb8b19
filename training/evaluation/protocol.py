"""Evaluation protocols by name: which videos count, in which units, what is left out, at which temporal IoUs.

Results under two protocols do not belong in one table, so every result carries its whole protocol, and `differences`
lists the fields in which two of them differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from pydantic import PositiveFloat, PositiveInt, field_validator

from cache.recipe import Recipe
from training.evaluation.metrics import Ties

ProtocolName = Literal[
    "seconds", "thumos14-213", "thumos14-212", "thumos14-210", "thumos14-co2", "activitynet12", "activitynet13"
]
Units = Literal["seconds", "snippets"]
Ambiguous = Literal["keep", "drop"]
Outside = Literal["leave-out", "false-positive"]


def tiou_grid(text: str) -> tuple[float, ...]:
    """The thresholds of `start:step:end` (the end included) or of a comma list such as `0.3,0.5,0.7`.

    A range is what numpy's linspace makes of it, as in ActivityNet's script: the third of 0.1:0.1:0.9 is
    0.30000000000000004, which matters to an IoU of exactly 3/10. Raises ValueError for any other text, and for
    thresholds that are not above 0, at most 1, and rising.
    """
    parts = [part.strip() for part in re.split(r"[:,]", text)]
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        raise ValueError(f"tious: found {text!r}, expected start:step:end or a list such as 0.3,0.5") from None
    if ":" in text:
        if "," in text or len(numbers) != 3 or not numbers[1] > 0 or not numbers[2] >= numbers[0]:
            raise ValueError(f"tious: found {text!r}, expected start:step:end such as 0.5:0.05:0.95")
        start, step, end = numbers
        steps = round((end - start) / step)
        if abs(start + steps * step - end) > 1e-6 * step:
            raise ValueError(f"tious: found {text!r}: {step:g} does not lead from {start:g} to {end:g}")
        numbers = np.linspace(start, end, steps + 1).tolist()
    if not all(low < high for low, high in zip([0.0, *numbers], numbers, strict=False)) or numbers[-1] > 1:
        raise ValueError(f"tious: found {text!r}, expected rising thresholds above 0, at most 1")
    return tuple(numbers)


def tiou_key(tiou: float) -> str:
    """A threshold as it is named in results: 0.5, 0.55, and 0.3 for 0.30000000000000004."""
    return f"{tiou:.10g}"


class Protocol(Recipe):
    """How a result was computed. Two results belong in one table only if all of these fields are equal."""

    name: ProtocolName = "seconds"
    """Name of the protocol, or of the one that this is a variation of."""
    subset: str = "testing"
    """Subset of the annotations to evaluate on."""
    left_out: tuple[str, ...] = ()
    """Videos of the subset that are not evaluated."""
    required: tuple[str, ...] = ()
    """Videos that the subset must have: those that distinguish this set of videos from others."""
    videos: PositiveInt | None = None
    """Number of videos there must be; None: any number."""
    units: Units = "seconds"
    """seconds; or snippets: ground truth is rounded to whole snippets (half to even), detections are converted but not
    rounded."""
    fps: PositiveFloat = 25
    """Frames per second of the snippets."""
    snippet_stride: PositiveInt = 16
    """Frames from one snippet to the next."""
    ambiguous: Ambiguous = "keep"
    """Detections of any class that overlap an ambiguous segment of the annotations: keep, or drop."""
    outside: Outside = "leave-out"
    """Detections in videos outside the evaluated split: leave-out, or false-positive."""
    ties: Ties = "given"
    """Order of detections with equal score, and of ground-truth instances with equal overlap: given = the order given;
    numpy = that of numpy's unstable sort, as in the official script, which depends on the processor."""
    tious: tuple[PositiveFloat, ...] = tiou_grid("0.1:0.1:0.7")
    """Temporal IoU thresholds: mAP is computed at each, and averaged."""

    def describe(self) -> str:
        """One-line summary for people."""
        videos = f"{self.videos} videos" if self.videos else "all videos"
        parts = [f"protocol {self.name}", f"{videos} of subset {self.subset!r}"]
        parts.append("seconds" if self.units == "seconds" else f"ground truth in whole snippets of {self._snippet:g} s")
        if self.ambiguous == "drop":
            parts.append("without detections in ambiguous segments")
        parts.append(f"tIoU {tiou_key(self.tious[0])}-{tiou_key(self.tious[-1])}")
        return ", ".join(parts)

    @property
    def unit(self) -> float:
        """Seconds of one unit of time: 1, or those from one snippet to the next."""
        return 1.0 if self.units == "seconds" else self._snippet

    @property
    def _snippet(self) -> float:
        return self.snippet_stride / self.fps


THUMOS14_TEST = {
    "213": (),
    "212": ("video_test_0001292",),  # absent from the reduced annotations that W-TALC spread
    "210": ("video_test_0001292", "video_test_0000270", "video_test_0001496"),  # and two with broken annotations
}
"""The public sets of THUMOS14's temporally annotated test videos: how many, and which of the 213 each lacks."""


def _thumos14(name: ProtocolName, count: Literal["213", "212", "210"]) -> Protocol:
    missing = THUMOS14_TEST[count]
    required = tuple(video for video in THUMOS14_TEST["210"] if video not in missing)
    return Protocol(name=name, left_out=missing, required=required, videos=int(count))


def _activitynet(name: ProtocolName) -> Protocol:
    return Protocol(name=name, subset="validation", tious=tiou_grid("0.5:0.05:0.95"))


PROTOCOLS: Mapping[ProtocolName, Protocol] = {
    one.name: one
    for one in (
        Protocol(name="seconds", outside="false-positive"),
        _thumos14("thumos14-213", "213"),
        _thumos14("thumos14-212", "212"),
        _thumos14("thumos14-210", "210"),
        _thumos14("thumos14-co2", "212").model_copy(
            update={"units": "snippets", "ambiguous": "drop", "tious": tiou_grid("0.1:0.1:0.9")}
        ),
        _activitynet("activitynet12"),
        _activitynet("activitynet13"),
    )
}
"""All named protocols. `seconds` is ActivityNet's official script on any dataset; `thumos14-co2` is what CO2-Net and
its descendants report."""
assert PROTOCOLS.keys() == set(get_args(ProtocolName))


class ProtocolChoice(Recipe):
    """A named protocol with variations; base class of the recipes of all commands that evaluate."""

    protocol: ProtocolName = "seconds"
    """Evaluation protocol: videos, units, thresholds; the options below change parts of it."""
    subset: str | None = None
    """Subset to evaluate on; the protocol's when not given."""
    tious: tuple[PositiveFloat, ...] | str | None = None
    """Thresholds of temporal IoU: start:step:end, or numbers separated by spaces or commas; the protocol's when not
    given."""
    units: Units | None = None
    """seconds, or snippets: ground truth rounded to whole snippets; the protocol's when not given."""
    fps: PositiveFloat | None = None
    """Frames per second of those snippets; 25 when not given."""
    snippet_stride: PositiveInt | None = None
    """Frames from one of those snippets to the next; 16 when not given."""
    ambiguous: Ambiguous | None = None
    """keep or drop detections that overlap an ambiguous segment of the annotations; the protocol's when not given."""
    outside: Outside | None = None
    """Detections in videos outside the evaluated split: leave-out, or false-positive; the protocol's when not given."""
    ties: Ties | None = None
    """Order of detections with equal score: given, or numpy (the official script's, which depends on the processor);
    the protocol's when not given."""

    @field_validator("tious")
    @classmethod
    def _thresholds(cls, value: tuple[float, ...] | str | None) -> tuple[float, ...] | None:
        if value is None:
            return None
        return tiou_grid(value if isinstance(value, str) else ",".join(map(repr, value)))

    def chosen(self) -> Protocol:
        """The protocol, with its variations."""
        fields = ProtocolChoice.model_fields.keys() - {"protocol"}
        given = {field: getattr(self, field) for field in fields if getattr(self, field) is not None}
        return Protocol.model_validate({**PROTOCOLS[self.protocol].model_dump(), **given})


def differences(found: Protocol, expected: Protocol) -> list[str]:
    """For each field in which two protocols differ: the field, what was found and what was expected."""
    ours, theirs = found.model_dump(), expected.model_dump()
    parting = [field for field in ours if ours[field] != theirs[field]]
    return [f"{field}: found {ours[field]!r}, expected {theirs[field]!r}" for field in parting]
