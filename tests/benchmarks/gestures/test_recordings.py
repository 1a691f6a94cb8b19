"""Both forms of the gestures are read alike, and what is neither is refused by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gestures.recordings import read_recordings
from cache.errors import CacheError
from tests.support.data.gestures import hand, write_packed, write_texts

HANDS = {"001": hand(90, seed=1), "002": hand(70, seed=2), "010": hand(60, seed=3)}
GESTURES = {
    "001": [("TAP", 11, 40), ("GRAB", 60, 90)],
    "002": [("CIRCLE", 1, 30)],
    "010": [("TAP", 50, 20), ("V", 5, 25)],
}


def test_forms_agree(tmp_path: Path) -> None:
    """The packed and the authors' form of the same hands give the same recordings."""
    packed = read_recordings(write_packed(tmp_path / "packed", HANDS, GESTURES))
    texts = read_recordings(write_texts(tmp_path / "texts", HANDS, GESTURES))
    assert [one.name for one in packed] == [one.name for one in texts] == ["001", "002", "010"]
    for one, other in zip(packed, texts, strict=True):
        np.testing.assert_allclose(one.frames, HANDS[one.name], atol=1e-6)
        np.testing.assert_allclose(one.frames, other.frames, atol=1e-6)
        assert (one.gestures, one.dropped) == (other.gestures, other.dropped)


def test_frames_count_from_one_and_a_gesture_that_ends_too_early_is_left_out(tmp_path: Path) -> None:
    """Frame 11 starts at 0.2 s; what is left out is told."""
    first, _, last = read_recordings(write_packed(tmp_path, HANDS, GESTURES))
    assert [one.seconds for one in first.gestures] == [(0.2, 0.8), (1.18, 1.8)]
    assert [one.label for one in last.gestures] == ["V"]
    assert last.dropped == ("010: TAP from frame 50 to 20 of 60",)


def test_keys_may_be_any_names(tmp_path: Path) -> None:
    """Keys of the packed form need not be numbers."""
    folder = write_packed(tmp_path, {"b-7": HANDS["001"], "a x": HANDS["002"]}, {"b-7": GESTURES["001"], "a x": []})
    assert [one.name for one in read_recordings(folder)] == ["a x", "b-7"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "some_annotations.json").write_text("{}"), "001, 002, 010"),
        (lambda folder: (folder / "some_delta_int16.npz").unlink(), "annotations*.txt"),
    ],
    ids=["no annotations", "no frames"],
)
def test_incomplete_folder_is_refused(tmp_path: Path, spoil: Callable[[Path], object], told: str) -> None:
    """The message names what is missing."""
    folder = write_packed(tmp_path, HANDS, GESTURES)
    spoil(folder)
    with pytest.raises(CacheError) as error:
        read_recordings(folder)
    assert told in str(error.value)


def test_damaged_row_and_damaged_list_are_named(tmp_path: Path) -> None:
    """The message names the file, and the line of the list."""
    folder = write_texts(tmp_path, HANDS, GESTURES)
    file = folder / "sequences" / "2.txt"
    whole = file.read_text()
    file.write_text(whole.replace(";", "", 1))
    with pytest.raises(CacheError, match=r"2\.txt, line 1: "):
        read_recordings(folder)
    file.write_text(whole)
    listed = folder / "annotations_revised_training.txt"
    listed.write_text("1;TAP;11\n")
    with pytest.raises(CacheError, match="line 1"):
        read_recordings(folder)
