"""Decoding as no file can be made to do it: the name of the video says what happens. Imported by workers."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from priors.features.snippets import Cutter, Piece, cut
from priors.video.decoding import Decoded
from priors.video.frames import Frames, FramesRecipe


def counted(path: Path) -> Iterator[int]:
    """Three pieces of an answer."""
    yield from range(3)


def odd_decode(path: Path | None, recipe: FramesRecipe) -> Decoded:
    """Frames of the size in the name (`7-mib`), after what the rest of the name asks for.

    told-...: writes the file of that name first. sleep: for ever. die: SIGSEGV. die-once: SIGKILL, but not if a file of
    that name is there, which it writes. print: writes to stdout. slow: takes a tenth of a second. modules: tells which
    heavy ones are loaded.
    """
    assert path is not None
    name = path.name
    if name.startswith("told"):
        path.touch()
    if "sleep" in name:
        time.sleep(3600)
    if "die-once" in name and not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("die") and "once" not in name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "print" in name:
        print("to stdout")
        os.write(1, b"to the descriptor of stdout\n")
    if name == "modules":
        heavy = [module for module in ("torch", "transformers", "torchcodec", "decord") if module in sys.modules]
        said = " ".join([*heavy, f"CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']}"])
        return Decoded(None, said, None, None)
    if "slow" in name:
        time.sleep(0.1)
    try:
        mib = int(name.split("-")[0]) if name[0].isdigit() else 0
        pictures = np.full((1, 512, 2048 * mib // 3 or 1, 3), 7, np.uint8)
    except MemoryError:
        return Decoded(None, "not enough memory", None, None)
    return Decoded(Frames(pictures, np.zeros(1), 1.0, 1, 1), None, os.getpid(), None)


def odd_cut(cutter: Cutter, path: Path) -> Iterator[Piece]:
    """The snippets of the video, and between the first two chunks what its name asks for.

    sleep: for ever. die: SIGSEGV. die-once: SIGKILL, but not if a file beside it says that it did.
    """
    name = path.name
    for number, chunk in enumerate(cut(cutter, path)):
        if number == 1 and "sleep" in name:
            time.sleep(3600)
        if number == 1 and "die-once" in name and not path.with_suffix(".died").exists():
            path.with_suffix(".died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 1 and "die" in name and "once" not in name:
            os.kill(os.getpid(), signal.SIGSEGV)
        yield chunk
