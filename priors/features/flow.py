"""Dense optical flow between consecutive frames: the second stream of two-stream snippet features."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Float32, UInt8


def optical_flow(rgb: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "m h w 2"]:
    """Flow from each frame to the next, (n - 1, h, w, 2): displacement in x and y, in pixels of these frames.

    Dense inverse search (Kroeger et al., ECCV 2016) in OpenCV's fast preset. The TV-L1 flow of the original I3D
    features is more accurate and a hundred times slower; do not mix features of both.
    """
    import cv2

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in rgb]
    height, width = rgb.shape[1:3]
    flow = np.zeros((max(0, len(grey) - 1), height, width, 2), np.float32)
    for index, (before, after) in enumerate(itertools.pairwise(grey)):
        # its type stubs do not know that None makes it allocate the result
        flow[index] = search.calc(before, after, None)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return flow
