"""Samples of a video through decord, an optional second reader (`pip install decord`)."""

from __future__ import annotations

import av.error
import numpy as np
from jaxtyping import Float64, UInt8

from priors.video.container import VideoError, packets
from priors.video.reader import Reader, shrink


def sample(
    video: Reader, times: Float64[np.ndarray, " n"], max_side: int | None
) -> tuple[UInt8[np.ndarray, "n h w 3"], Float64[np.ndarray, " n"], tuple[int, int], bool]:
    """Pictures, their times, (height, width) of the source, and whether the video is partial.

    `video` has the header's duration and clock; decord's own clock begins at the first picture. Raises VideoError as
    `sample_frames` does, for transport streams and edit lists (wrong frames), and if decord gives no usable timestamps
    (AVI).
    """
    import decord

    if video.container.format.name == "mpegts" or _hides_frames(video):
        raise VideoError(video.path, "decord: wrong with transport streams and edit lists; use frames.reader pyav")
    decord.logging.set_level(decord.logging.QUIET)  # FFmpeg's warnings; errors are raised
    try:
        source = decord.VideoReader(str(video.path), num_threads=1)
        stamps = source.get_frame_timestamp(range(len(source))).astype(np.float64) + video.begin
        if not np.all(np.diff(stamps[:, 0]) > 0):
            raise VideoError(video.path, "decord: no usable time stamps; use frames.reader pyav")
        partial = video.falls_short(float(stamps[-1].max()))
        chosen = np.maximum(np.searchsorted(stamps[:, 0], times + video.tolerance, side="right") - 1, 0)
        pictures = [source[int(index)].asnumpy() for index in chosen]
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        raise VideoError(video.path, f"decord: {str(error).strip().splitlines()[-1]}") from error
    size = pictures[0].shape[:2]
    return shrink(pictures, max_side), stamps[chosen, 0], size, partial


def _hides_frames(video: Reader) -> bool:
    try:
        return any(packet.is_discard for packet in packets(video.container, video.stream))
    except av.error.FFmpegError:
        return False  # decord says what is wrong
