"""The pool of decoders: in order and bounded, and no file, however bad, costs more than its own row."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av.error
import numpy as np
import pytest

import priors.video.decoding
from cache.errors import CacheError
from priors.video.decode_pool import DecodePool, DecodeRecipe
from priors.video.decoding import decode, video_stamp
from priors.video.frames import FramesRecipe
from priors.video.worker_pool import WorkerPool
from tests.support.videos.odd_decoding import counted, odd_decode
from tests.support.videos.videos import write_video

FRAMES = FramesRecipe(count=3, max_side=None)


@contextmanager
def _odd(**recipe) -> Iterator[DecodePool]:
    with DecodePool(FRAMES, DecodeRecipe(**recipe), decode=odd_decode) as pool:
        yield pool


def _named(*names: str, folder: Path = Path("/")) -> list[tuple[str, Path]]:
    return [(name, folder / name) for name in names]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait(until: Callable[[], bool], *, seconds: float = 60) -> None:
    """Look again and again; a minute is for machines that are busy with something else."""
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _children() -> set[int]:
    return set(map(int, Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()))


@pytest.mark.parametrize("workers", [0, 2])
def test_it_decodes_as_decode_does(tmp_path, workers):
    """The same frames to the bit, reasons, sizes and stamps, wherever decoding happens."""
    good = write_video(tmp_path / "a.mp4", 20)
    items = [("good", good), ("missing", tmp_path / "b.mp4"), ("none", None), ("again", good)]
    with DecodePool(FRAMES, DecodeRecipe(workers=workers)) as pool:
        streamed = list(pool.stream(items))
    assert [name for name, _ in streamed] == [name for name, _ in items]
    for (_, path), (_, found) in zip(items, streamed, strict=True):
        expected = decode(path, FRAMES)
        assert (found.error, found.size, found.stamp) == (expected.error, expected.size, expected.stamp)
        if expected.frames is not None:
            assert found.frames is not None
            assert np.array_equal(found.frames.rgb, expected.frames.rgb)
            assert np.array_equal(found.frames.seconds, expected.frames.seconds)
            assert found.frames.rgb.flags.writeable
            assert found.seconds > 0
    assert streamed[0][1].stamp == video_stamp(good)


def test_order_and_laziness():
    """Results come in the order of the items however long each takes; items are pulled only as they are let in."""
    pulled = []

    def items() -> Iterator[tuple[int, Path]]:
        for number in range(12):
            pulled.append(number)
            yield number, Path("/slow" if number % 3 == 0 else "/fast")

    with _odd(workers=2, ahead_videos=4) as pool:
        stream = pool.stream(items())
        assert pulled == []
        for number in range(12):
            assert next(stream)[0] == number
            assert len(pulled) <= number + 4
        assert list(stream) == []
    assert len(pulled) == 12


def test_bytes_that_wait_are_bounded():
    """What is known of the sizes bounds what is pulled; a video larger than the bound still passes, alone."""
    pulled = []

    def items() -> Iterator[tuple[str, Path]]:
        for number in range(6):
            pulled.append(number)
            yield str(number), Path("/4-mib")

    with _odd(workers=2, ahead_mib=12) as pool:
        most = 0
        for count, (_, found) in enumerate(pool.stream(items()), 1):
            assert found.frames is not None
            most = max(most, len(pulled) - count)
    assert most == 2  # the third would wait beside one that was just handed out: 12 MiB hold three with it
    with _odd(workers=1, ahead_mib=1) as pool:
        assert [found.error for _, found in pool.stream(_named("3-mib", "3-mib"))] == [None, None]


def test_bytes_that_the_taker_holds_count():
    """Frames that wait for their batch are frames that wait."""
    pulled = []

    def items() -> Iterator[tuple[str, Path]]:
        for number in range(6):
            pulled.append(number)
            yield str(number), Path("/4-mib")

    with _odd(workers=2, ahead_mib=13) as pool:
        held = 0
        stream = pool.stream(items(), taken=lambda: held)
        next(stream)
        next(stream)
        assert len(pulled) == 4, "three of 4 MiB are decoded ahead, once their size is known"
        held = 9 << 20
        next(stream)
        next(stream)
        assert len(pulled) == 4
        next(stream)
        assert len(pulled) == 5, "one is always let in, and no more"


def test_whoever_stalls_or_dies_fails_alone(tmp_path):
    """A hang, a crash twice: each is the reason of its own video; one crash is forgiven."""
    names = ["0", "sleep", "1", "die", "2", "die-once", "3", "print", "4"]
    with _odd(workers=2, timeout_seconds=1.0) as pool:
        found = {name: decoded for (name, decoded) in pool.stream(_named(*names, folder=tmp_path))}
    assert list(found) == names
    reasons = {name: decoded.error for name, decoded in found.items() if decoded.error is not None}
    assert set(reasons) == {"sleep", "die"}
    assert re.match(r"decoding stalled: more than 1 s; .*decode.timeout_seconds", reasons["sleep"] or "")
    assert reasons["die"] == "the decoder died twice: SIGSEGV"


def test_a_worker_is_small():
    """A video that needs more memory than it may hold is a failure of that video; it knows of no model and no GPU."""
    with _odd(workers=1, worker_memory_gib=0.5) as pool:
        hog, other, modules = (decoded.error for _, decoded in pool.stream(_named("900-mib", "1-mib", "modules")))
    assert (hog, other) == ("not enough memory", None)
    assert modules == "CUDA_VISIBLE_DEVICES="


def test_a_picture_too_large_for_its_worker_is_told(tmp_path, monkeypatch):
    """FFmpeg and numpy fail alike; neither is called a damaged file."""
    video = write_video(tmp_path / "a.mp4", 5)
    for error in (MemoryError(), av.error.MemoryError(12, "Cannot allocate memory")):
        monkeypatch.setattr(priors.video.decoding, "sample_frames", lambda *_, error=error, **__: _raise(error))
        assert decode(video, FRAMES).error == "not enough memory to decode it (decode.worker_memory_gib)"


def _raise(error: Exception) -> None:
    raise error


def test_leaving_ends_workers_whatever_they_are_doing(tmp_path):
    """And whether or not the stream was read to its end: nobody waits for a decoder that sleeps for an hour."""
    before = _children()
    names = [f"told-sleep-{number}" for number in range(3)]
    with _odd(workers=2, timeout_seconds=3600.0) as pool:
        stream = pool.stream(_named("0", *names, folder=tmp_path))
        next(stream)
        _wait(lambda: len(list(tmp_path.iterdir())) == 2)  # both are asleep
        assert len(_children() - before) == 2
    _wait(lambda: _children() <= before)


def test_workers_end_with_their_parent(tmp_path):
    """SIGKILL leaves it no time for goodbyes; Ctrl-C reaches the parent alone, which ends them."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.support.videos.odd_decoding import odd_decode\n"
        "from priors.video.decode_pool import DecodePool, DecodeRecipe\n"
        "from priors.video.frames import FramesRecipe\n"
        "with DecodePool(FramesRecipe(), DecodeRecipe(workers=1), decode=odd_decode) as pool:\n"
        "    for name, decoded in pool.stream([(n, Path(n)) for n in ('/0', sys.argv[1])]):\n"
        "        print(decoded.size, flush=True)\n"
    )
    for number in (signal.SIGKILL, signal.SIGINT):
        asleep = tmp_path / f"told-sleep-{number}"
        with subprocess.Popen(
            [sys.executable, str(script), str(asleep)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            process_group=0,
        ) as parent:
            assert parent.stdout is not None
            worker = int(parent.stdout.readline())
            _wait(asleep.exists)
            os.killpg(parent.pid, number)
            assert parent.wait(60) == -number
        _wait(lambda ended=worker: not _alive(ended))


def test_a_worker_that_cannot_start_is_no_fault_of_the_videos(monkeypatch, capfd):
    """One error for the run, not a failed row for every video."""
    monkeypatch.setattr(sys, "path", [])
    with _odd(workers=1) as pool, pytest.raises(CacheError, match=r"a decoding process does not start \(exit code 1\)"):
        list(pool.stream(_named("0", "1")))
    assert "priors" in capfd.readouterr().err


def test_a_worker_that_dies_unheard_is_nobody_elses_to_close():
    """It dies while its reader is busy with what it said before; meanwhile another reader needs a new worker."""
    with WorkerPool(counted, seconds=20, memory_gib=4) as pool:
        first = pool.answers(Path("first"))
        assert next(first) == 0
        (worker,) = pool._workers
        worker._process.kill()
        worker._process.wait()
        assert list(pool.answers(Path("second"))) == [0, 1, 2]
        assert list(first) == [1, 2]
