"""Poses of the demo's stick-figure athletes: what each motion looks like at a moment of its course.

Angles are in degrees. A limb at 0 hangs straight down, 90 points forward, 180 up; elbows and knees are flexions on
top of the limb above them; ``lean`` tips the torso forward, ``roll`` turns the whole body about the pelvis. ``lift``
is the height of the lowest body point above the ground, in units of body height.
"""

from collections.abc import Callable
from math import cos, pi, sin
from typing import NamedTuple


class Pose(NamedTuple):
    """One body configuration; the two sides of the body are ``a`` and ``b``."""

    lift: float = 0.0
    roll: float = 0.0
    lean: float = 0.0
    arm_a: float = 8.0
    elbow_a: float = 6.0
    arm_b: float = -8.0
    elbow_b: float = 6.0
    leg_a: float = 5.0
    knee_a: float = 0.0
    leg_b: float = -5.0
    knee_b: float = 0.0

    def blend(self, other: "Pose", weight: float) -> "Pose":
        """The pose on the straight way from this one (weight 0) to the other (weight 1)."""
        return Pose(*((1 - weight) * mine + weight * theirs for mine, theirs in zip(self, other, strict=True)))


Motion = Callable[[float, float], Pose]
"""(progress through the motion in 0..1, seconds since the video began) -> pose."""

STAND = Pose()


def _through(*poses: Pose) -> Motion:
    """A motion through poses at equal intervals, easing in and out of each."""

    def motion(progress: float, _seconds: float) -> Pose:
        place = min(max(progress, 0.0), 1.0) * (len(poses) - 1)
        index = min(int(place), len(poses) - 2)
        eased = (1 - cos(pi * (place - index))) / 2
        return poses[index].blend(poses[index + 1], eased)

    return motion


def stand(_progress: float, seconds: float) -> Pose:
    """Standing still, swaying a little."""
    sway = 4 * sin(1.7 * seconds)
    return STAND._replace(lean=sway / 2, arm_a=8 + sway, arm_b=-8 + sway)


def stroll(_progress: float, seconds: float) -> Pose:
    """Slow steps."""
    swing = sin(2 * pi * 0.8 * seconds)
    return Pose(0, 0, 2, -18 * swing, 8, 18 * swing, 8, 20 * swing, 6, -20 * swing, 6)


def stretch(_progress: float, seconds: float) -> Pose:
    """Bending sideways, one arm up."""
    side = sin(1.3 * seconds)
    return Pose(0, 0, 22 * side, 165, 12, -30, 60, 9, 0, -9, 0)


def run(_progress: float, seconds: float) -> Pose:
    """Long strides, leaning forward."""
    swing = sin(2 * pi * 1.7 * seconds)
    bounce = 0.04 * abs(swing)
    return Pose(
        bounce, 0, 18, -50 * swing, 85, 50 * swing, 85, 48 * swing, 45 - 30 * swing, -48 * swing, 45 + 30 * swing
    )


def swing_arms(progress: float, _seconds: float) -> Pose:
    """Both arms turning like the sails of a mill."""
    turn = 720 * progress
    return Pose(0, 0, 0, turn, 0, turn + 180, 0, 12, 0, -12, 0)


def cartwheel(progress: float, _seconds: float) -> Pose:
    """One and a half turns over the hands."""
    return Pose(0, 540 * progress, 0, 150, 0, -150, 0, 38, 0, -38, 0)


def _again(motion: Motion, times: int) -> Motion:
    """The motion repeated so many times within one course."""
    return lambda progress, seconds: motion((progress * times) % 1.0 if progress < 1 else 1.0, seconds)


CROUCHED = Pose(0, 0, 38, -45, 10, -60, 10, 100, 135, 95, 135)
CHEERING = Pose(0.0, 0, 0, 155, 0, -155, 0, 8, 0, -8, 0)
BOWED = Pose(0, 0, 88, 12, 4, 2, 4, 3, 0, -3, 0)
KNEELING = Pose(0, 0, 6, 25, 30, 0, 20, 92, 92, -8, 88)
STAR = Pose(0.28, 0, 0, 128, 0, -128, 0, 42, 0, -42, 0)
KICKING = Pose(0, 0, -18, -50, 20, -30, 30, 118, 2, -4, 6)
INVERTED = Pose(0, 180, 0, 172, 0, 188, 0, 6, 0, -6, 0)
INVERTED_SPLIT = INVERTED._replace(leg_a=28, leg_b=-28)
AT_THE_BAR = Pose(0, 0, 50, 45, 0, 40, 0, 85, 110, 80, 110)
RACKED = Pose(0, 0, 0, 40, 130, 40, 130, 12, 8, -12, 8)
OVERHEAD = Pose(0, 0, 0, 172, 0, 188, 0, 16, 4, -16, 4)
WOUND_UP = Pose(0, 0, -24, -125, 30, 70, 10, 34, 10, -30, 12)
RELEASED = Pose(0, 0, 34, 105, 0, -45, 20, 42, 30, -40, 4)
ON_GUARD = Pose(0, 0, 0, 60, 35, -60, 70, 28, 30, -24, 24)
LUNGED = Pose(0, 0, 10, 88, 0, -105, 0, 78, 72, -58, 0)
PRONE_HIGH = Pose(0, 84, 0, 88, 0, 84, 0, 2, 0, -2, 0)
PRONE_LOW = Pose(0, 90, 0, 40, 100, 36, 100, 2, 0, -2, 0)

APPROACHES: dict[str, Motion] = {
    "run": run,
    "crouch": _through(STAND, CROUCHED, CROUCHED, CROUCHED),
    "swing": swing_arms,
}
CORES: dict[str, Motion] = {
    "StarJump": _again(_through(STAND, STAR, STAR, STAND), 2),
    "HighKick": _again(_through(ON_GUARD, KICKING, KICKING, ON_GUARD), 2),
    "Handstand": _through(INVERTED, INVERTED_SPLIT, INVERTED, INVERTED_SPLIT, INVERTED),
    "Cartwheel": cartwheel,
    "BarbellLift": _through(AT_THE_BAR, RACKED, RACKED, OVERHEAD, OVERHEAD),
    "BallThrow": _through(WOUND_UP, WOUND_UP, RELEASED, RELEASED),
    "FencingLunge": _again(_through(ON_GUARD, LUNGED, LUNGED, ON_GUARD), 2),
    "PushUp": _again(_through(PRONE_HIGH, PRONE_LOW, PRONE_HIGH), 2),
}
RECOVERIES: dict[str, Motion] = {
    "cheer": _through(STAND, CHEERING, CHEERING, CHEERING),
    "bow": _through(STAND, BOWED, BOWED, BOWED),
    "kneel": _through(STAND, KNEELING, KNEELING, KNEELING),
}
IDLE: dict[str, Motion] = {"stand": stand, "stroll": stroll, "stretch": stretch}

MOTIONS: dict[str, Motion] = {**APPROACHES, **CORES, **RECOVERIES, **IDLE}
SPEEDS: dict[str, float] = {"run": 0.55, "stroll": 0.16, "Cartwheel": 0.35}
"""Ground speed in body heights a second; motions not listed stay in place."""
