"""Signals end the stages that watch video: what is finished is kept, nothing is made twice, and no process stays."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from cache.annotations import Dataset, VideoEntry
from cache.tables.store import PartStore
from priors.describers.canned import CannedDescriber
from priors.pretrained.torchvision_cpu import make_torchvision_importable
from tests.support.paths import ROOT
from tests.support.processes import stopped_run
from tests.support.processes.slow_generate import RECIPE, answer, describe, open_store
from tests.support.videos.videos import write_video

CODES = {signal.SIGTERM: 143, signal.SIGUSR1: 128 + signal.SIGUSR1, signal.SIGINT: 130}


def pool(folder: Path, videos: int) -> Dataset:
    """Videos of different lengths."""
    paths = [write_video(folder / "videos" / f"v{number}.mp4", 10 + 3 * number, fps=10) for number in range(videos)]
    entries = [VideoEntry(path.stem, "training", None, ("Dive",), (), path) for path in paths]
    dataset = Dataset("pool", ("Dive",), tuple(entries))
    dataset.save(folder / "annotations.json")
    return dataset


def run(stage: str, folder: Path) -> subprocess.Popen:
    """A run, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.processes.stopped_run", stage, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def stop(stage: str, folder: Path, number: signal.Signals, *, whole_group: bool = False) -> int:
    """Stop a run by a signal when it has done something; checks how it ends, and returns how much it said was done."""
    with run(stage, folder) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        told = [child.stdout.readline(), child.stdout.readline()]
        family = psutil.Process(child.pid).children(recursive=True)
        assert family, "workers are at work"
        if whole_group:
            for process in (child, *family):
                with suppress(ProcessLookupError):  # a worker may have ended by itself meanwhile
                    os.kill(process.pid, number)
        else:
            child.send_signal(number)
        out, err = child.communicate(timeout=60)
        assert child.returncode == CODES[number], err
        assert "Finished work is kept" in err
        assert number == signal.SIGINT or f"Stopped by {number.name}." in err
    left = psutil.wait_procs(family, timeout=30)[1]
    assert [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []
    told += out.splitlines()
    return max(int(line.split()[1]) for line in told if line.startswith("done"))


@pytest.mark.parametrize(("number", "whole_group"), [(signal.SIGUSR1, False), (signal.SIGINT, True)])
def test_priors_that_are_stopped_keep_what_is_finished(tmp_path, number, whole_group, monkeypatch):
    """By a signal to the run or to all of its processes; then the table is that of an undisturbed run."""
    dataset = pool(tmp_path, 14)
    store = open_store(tmp_path)
    done = stop("priors", tmp_path, number, whole_group=whole_group)
    assert len(store.done()) == done
    describer = CannedDescriber(answer, model_id="canned", model_revision="1")
    monkeypatch.setattr(PartStore, "compact", lambda self: 0)  # which would hide what stands there twice
    assert describe(dataset, store, describer).described == 28 - done
    rows = [
        tuple(row[name] for name in store.key)
        for part in store.folder.glob("part-*")
        for row in pq.ParquetFile(part).read().to_pylist()
    ]
    assert set(Counter(rows).values()) == {1}
    whole = PartStore.create(tmp_path / "whole", RECIPE, store.schema, key=store.key)
    describe(dataset, whole, describer)
    names = [name for name in store.schema.names if name != "created_at"]
    assert store.table(names).equals(whole.table(names))
    assert list(store.folder.glob(".unfinished*")) == []


def test_features_that_are_stopped_keep_what_is_finished(tmp_path):
    """No file is made twice, and all are those of an undisturbed run."""
    make_torchvision_importable()
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEImageProcessor

    config = VideoMAEConfig(
        image_size=28, patch_size=14, num_frames=4, tubelet_size=2, hidden_size=12, intermediate_size=16,
        num_hidden_layers=1, num_attention_heads=2,
    )  # fmt: skip
    for folder in (tmp_path, tmp_path / "whole"):
        dataset = pool(folder, 12)
    VideoMAEForVideoClassification(config).save_pretrained(tmp_path / "rgb")
    VideoMAEImageProcessor(size={"height": 28, "width": 28}).save_pretrained(tmp_path / "rgb")
    (tmp_path / "whole" / "rgb").symlink_to(tmp_path / "rgb")
    stop("features", tmp_path, signal.SIGTERM, whole_group=True)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "features").glob("*.npy")}
    assert made
    for folder in (tmp_path, tmp_path / "whole"):
        stopped_run.features(folder)
    assert all(path.stat().st_mtime_ns == when for path, when in made.items())
    for video in dataset.videos:
        name = f"features/{video.video_id}.npy"
        assert np.array_equal(np.load(tmp_path / name), np.load(tmp_path / "whole" / name))
    assert list((tmp_path / "features").glob(".unfinished*")) == []


def test_priors_on_ray_that_are_stopped_end_with_their_workers(tmp_path):
    """As without Ray, whose own handler would end the process on the spot."""
    pytest.importorskip("ray")
    dataset = pool(tmp_path, 40)
    assert stop("ray", tmp_path, signal.SIGTERM) < 80
    store, deadline = open_store(tmp_path), time.monotonic()
    assert 0 < len(store.done()) < 80
    with store.lock():
        assert time.monotonic() - deadline < 5, "no worker is waited for"
    describe(dataset, store, CannedDescriber(answer, model_id="canned", model_revision="1"))
    assert len(store.done()) == 80
