"""Pictures of a demo script: scenes, distractors and articulated athletes, drawn with anti-aliased lines."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, radians, sin

import cv2
import numpy as np
from jaxtyping import UInt8

from pipelines.demo.world.motions import MOTIONS, SPEEDS, Pose
from pipelines.demo.world.script import FPS, SIDE, Beat, Script, Shot

TORSO, HEAD, UPPER_ARM, FOREARM, THIGH, SHIN = 0.30, 0.075, 0.17, 0.16, 0.24, 0.24
BLEND_SECONDS = 0.2
SUBPIXEL = 4  # cv2 draws at coordinates in 1/16 pixel
SCENE_COLOURS = {  # sky or wall, ground, line
    "stadium": ((150, 185, 220), (95, 150, 80), (235, 235, 235)),
    "gym": ((205, 190, 165), (170, 120, 75), (110, 70, 45)),
    "beach": ((120, 190, 235), (230, 210, 150), (60, 130, 190)),
    "street": ((170, 170, 180), (90, 90, 98), (225, 205, 90)),
}
SHIRTS = ((200, 40, 40), (40, 60, 200), (30, 30, 30), (130, 30, 140), (20, 110, 50))
Point = tuple[float, float]


@dataclass(frozen=True)
class Looks:
    """The colours, sizes and distractors of one video."""

    shirt: tuple[int, int, int]
    height: float  # of the athlete, in pixels
    ground: float  # y of the ground under the athlete, in pixels
    home: float  # x about which the athlete moves, in pixels
    spectators: tuple[tuple[float, float, float], ...]  # x, speed and height in pixels
    bird: tuple[float, float, float] | None  # y, speed and start
    noise: int

    @classmethod
    def draw(cls, seed: int) -> "Looks":
        """The looks that a seed gives."""
        rng = np.random.default_rng([seed, 3])
        spectators = tuple(
            (float(rng.uniform(0, SIDE)), float(rng.uniform(-9, 9)), float(rng.uniform(14, 20)))
            for _ in range(int(rng.integers(0, 3)))
        )
        bird = (float(rng.uniform(6, 24)), float(rng.uniform(15, 40)), float(rng.uniform(0, 300)))
        return cls(
            shirt=SHIRTS[int(rng.integers(len(SHIRTS)))],
            height=float(rng.uniform(58, 70)),
            ground=float(rng.uniform(94, 102)),
            home=float(rng.uniform(42, 70)),
            spectators=spectators,
            bird=bird if rng.random() < 0.5 else None,
            noise=int(rng.integers(0, 2**31)),
        )


def _ahead(origin: Point, angle: float, length: float) -> Point:
    """The point at a length from the origin; 0 degrees is down, 90 forward."""
    return origin[0] + length * sin(radians(angle)), origin[1] + length * cos(radians(angle))


def joints(pose: Pose) -> dict[str, Point]:
    """Body points in units of body height, pelvis at the origin, y downwards, facing +x."""
    pelvis = (0.0, 0.0)
    neck = _ahead(pelvis, 180 - pose.lean, TORSO)
    points = {"pelvis": pelvis, "neck": neck, "head": _ahead(pelvis, 180 - pose.lean, TORSO + 1.2 * HEAD)}
    limbs = (
        ("a", pose.arm_a, pose.elbow_a, pose.leg_a, pose.knee_a),
        ("b", pose.arm_b, pose.elbow_b, pose.leg_b, pose.knee_b),
    )
    for side, arm, elbow, leg, knee in limbs:
        points[f"elbow_{side}"] = _ahead(neck, arm, UPPER_ARM)
        points[f"hand_{side}"] = _ahead(points[f"elbow_{side}"], arm + elbow, FOREARM)
        points[f"knee_{side}"] = _ahead(pelvis, leg, THIGH)
        points[f"foot_{side}"] = _ahead(points[f"knee_{side}"], leg - knee, SHIN)
    turn = radians(pose.roll)
    return {name: (x * cos(turn) - y * sin(turn), x * sin(turn) + y * cos(turn)) for name, (x, y) in points.items()}


def _fixed(point: Point) -> tuple[int, int]:
    return round(point[0] * (1 << SUBPIXEL)), round(point[1] * (1 << SUBPIXEL))


def _line(image: np.ndarray, start: Point, end: Point, colour: tuple[int, int, int], thickness: int) -> None:
    cv2.line(image, _fixed(start), _fixed(end), colour, thickness, cv2.LINE_AA, SUBPIXEL)


def _disc(image: np.ndarray, centre: Point, radius: float, colour: tuple[int, int, int]) -> None:
    cv2.circle(image, _fixed(centre), round(radius * (1 << SUBPIXEL)), colour, -1, cv2.LINE_AA, SUBPIXEL)


def draw_figure(
    image: np.ndarray, pose: Pose, *, x: float, ground: float, height: float, facing: int, shirt: tuple[int, int, int]
) -> dict[str, Point]:
    """Draw a figure whose lowest point stands ``pose.lift`` above the ground; return its joints in pixels."""
    body = joints(pose)
    lowest = max(y for _, y in body.values())
    base = ground - pose.lift * height
    place = {name: (x + facing * px * height, base + (py - lowest) * height) for name, (px, py) in body.items()}
    trousers, skin = (shirt[0] // 2 + 20, shirt[1] // 2 + 20, shirt[2] // 2 + 20), (235, 190, 150)
    thick = max(2, round(height * 0.075))
    for side in "ba":
        _line(image, place["pelvis"], place[f"knee_{side}"], trousers, thick)
        _line(image, place[f"knee_{side}"], place[f"foot_{side}"], trousers, thick)
    _line(image, place["pelvis"], place["neck"], shirt, thick + 2)
    for side in "ba":
        _line(image, place["neck"], place[f"elbow_{side}"], shirt, thick - 1)
        _line(image, place[f"elbow_{side}"], place[f"hand_{side}"], skin, thick - 1)
    _disc(image, place["head"], HEAD * height, skin)
    return place


def _draw_gear(
    image: np.ndarray, beat: Beat, progress: float, place: dict[str, Point], height: float, facing: int
) -> None:
    """The things that belong to a core: barbell, ball, foil."""
    hand = place["hand_a"]
    if beat.motion == "BarbellLift":
        middle = ((hand[0] + place["hand_b"][0]) / 2, (hand[1] + place["hand_b"][1]) / 2)
        reach = 0.36 * height
        _line(image, (middle[0] - reach, middle[1]), (middle[0] + reach, middle[1]), (40, 40, 45), 2)
        for end in (-reach, reach):
            _line(image, (middle[0] + end, middle[1] - 7), (middle[0] + end, middle[1] + 7), (40, 40, 45), 4)
    elif beat.motion == "BallThrow":
        flight = max(0.0, progress - 0.55) / 0.45
        ball = (hand[0] + facing * flight * 55, hand[1] - 60 * flight * (0.7 - flight))
        _disc(image, ball, 0.08 * height, (250, 130, 20))
    elif beat.motion == "FencingLunge":
        _line(image, hand, (hand[0] + facing * 0.34 * height, hand[1] - 1), (245, 245, 250), 1)


def _backdrop(shot: Shot, ground: float) -> UInt8[np.ndarray, "h w 3"]:
    """The still part of a scene."""
    wall, floor, mark = (
        tuple(min(255, round(channel * shot.tint)) for channel in c) for c in SCENE_COLOURS[shot.scene]
    )
    image = np.empty((SIDE + 16, SIDE + 16, 3), np.uint8)
    horizon = round(ground) - 10
    image[:horizon] = wall
    image[horizon:] = floor
    match shot.scene:
        case "stadium":
            for y in range(horizon + 6, SIDE + 16, 9):
                cv2.line(image, (0, y), (SIDE + 16, y), mark, 1)
        case "gym":
            for x in range(8, SIDE + 16, 30):
                cv2.rectangle(image, (x, 16), (x + 14, 40), mark, 2)
        case "beach":
            image[horizon - 14 : horizon] = mark
            cv2.circle(image, (100, 18), 9, (255, 235, 140), -1, cv2.LINE_AA)
        case "street":
            for x in range(0, SIDE + 16, 26):
                cv2.rectangle(image, (x, horizon - 46), (x + 18, horizon), tuple(c // 2 + 30 for c in wall), -1)
            cv2.line(image, (0, horizon + 14), (SIDE + 16, horizon + 14), mark, 2)
    return image


def pose_at(script: Script, index: int, seconds: float) -> Pose:
    """The athlete's pose during a beat; its first moments blend from the beat before."""
    beat = script.beats[index]
    pose = MOTIONS[beat.motion]((seconds - beat.start) / (beat.end - beat.start), seconds)
    into = (seconds - beat.start) / BLEND_SECONDS
    if into < 1 and index:
        before = MOTIONS[script.beats[index - 1].motion](1.0, beat.start)
        before = before._replace(
            **{a: getattr(before, a) % 360 for a in ("roll", "arm_a", "arm_b") if getattr(before, a) > 360}
        )
        pose = before.blend(pose, max(into, 0.0))
    return pose


