"""Two streams of snippet features from recordings of a hand: its pose, and its motion.

Each frame gives a vector of the pose (joints as seen from the palm) and one of the motion (velocities of the palm and
of the joints). A snippet holds their mean, deviation and trend, together with those of its neighbours, and a principal
component analysis of the training recordings makes each stream narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from benchmarks.gestures.recordings import FPS
from cache.features import FeatureGrid

Array = np.ndarray
_REACH = 2
"""Neighbouring snippets on either side that a snippet's features hold, too."""


@dataclass(frozen=True)
class GridChoice:
    """Which frames a snippet covers, and how wide each stream is."""

    frames: int = 16
    stride: int = 8
    width: int = 160
    pretrained: int = 64
    """Columns of each stream that a pre-trained encoder gives, if there is one."""

    @property
    def grid(self) -> FeatureGrid:
        """The grid of the features on disk."""
        streams = {"pose": self.width, "motion": self.width}
        return FeatureGrid(streams=streams, fps=FPS, snippet_frames=self.frames, snippet_stride=self.stride)


def frame_vectors(frames: Float[Array, "n 140"]) -> dict[str, Float[Array, "n d"]]:
    """Pose and motion of every frame, by stream; lengths in metres, velocities in metres a second."""
    joints = frames.reshape(len(frames), 20, 7)
    palm, rotation = joints[:, 0, :3], _steady(joints[:, 0, 3:])
    relative = joints[:, 1:, :3] - palm[:, None]
    seen = _rotate(relative, rotation)
    pose = [seen.reshape(len(frames), -1), relative.reshape(len(frames), -1), rotation]
    speeds = [_velocity(palm), _velocity(seen.reshape(len(frames), -1)), _velocity(rotation)]
    return {"pose": np.concatenate(pose, axis=1), "motion": np.concatenate(speeds, axis=1)}


def snippet_vectors(vectors: Float[Array, "n d"], choice: GridChoice) -> Float[Array, "t e"]:
    """Mean, deviation and trend over each snippet's frames, with those of its neighbours.

    A recording shorter than a snippet is one snippet.
    """
    count = max(1, (len(vectors) - choice.frames) // choice.stride + 1)
    place = np.arange(count)[:, None] * choice.stride + np.arange(choice.frames)
    windows = vectors[place.clip(max=len(vectors) - 1)]
    half = choice.frames // 2
    trend = windows[:, half:].mean(1) - windows[:, :half].mean(1)
    own = np.concatenate([windows.mean(1), windows.std(1), trend], axis=1)
    shifts = range(-_REACH, _REACH + 1)
    return np.concatenate([own[(np.arange(count) + shift).clip(0, count - 1)] for shift in shifts], axis=1)


class SnippetEncoder(Protocol):
    """Makes features of snippet vectors."""

    def encode(self, vectors: Float[Array, "t e"]) -> Float[Array, "t w"]:
        """Features of the snippets of one recording."""
        ...


@dataclass(frozen=True)
class Encoder:
    """Principal components of each stream, fitted on training recordings without their labels; beside them, if there
    are any, the features of pre-trained encoders."""

    choice: GridChoice
    mean: dict[str, Float[Array, " e"]]
    basis: dict[str, Float[Array, "e w"]]
    pretrained: Mapping[str, SnippetEncoder]

    @classmethod
    def fit(
        cls,
        recordings: Sequence[Float[Array, "n 140"]],
        choice: GridChoice,
        pretrained: Mapping[str, SnippetEncoder] | None = None,
    ) -> Encoder:
        """Fit on these recordings. With pre-trained encoders, theirs are `choice.pretrained` columns of each stream."""
        narrow = choice.width - (choice.pretrained if pretrained else 0)
        mean, basis = {}, {}
        vectors = [frame_vectors(frames) for frames in recordings]
        for stream in choice.grid.streams:
            rows = np.concatenate([snippet_vectors(one[stream], choice) for one in vectors])
            mean[stream], basis[stream] = _components(rows.astype(np.float64), narrow)
        return cls(choice, mean, basis, pretrained or {})

    def __call__(self, frames: Float[Array, "n 140"]) -> Float[Array, "t d"]:
        """Features of one recording, the streams side by side."""
        vectors = frame_vectors(frames)
        streams = []
        for stream, basis in self.basis.items():
            rows = snippet_vectors(vectors[stream], self.choice)
            streams.append((rows - self.mean[stream]) @ basis)
            if stream in self.pretrained:
                streams.append(self.pretrained[stream].encode(rows))
        return np.concatenate(streams, axis=1).astype(np.float32)


def _components(rows: Float[Array, "n e"], count: int) -> tuple[Float[Array, " e"], Float[Array, "e w"]]:
    """Mean, and the basis of the first principal components of standardised columns. Their deviations are made the
    square roots of what they are, so that the first do not outweigh all others."""
    mean, scale = rows.mean(0), 1 / rows.std(0).clip(min=1e-6)
    centred = (rows - mean) * scale
    width = centred.shape[1]
    values, axes = eigh(centred.T @ centred / len(rows), subset_by_index=(max(0, width - count), width - 1))
    order = np.argsort(values)[::-1]
    return mean, scale[:, None] * axes[:, order] / values[order].clip(min=1e-9) ** 0.25


def _velocity(values: Float[Array, "n d"]) -> Float[Array, "n d"]:
    return np.gradient(values, 1 / FPS, axis=0) if len(values) > 1 else np.zeros_like(values)


def _steady(quaternions: Float[Array, "n 4"]) -> Float[Array, "n 4"]:
    """The same rotations without jumps of sign: q and -q rotate alike."""
    flips = np.sign(np.sum(quaternions[1:] * quaternions[:-1], axis=1))
    signs = np.concatenate([[1.0], np.cumprod(np.where(flips < 0, -1.0, 1.0))])
    steady = quaternions * signs[:, None]
    return steady / np.linalg.norm(steady, axis=1, keepdims=True).clip(min=1e-6)


def _rotate(points: Float[Array, "n j 3"], quaternions: Float[Array, "n 4"]) -> Float[Array, "n j 3"]:
    """Points in the frame of the palm: rotated by the inverse of its orientation."""
    axis, angle = -quaternions[:, None, :3], quaternions[:, None, 3:]
    twice = 2 * np.cross(axis, points)
    return points + angle * twice + np.cross(axis, twice)
