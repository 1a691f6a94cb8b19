"""What is known of THUMOS14 beyond any one download of it."""

from __future__ import annotations

from collections.abc import Collection

from cache.layouts.found import Quirk

_NAMES = """
BaseballPitch BasketballDunk Billiards CleanAndJerk CliffDiving CricketBowling CricketShot Diving FrisbeeCatch
GolfSwing HammerThrow HighJump JavelinThrow LongJump PoleVault Shotput SoccerPenalty TennisSwing ThrowDiscus
VolleyballSpiking
"""
CLASSES = frozenset(_NAMES.split())
SOMETIMES_LEFT_OUT = ("video_test_0000270", "video_test_0001292", "video_test_0001496")
"""The test videos by which the 213, 212 and 210 videos of published results differ."""


def missing_videos(classes: Collection[str], video_ids: Collection[str]) -> list[Quirk]:
    """Which of THUMOS14's test videos the annotations lack; nothing for another dataset."""
    if set(classes) != CLASSES:
        return []
    gone = tuple(name for name in SOMETIMES_LEFT_OUT if name not in video_ids)
    what = f"THUMOS14 test videos that these annotations lack ({213 - len(gone)} of the 213 with instances are there)"
    return [Quirk.of("lacking", what, "stay away", gone)]
