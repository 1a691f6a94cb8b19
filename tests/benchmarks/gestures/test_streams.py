"""Features of a hand's recording: what they may depend on, and how many there are."""

import numpy as np

from benchmarks.gestures.streams import Encoder, GridChoice, frame_vectors, snippet_vectors
from tests.support.data.gestures import hand

CHOICE = GridChoice(frames=8, stride=4, width=12)


def _moved(frames: np.ndarray) -> np.ndarray:
    """The same hand, turned a quarter around the vertical axis and carried elsewhere."""
    joints = frames.reshape(len(frames), 20, 7).copy()
    x, y, z = (joints[..., axis].copy() for axis in range(3))
    joints[..., 0], joints[..., 1], joints[..., 2] = z + 0.3, y - 0.1, -x + 0.2
    turn = np.array([0, np.sqrt(0.5), 0, np.sqrt(0.5)])
    a, b = turn[:3], joints[..., 3:6].copy()
    w, v = turn[3], joints[..., 6:].copy()
    joints[..., 3:6] = w * b + v * a + np.cross(a, b)
    joints[..., 6] = w * v[..., 0] - b @ a
    return joints.reshape(frames.shape)


def test_joints_as_seen_from_the_palm_do_not_depend_on_where_the_hand_is() -> None:
    """Turned and carried elsewhere, the joints are seen alike."""
    frames = hand(40, seed=0)
    seen = 19 * 3
    own, moved = (frame_vectors(one)["pose"][:, :seen] for one in (frames, _moved(frames)))
    np.testing.assert_allclose(own, moved, atol=1e-6)


def test_still_hand_has_no_motion_and_a_steady_one_a_constant_velocity() -> None:
    """A hundredth of a metre a frame is half a metre a second, of the palm alone."""
    frames = np.repeat(hand(1, seed=0), 30, axis=0)
    assert not np.abs(frame_vectors(frames)["motion"]).max() > 1e-9
    carried = frames.reshape(30, 20, 7).copy()
    carried[..., 0] += np.arange(30)[:, None] * 0.01
    velocity = frame_vectors(carried.reshape(30, 140))["motion"]
    np.testing.assert_allclose(velocity[:, 0], 0.5, atol=1e-9)
    np.testing.assert_allclose(velocity[:, 1:], 0, atol=1e-9)


def test_sign_of_a_quaternion_means_nothing() -> None:
    """q and -q are the same orientation."""
    frames = hand(30, seed=1)
    flipped = frames.reshape(30, 20, 7).copy()
    flipped[7:19, :, 3:] *= -1
    own, other = frame_vectors(frames), frame_vectors(flipped.reshape(30, 140))
    for stream in own:
        np.testing.assert_allclose(own[stream], other[stream], atol=1e-9)


def test_snippets_are_whole_and_a_short_recording_has_one() -> None:
    """Only whole snippets count, and their means are those of their own frames."""
    vectors = np.arange(30.0)[:, None]
    assert len(snippet_vectors(vectors, CHOICE)) == 6
    assert len(snippet_vectors(vectors[:8], CHOICE)) == len(snippet_vectors(vectors[:3], CHOICE)) == 1
    means = snippet_vectors(vectors, CHOICE)[:, 3 * 2]
    np.testing.assert_allclose(means, 3.5 + 4 * np.arange(6))


def test_principal_components_are_uncorrelated_and_fall() -> None:
    """On the recordings that they were fitted on."""
    recordings = [hand(200, seed=seed) for seed in range(3)]
    encoder = Encoder.fit(recordings, CHOICE)
    features = np.concatenate([encoder(one) for one in recordings]).astype(np.float64)
    assert features.shape[1] == 24
    covariance = features[:, :12].T @ features[:, :12] / len(features)
    spread = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(covariance / np.outer(spread, spread), np.eye(12), atol=1e-3)
    assert (np.diff(spread) <= 1e-6).all()
