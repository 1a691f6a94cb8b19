"""A model's curves over the snippets of a video (T-CAM, attentions), and the .npz file of the curves of all videos."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from cache.files.atomic import atomic_path


@dataclass(frozen=True)
class Curves:
    """Outputs of the model over the snippets of one video, in float32."""

    video_id: str
    cas: Float[np.ndarray, "t c"]
    """Fused T-CAM: class probabilities, without the background."""
    attention: Float[np.ndarray, " t"]
    """A_KSM: the host's attention."""
    attention_csr: Float[np.ndarray, " t"] | None
    """A_CSR, if it was asked for; localization does not use it."""
    video_scores: Float[np.ndarray, " c"]
    """Probability of each class in the video."""

    logits: Float[np.ndarray, "t k"] | None = None
    """The host's own T-CAM: logits, the background's last. Only post-processing of public code uses it; it is dropped
    once the video is localized."""

    def spread(self, length: int) -> Curves:
        """Spread curves over evenly spaced snippets to all `length` snippets of the video, by repetition; without
        logits."""
        place = np.arange(length) * len(self.cas) // length
        csr = None if self.attention_csr is None else self.attention_csr[place]
        return Curves(self.video_id, self.cas[place], self.attention[place], csr, self.video_scores)


def save_curves(path: Path, curves: Iterable[Curves]) -> None:
    """Write the curves of several videos as one .npz: `<video_id>/<name>` for each of their arrays, in float32.

    They are taken one by one and written as they come, so that those of all videos are never held at once; the file
    appears when all are in it.
    """
    with atomic_path(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for video in curves:
            for name, values in vars(video).items():
                if name in ("video_id", "logits") or values is None:
                    continue
                with archive.open(f"{video.video_id}/{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(values, np.float32), allow_pickle=False)
