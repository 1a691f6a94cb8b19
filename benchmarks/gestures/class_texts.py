"""Descriptions of the gestures, written by hand in place of a video MLLM's: recordings of joints have no pictures.

Each class has several key texts (what tells it apart) and complete texts (its phases from start to end). Every video
takes the wording of its turn, so that texts vary as a model's answers do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cache.annotations import Dataset
from cache.errors import CacheError

WRITTEN_BY = "hand-written"
"""In place of a model's name."""

KEY: Mapping[str, Sequence[str]] = {
    "ONE": (
        "The hand holds up one index finger.",
        "A single index finger points straight up while the other fingers are folded.",
        "The person shows the number one with the index finger.",
    ),
    "TWO": (
        "The hand holds up two fingers.",
        "Index and middle finger are raised side by side while the others are folded.",
        "The person shows the number two with two straight fingers.",
    ),
    "THREE": (
        "The hand holds up three fingers.",
        "Thumb, index and middle finger are stretched while two fingers are folded.",
        "The person shows the number three with three straight fingers.",
    ),
    "FOUR": (
        "The hand holds up four fingers.",
        "Four fingers are stretched and spread while the thumb is folded.",
        "The person shows the number four with four straight fingers.",
    ),
    "OK": (
        "Thumb and index finger touch and form a ring.",
        "The hand makes the okay sign with a round ring of thumb and index.",
        "The tips of thumb and index finger meet while the other fingers are stretched.",
    ),
    "MENU": (
        "The open palm is held up flat with all fingers stretched.",
        "The hand turns its flat palm upward and keeps it open.",
        "The person holds the open hand still as if reading a menu in the palm.",
    ),
    "LEFT": (
        "The hand swipes quickly to the left.",
        "The palm sweeps sideways from right to left.",
        "The person swipes left with the whole hand.",
    ),
    "RIGHT": (
        "The hand swipes quickly to the right.",
        "The palm sweeps sideways from left to right.",
        "The person swipes right with the whole hand.",
    ),
    "CIRCLE": (
        "The index finger draws a circle in the air.",
        "The fingertip moves once around in a round loop.",
        "The person draws a closed circle with the finger.",
    ),
    "V": (
        "The index finger draws the letter V in the air.",
        "The fingertip moves down and up again in two straight strokes.",
        "The person writes a V with the finger.",
    ),
    "CROSS": (
        "The index finger draws a cross in the air.",
        "The fingertip makes two strokes that cross each other.",
        "The person writes an X with the finger.",
    ),
    "GRAB": (
        "The open hand closes into a fist.",
        "All fingers close around something and grab it.",
        "The hand grasps an invisible object.",
    ),
    "PINCH": (
        "Thumb and index finger pinch together.",
        "The tips of thumb and index close on each other for a moment.",
        "The hand pinches something small between two fingers.",
    ),
    "TAP": (
        "The index finger taps once in the air.",
        "The fingertip presses forward like on a button.",
        "The person taps with one finger.",
    ),
    "DENY": (
        "The raised index finger wags from side to side.",
        "The hand waves left and right to say no.",
        "The person refuses with a wagging finger.",
    ),
    "KNOB": (
        "The hand turns an invisible knob.",
        "The fingers grip and the wrist rotates like on a dial.",
        "The person rotates a round knob with the fingertips.",
    ),
    "EXPAND": (
        "The closed fingers spread open quickly.",
        "The fist opens and the fingertips move apart.",
        "The hand expands by spreading all fingers.",
    ),
    "POINTING": (
        "The index finger points forward at something.",
        "The arm is stretched and one finger points ahead.",
        "The person points at a place with the index finger.",
    ),
}

