"""Samples of a video through optional readers: decord (`pip install decord`), and torchcodec with FFmpeg beside it."""

from __future__ import annotations

import av.error
import numpy as np
from jaxtyping import Float64

from priors.video.container import VideoError, packets
from priors.video.pictures import Sampled, shrink
from priors.video.reader import Reader


def decord_sample(video: Reader, times: Float64[np.ndarray, " n"], max_side: int | None) -> Sampled:
    """Pictures, their times, (height, width) of the source, and when the last picture ends.

    `video` has the header's duration and clock; decord's own clock begins at the first picture. Raises VideoError as
    `sample_frames` does, for edit lists (wrong frames), and if decord gives no usable timestamps (AVI).
    """
    import decord

    if _hides_frames(video):
        raise VideoError(video.path, "decord: wrong with edit lists; use frames.reader pyav")
    decord.logging.set_level(decord.logging.QUIET)  # FFmpeg's warnings; errors are raised
    try:
        source = decord.VideoReader(str(video.path), num_threads=1)
        stamps = source.get_frame_timestamp(range(len(source))).astype(np.float64) + video.begin
        if not np.all(np.diff(stamps[:, 0]) > 0):
            raise VideoError(video.path, "decord: no usable time stamps; use frames.reader pyav")
        end = float(stamps[-1].max())
        chosen = np.maximum(np.searchsorted(stamps[:, 0], times + video.tolerance, side="right") - 1, 0)
        pictures = [source[int(index)].asnumpy() for index in chosen]
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        raise VideoError(video.path, f"decord: {str(error).strip().splitlines()[-1]}") from error
    size = pictures[0].shape[:2]
    return Sampled(shrink(pictures, max_side), stamps[chosen, 0], size, end)


def _hides_frames(video: Reader) -> bool:
    try:
        return any(packet.is_discard for packet in packets(video.container, video.stream))
    except av.error.FFmpegError:
        return False  # decord says what is wrong


def torchcodec_sample(video: Reader, times: Float64[np.ndarray, " n"], max_side: int | None) -> Sampled:
    """Pictures, their times, (height, width) of the source, and when the last picture ends.

    `video` has the header's duration and clock. Frames are requested by index: by time, torchcodec takes another one if
    the file does not say how long each is shown. In its exact mode it reads all packets first; the approximate mode is
    wrong for variable frame rates. Raises VideoError as `sample_frames` does, for AVI files (no timestamps), and if
    torchcodec returns other frames than requested or stops at a single bad packet.
    """
    from torchcodec.decoders import VideoDecoder  # pyright: ignore[reportPrivateImportUsage]

    if video.container.format.name == "avi":
        raise VideoError(video.path, "torchcodec: an AVI file stores no times; use frames.reader pyav")
    try:
        shown = (packet for packet in packets(video.container, video.stream) if not packet.is_discard)
        stamps = sorted({packet.pts for packet in shown if packet.pts is not None})
    except av.error.FFmpegError as error:
        raise VideoError(video.path, f"torchcodec: not readable to its end ({error.strerror})") from error
    if not stamps:
        raise VideoError(video.path, "its frames carry no time stamps")
    starts = np.array([float(stamp * video.tick - video.origin) for stamp in stamps])
    chosen = np.maximum(np.searchsorted(starts, times + video.tolerance, side="right") - 1, 0)
    try:
        with video.path.open("rb") as file:  # not by name: it takes UTF-8 names only
            source = VideoDecoder(
                file, stream_index=video.stream.index, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact"
            )
            end = (source.metadata.end_stream_seconds or 0.0) - float(video.origin)
            frames = [source.get_frame_at(int(index)) for index in chosen]
    except (RuntimeError, ValueError, IndexError) as error:
        raise VideoError(video.path, f"torchcodec: {(str(error).strip() or repr(error)).splitlines()[0]}") from error
    seconds = np.array([frame.pts_seconds for frame in frames]) - float(video.origin)
    if not np.allclose(seconds, starts[chosen], rtol=0, atol=video.tolerance):
        # Its seeks end up too late in transport streams, without an error.
        raise VideoError(video.path, "torchcodec: shows frames of other times; use frames.reader pyav")
    pictures = [frame.data.numpy() for frame in frames]
    return Sampled(shrink(pictures, max_side), seconds, (pictures[0].shape[0], pictures[0].shape[1]), end)