def draw_frames(script: Script, times: np.ndarray) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The video's pictures at ascending times in seconds, (SIDE, SIDE, 3) RGB each."""
    looks = Looks.draw(script.seed)
    grain = np.random.default_rng(looks.noise).normal(0, 2, (SIDE, SIDE, 1)).astype(np.int16).repeat(3, axis=2)
    beat_index = shot_index = 0
    backdrop: np.ndarray | None = None
    for seconds in times:
        while beat_index + 1 < len(script.beats) and seconds >= script.beats[beat_index].end:
            beat_index += 1
        while shot_index + 1 < len(script.shots) and seconds >= script.shots[shot_index].end:
            shot_index += 1
            backdrop = None
        beat, shot = script.beats[beat_index], script.shots[shot_index]
        if backdrop is None:
            backdrop = _backdrop(shot, looks.ground)
        sway_x = 5 * sin(0.5 * seconds + shot.camera)
        sway_y = 2 * sin(0.8 * seconds + shot.camera)
        left, top = round(8 + sway_x), round(8 + sway_y)
        image = backdrop[top : top + SIDE, left : left + SIDE].copy()
        _draw_distractors(image, looks, seconds)
        facing = 1 if cos(shot.camera) >= 0 else -1
        x = looks.home - sway_x + facing * _travel(beat, seconds) * looks.height
        place = draw_figure(
            image,
            pose_at(script, beat_index, seconds),
            x=x, ground=looks.ground - 2 - sway_y, height=looks.height, facing=facing, shirt=looks.shirt,
        )  # fmt: skip
        _draw_gear(image, beat, (seconds - beat.start) / (beat.end - beat.start), place, looks.height, facing)
        yield cv2.add(image, grain, dtype=cv2.CV_8U)  # saturates


