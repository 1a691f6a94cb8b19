"""Frames per second from video files to snippet features: one process, and the stage with its workers.

`python -m benchmarks encoding VIDEO ... [--copies 4] [--workers 2]` encodes each video with the demo's two encoders,
first by a loop in this process (decode, flow, encode, one after the other), then by the stage, and prints both rates
with their ratio. Before that it only decodes: PyAV's own loop with threads, one file after the other, and the stage's
reader, which has one thread a file, in the workers.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import av
import numpy as np

from cache.annotations import VideoEntry
from pipelines.presets.demo import CHECKPOINTS
from priors.features.encode import EncodeSummary, encode
from priors.features.encoder import Encoder, load_encoders
from priors.features.recipes import EncoderRecipe, FeaturesRecipe, SnippetDecodeRecipe
from priors.features.record import open_features
from priors.features.snippets import Chunk, Cutter, cut
from priors.video.frames import stream_frames

RECIPE = FeaturesRecipe(
    streams={
        "rgb": EncoderRecipe(model=str(CHECKPOINTS / "rgb_encoder")),
        "flow": EncoderRecipe(model=str(CHECKPOINTS / "flow_encoder"), input="flow", flow_bound=6.0),
    },
    fps=25,
    snippet_frames=8,
    snippet_stride=8,
)


def pyav_alone(path: Path) -> int:
    """Frames that PyAV's loop gives as RGB, with its automatic threads."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        return sum(len(frame.to_ndarray(format="rgb24")) > 0 for frame in container.decode(stream))


def reader_alone(path: Path) -> int:
    """Frames that the reader of the stage gives, at the video's own rate."""
    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate or 25)
    return sum(len(part.rgb) for part in stream_frames(path, fps=rate, size=None))


def one_process(path: Path, encoders: dict[str, Encoder]) -> int:
    """Frames that are encoded by one thing after the other."""
    views = {name: encoder.view for name, encoder in encoders.items()}
    frames = 0
    for piece in cut(Cutter(views, RECIPE.fps, RECIPE.snippet_frames, RECIPE.snippet_stride), path):
        if isinstance(piece, Chunk):
            frames += piece.frames
            np.concatenate([encoders[name].encode([part]) for name, part in piece.streams.items()], axis=1)
    return frames


def rate(what: str, work: Callable[[], int]) -> float:
    """Print and return the frames per second of a piece of work."""
    began = time.perf_counter()
    frames = work()
    found = frames / (time.perf_counter() - began)
    print(f"{what:40} {found:8.0f} frames/s")
    return found


def main() -> None:
    """Measure everything once."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks encoding", description=__doc__)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    paths = asked.videos * asked.copies
    plain = rate("decoding, PyAV's loop with threads", lambda: sum(map(pyav_alone, paths)))
    from benchmarks.priors.encoding import reader_alone as read  # processes find it there, and not in __main__

    with ProcessPoolExecutor(asked.workers) as pool:
        sum(pool.map(read, paths[: asked.workers]))  # starts the processes
        ours = rate(f"decoding, {asked.workers} workers of the stage", lambda: sum(pool.map(read, paths)))
    print(f"ratio {ours / plain:.2f}")
    encoders = load_encoders(RECIPE)
    alone = rate("encoding, one process", lambda: sum(one_process(path, encoders) for path in paths))
    with tempfile.TemporaryDirectory() as folder:
        store, told = open_features(Path(folder), RECIPE, encoders), EncodeSummary()
        videos = [VideoEntry(f"v{number}", "", None, (), (), path) for number, path in enumerate(paths)]
        decode = SnippetDecodeRecipe(workers=asked.workers)
        staged = rate(
            f"encoding, the stage with {asked.workers} workers",
            lambda: encode(videos, store, RECIPE, encoders, decode=decode, summary=told).frames,
        )
    print(f"ratio {staged / alone:.2f}; the encoders waited {told.waited_seconds:.1f} s for frames")


if __name__ == "__main__":
    main()
