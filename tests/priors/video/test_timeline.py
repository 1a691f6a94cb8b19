"""Time stamps of packets that start again, and those that only changed places."""

from fractions import Fraction

import av
import pytest

from priors.video.timeline import Timeline


def packet(time: int) -> av.Packet:
    """A packet of one tick at this time."""
    made = av.Packet(b"x")
    made.dts = made.pts = time
    made.duration = 1
    return made


@pytest.mark.parametrize(
    ("times", "shown", "breaks"),
    [
        ([0, 1, 2, 3], [0, 1, 2, 3], 0),
        ([0, 1, 2, 3, 0, 1, 2], [0, 1, 2, 3, 4, 5, 6], 1),
        ([0, 1, 2, 9, 3, 4, 5], [0, 1, 2, 9, 3, 4, 5], 0),
        ([0, 1, 2, 9, 3, 4, 0, 1], [0, 1, 2, 9, 3, 4, 10, 11], 1),
        ([0, 1, 2, 5, 6, 3, 7, 8], [0, 1, 2, 5, 6, 7, 7, 8], 0),
        ([0, 1, 2, 3, 0, 5, 10], [0, 1, 2, 3, 4, 9, 14], 1),
        ([5, 6, 7, 0, 1, 2, 3, 0, 1], [5, 6, 7, 8, 9, 10, 11, 12, 13], 2),
    ],
    ids=[
        "in order",
        "joined",
        "one ahead",
        "one ahead, then joined",
        "one late",
        "joined with a slower one",
        "joined twice",
    ],
)
def test_one_packet_that_changed_places_begins_no_recording(times: list[int], shown: list[int], breaks: int):
    """A tenth of a second a tick."""
    timeline = Timeline(Fraction(1, 10), broadcast=True)
    assert [found.pts for found in timeline(map(packet, times))] == shown
    assert timeline.breaks == breaks