def _travel(beat: Beat, seconds: float) -> float:
    """How far the athlete is from home, in body heights: there and back within one beat, so that it stays in view."""
    speed = SPEEDS.get(beat.motion, 0.0)
    half = (beat.end - beat.start) / 2
    away = half - abs(seconds - beat.start - half)
    return min(speed * away, 0.35)


def _draw_distractors(image: np.ndarray, looks: Looks, seconds: float) -> None:
    """Spectators that stroll behind the athlete, and a bird."""
    for start, speed, height in looks.spectators:
        x = (start + speed * seconds) % (SIDE + 20) - 10
        pose = MOTIONS["stroll"](0.0, seconds + start)
        draw_figure(
            image,
            pose,
            x=x,
            ground=looks.ground - 12,
            height=height,
            facing=1 if speed > 0 else -1,
            shirt=(120, 110, 120),
        )
    if looks.bird is not None:
        y, speed, start = looks.bird
        x = (start + speed * seconds) % 300 - 20
        flap = 3 * sin(9 * seconds)
        _line(image, (x - 4, y - flap), (x, y), (60, 60, 70), 1)
        _line(image, (x, y), (x + 4, y - flap), (60, 60, 70), 1)


def frame_times(script: Script) -> np.ndarray:
    """Times of all frames of the video at the demo's rate, in seconds."""
    return np.arange(int(script.seconds * FPS)) / FPS
