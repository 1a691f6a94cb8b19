"""Samples of a video through torchcodec, an optional reader that needs torch and FFmpeg's shared libraries."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, UInt8

from priors.container import VideoError
from priors.reader import Reader, shrink


def sample(
    video: Reader, times: Float64[np.ndarray, " n"], max_side: int | None
) -> tuple[UInt8[np.ndarray, "n h w 3"], Float64[np.ndarray, " n"], tuple[int, int], bool]:
    """Pictures, their times, (height, width) of the source, and whether the video is partial.

    `video` tells the header's duration and clock; torchcodec's own clock is the time stamps of the file. Its exact mode
    reads all packets first: the approximate one gives other frames where the rate varies. Raises VideoError as
    `sample_frames` does, for AVI files (no time stamps), and where torchcodec shows wrong frames or gives up on a single
    bad packet.
    """
    from torchcodec.decoders import VideoDecoder  # pyright: ignore[reportPrivateImportUsage]

    if video.container.format.name == "avi":
        raise VideoError(video.path, "torchcodec: an AVI file stores no times; use frames.reader pyav")
    wanted = times + float(video.origin) + video.tolerance
    try:
        with video.path.open("rb") as file:  # not by name: it takes no name that is not UTF-8
            source = VideoDecoder(
                file, stream_index=video.stream.index, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact"
            )
            begin, end = source.metadata.begin_stream_seconds, source.metadata.end_stream_seconds
            if begin is None or end is None:
                raise VideoError(video.path, "torchcodec: no time stamps")
            partial = video.falls_short(end - float(video.origin))
            wanted = np.clip(wanted, begin, end - 0.5 * float(video.tick))
            found = [source.get_frame_played_at(float(time)) for time in wanted]
    except (RuntimeError, ValueError, IndexError) as error:
        raise VideoError(video.path, f"torchcodec: {(str(error).strip() or repr(error)).splitlines()[0]}") from error
    for frame, time in zip(found, wanted, strict=True):
        if frame.pts_seconds > time + video.tolerance:
            # Its seeks come down too late in transport streams, and it does not notice.
            why = f"torchcodec: shows at {time:.2f} s the frame of {frame.pts_seconds:.2f} s; use frames.reader pyav"
            raise VideoError(video.path, why)
    pictures = [frame.data.numpy() for frame in found]
    seconds = np.array([frame.pts_seconds for frame in found]) - float(video.origin)
    return shrink(pictures, max_side), seconds, (pictures[0].shape[0], pictures[0].shape[1]), partial