COMPLETE: Mapping[str, Sequence[str]] = {
    "ONE": (
        "The person first raises the hand, then stretches the index finger and holds it still, and finally lowers it.",
        "The hand moves up, folds all fingers but one, shows the number one for a while and goes back to rest.",
    ),
    "TWO": (
        "The person first raises the hand, then stretches two fingers and holds them still, and finally lowers them.",
        "The hand moves up, folds all fingers but two, shows the number two for a while and goes back to rest.",
    ),
    "THREE": (
        "The person first raises the hand, then stretches three fingers and holds them, and finally lowers them.",
        "The hand moves up, stretches thumb and two fingers, shows the number three for a while and goes back to rest.",
    ),
    "FOUR": (
        "The person first raises the hand, then stretches four fingers and holds them still, and finally lowers them.",
        "The hand moves up, folds the thumb, shows the number four for a while and goes back to rest.",
    ),
    "OK": (
        "The person first raises the hand, then joins thumb and index in a ring, holds the sign, and finally opens it.",
        "The hand moves up, forms a ring of two fingers with the others stretched, stays so and relaxes again.",
    ),
    "MENU": (
        "The person first raises the hand, then turns the flat palm up and holds it open, and finally lowers it.",
        "The hand opens, rotates so that the palm faces up, stays flat for a while and goes back to rest.",
    ),
    "LEFT": (
        "The person first moves the hand to the right side, then sweeps it fast to the left, and finally returns.",
        "The hand lifts, swipes sideways to the left in one quick stroke, stops and comes back to the middle.",
    ),
    "RIGHT": (
        "The person first moves the hand to the left side, then sweeps it fast to the right, and finally returns.",
        "The hand lifts, swipes sideways to the right in one quick stroke, stops and comes back to the middle.",
    ),
    "CIRCLE": (
        "The person first points the index finger, then moves it around in a full circle, and finally stops.",
        "The finger starts at the top, goes around the circle until it is closed, and the hand returns to rest.",
    ),
    "V": (
        "The person first points the index finger, then draws a stroke down and a stroke up, and finally stops.",
        "The finger starts high, moves down to a corner, goes up again to end the letter V, and the hand rests.",
    ),
    "CROSS": (
        "The person first points the index finger, then draws one stroke and a second across it, and finally stops.",
        "The finger draws a line down, jumps back up, draws another line through the first, and the hand rests.",
    ),
    "GRAB": (
        "The person first opens the hand, then closes all fingers into a fist, and finally releases it.",
        "The hand moves forward open, the fingers grasp, stay closed for a moment and open again.",
    ),
    "PINCH": (
        "The person first opens thumb and index, then brings their tips together, and finally parts them.",
        "The hand stays in place, the two fingers close until they touch and then let go.",
    ),
    "TAP": (
        "The person first stretches the index finger, then presses it down once, and finally lifts it.",
        "The finger moves forward, touches an invisible button and goes back at once.",
    ),
    "DENY": (
        "The person first raises the index finger, then wags it left and right several times, and finally lowers it.",
        "The hand comes up, waves from side to side to refuse, slows down and goes back to rest.",
    ),
    "KNOB": (
        "The person first grips with the fingertips, then rotates the wrist to turn the knob, and finally lets go.",
        "The hand reaches forward, the fingers close around a dial, turn it and release it.",
    ),
    "EXPAND": (
        "The person first closes the fingers, then spreads them apart quickly, and finally relaxes the hand.",
        "The fist opens, the fingertips move away from each other until the hand is wide open, and it rests.",
    ),
    "POINTING": (
        "The person first raises the arm, then points the index finger at a place, and finally lowers it.",
        "The hand moves forward, one finger points ahead for a while and goes back to rest.",
    ),
}


def rows(dataset: Dataset) -> Iterator[dict[str, str]]:
    """Descriptions of every video and class, as `make import` takes them. Raises CacheError for a class without."""
    if unknown := sorted(set(dataset.classes) - set(KEY)):
        raise CacheError(f"classes: found {', '.join(unknown)}, expected some of {', '.join(sorted(KEY))}")
    for number, video in enumerate(dataset.videos):
        for label in video.labels:
            for kind, texts in (("key", KEY[label]), ("complete", COMPLETE[label])):
                text = texts[number % len(texts)]
                yield {"video_id": video.video_id, "action_class": label, "kind": kind, "description": text}
