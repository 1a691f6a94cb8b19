"""Dense optical flow between consecutive frames: the second stream of two-stream snippet features."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from cache.errors import CacheError
from priors.features.recipes import FlowMethod

_INSTALL = (
    "`.venv/bin/pip uninstall opencv-python-headless`, then `.venv/bin/pip install opencv-contrib-python-headless`"
)

Method = Literal["tvl1", "dis"]
Between = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Flow (h, w, 2) from one RGB picture to the next."""


def has_tvl1() -> bool:
    """Whether OpenCV was installed with its contributed modules."""
    import cv2

    return hasattr(cv2, "optflow")


def chosen_method(asked: FlowMethod) -> Method:
    """The method that `auto` stands for here. Raises CacheError if TV-L1 is asked for and not installed."""
    if asked == "tvl1" and not has_tvl1():
        raise CacheError(f"flow_method: found tvl1, which this OpenCV lacks; run {_INSTALL}, or use dis")
    if asked == "auto":
        return "tvl1" if has_tvl1() else "dis"
    return asked


def flow_between(method: Method) -> Between:
    """The function that computes flow: displacement in x and y, in pixels of its pictures.

    tvl1 is the method of the published I3D features (Zach et al., 2007), with OpenCV's defaults. dis, dense inverse
    search (Kroeger et al., ECCV 2016) in OpenCV's fast preset, is coarser and many times faster; features of both do
    not mix.
    """
    import cv2

    if method == "tvl1":
        module: Any = cv2.optflow  # pyright: ignore[reportAttributeAccessIssue]  # of the contributed modules
        search: Any = module.DualTVL1OpticalFlow_create()
    else:
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def between(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        grey = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (before, after))
        return search.calc(*grey, None)

    return between


def optical_flow(rgb: UInt8[np.ndarray, "n h w 3"], method: Method = "dis") -> Float32[np.ndarray, "m h w 2"]:
    """Flow from each frame to the next, (n - 1, h, w, 2)."""
    between = flow_between(method)
    flow = np.zeros((max(0, len(rgb) - 1), *rgb.shape[1:3], 2), np.float32)
    for index, (before, after) in enumerate(itertools.pairwise(rgb)):
        flow[index] = between(before, after)
    return flow
