"""The script of a demo video: its shots and motions, drawn from a seed.

The world poses the two problems of weakly-supervised localization. An instance is approach, core and recovery; only
the core is discriminative, approaches and recoveries are shared by all classes, so a video-level classifier localizes
the core alone (incompleteness). Each class has a home scene, and scenes also appear without action, so a classifier
responds to the scene (over-completeness). The ground truth covers all three phases.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cache.annotations import Segment
from pipelines.demo.world.motions import APPROACHES, CORES, IDLE, RECOVERIES

FPS = 16
SIDE = 112
CLASSES = tuple(sorted(CORES))
SCENES = ("stadium", "gym", "beach", "street")
HOME_SCENE = {name: SCENES[index % len(SCENES)] for index, name in enumerate(CLASSES)}
USUAL_APPROACH = {name: tuple(APPROACHES)[index % len(APPROACHES)] for index, name in enumerate(CLASSES)}


class Beat(NamedTuple):
    """One motion of the athlete from ``start`` to ``end`` (seconds)."""

    motion: str
    start: float
    end: float
    label: str | None
    """Class of the instance that the beat belongs to; None in the background."""


class Shot(NamedTuple):
    """A stretch of video without a cut, in one scene."""

    scene: str
    start: float
    end: float
    tint: float
    camera: float
    """Phase of the slow camera sway, in radians."""


@dataclass(frozen=True)
class Style:
    """How the instances of one class begin and end in one video."""

    approach: str
    recovery: str


@dataclass(frozen=True)
class Script:
    """Everything that a video shows."""

    seconds: float
    shots: tuple[Shot, ...]
    beats: tuple[Beat, ...]
    styles: dict[str, Style]
    """By class; one style a class and video, as one athlete has one habit."""
    seed: int
    """Of the looks: colours, sizes, distractors."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The instances: runs of consecutive beats that share a label and begin with an approach."""
        found: list[Segment] = []
        for beat in self.beats:
            if beat.label is None:
                continue
            if beat.motion in APPROACHES:
                found.append(Segment(beat.label, beat.start, beat.end))
            else:
                found[-1] = Segment(beat.label, found[-1].start, beat.end)
        return tuple(found)


def _choose(rng: np.random.Generator, items: tuple[str, ...]) -> str:
    return items[int(rng.integers(len(items)))]


def draw_style(rng: np.random.Generator, label: str) -> Style:
    """A style of a class: its usual approach in 6 of 10, any in the rest; any recovery."""
    approach = USUAL_APPROACH[label] if rng.random() < 0.4 else _choose(rng, tuple(APPROACHES))
    return Style(approach, _choose(rng, tuple(RECOVERIES)))


def _instance(rng: np.random.Generator, label: str, style: Style, start: float) -> list[Beat]:
    """Approach, core and recovery of one instance; the core is about a third of it."""
    beats = []
    for motion, low, high in ((style.approach, 1.2, 2.6), (label, 1.2, 2.2), (style.recovery, 1.0, 2.2)):
        end = start + float(rng.uniform(low, high))
        beats.append(Beat(motion, start, end, label))
        start = end
    return beats


def _idle(rng: np.random.Generator, start: float, seconds: float) -> list[Beat]:
    """Background motion that fills so many seconds."""
    beats = []
    end = start + seconds
    while start < end - 1e-6:
        stop = min(end, start + float(rng.uniform(1.5, 4.0)))
        beats.append(Beat(_choose(rng, tuple(IDLE)), start, stop, None))
        start = stop
    return beats


def _shot(rng: np.random.Generator, scene: str, start: float, end: float) -> Shot:
    return Shot(scene, start, end, float(rng.uniform(0.75, 1.15)), float(rng.uniform(0, 6.28)))


def clip_script(seed: int, label: str | None = None) -> Script:
    """A trimmed clip: one whole instance, as the clips of action classification data sets are."""
    rng = np.random.default_rng([seed, 1])
    label = label or _choose(rng, CLASSES)
    style = draw_style(rng, label)
    beats = _instance(rng, label, style, 0.0)
    seconds = beats[-1].end
    scene = HOME_SCENE[label] if rng.random() < 0.5 else _choose(rng, SCENES)
    return Script(seconds, (_shot(rng, scene, 0.0, seconds),), tuple(beats), {label: style}, seed)


def video_script(seed: int, label: str | None = None) -> Script:
    """An untrimmed video of 20 to 60 s: background and 2 to 4 instances of one class, or of two in one video of six.

    An action happens in its class's home scene in 7 of 10 shots; a background stretch often stays in that scene.
    """
    rng = np.random.default_rng([seed, 2])
    first = label or _choose(rng, CLASSES)
    labels = [first]
    if rng.random() < 1 / 6:
        labels.append(_choose(rng, tuple(name for name in CLASSES if name != first)))
    styles = {name: draw_style(rng, name) for name in labels}
    target = float(rng.uniform(18, 40))
    order = labels + [labels[int(rng.integers(len(labels)))] for _ in range(max(1, round(target / 11)) - 1)]
    rng.shuffle(order)
    shots: list[Shot] = []
    beats: list[Beat] = []
    clock = 0.0
    for turn, name in enumerate(order):
        if clock > 43:
            break
        scene = HOME_SCENE[name] if rng.random() < 0.7 else _choose(rng, SCENES)
        if rng.random() < 0.4 or not turn:  # a stretch without action, often in the very scene of the action
            elsewhere = HOME_SCENE[name] if rng.random() < 0.5 else _choose(rng, SCENES)
            begin = clock
            beats += _idle(rng, clock, float(rng.uniform(2, 6)))
            clock = beats[-1].end
            shots.append(_shot(rng, elsewhere, begin, clock))
        begin = clock
        beats += _idle(rng, clock, float(rng.uniform(1, 4)))
        beats += _instance(rng, name, styles[name], beats[-1].end)
        beats += _idle(rng, beats[-1].end, float(rng.uniform(1, 4)))
        clock = beats[-1].end
        shots.append(_shot(rng, scene, begin, clock))
    if clock < 20:
        beats += _idle(rng, clock, 20 - clock + float(rng.uniform(0, 2)))
        shots.append(_shot(rng, _choose(rng, SCENES), clock, beats[-1].end))
        clock = beats[-1].end
    shown = {beat.label for beat in beats}
    return Script(clock, tuple(shots), tuple(beats), {name: styles[name] for name in labels if name in shown}, seed)
