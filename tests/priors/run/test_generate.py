"""The loop: every key once, whatever fails, whenever it is stopped."""

import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import priors.run.preflight
import priors.video.decoding
from cache.annotations import Dataset, VideoEntry
from cache.descriptions.audit import audit
from cache.errors import CacheError
from cache.files.lock import Shard
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS, Description, Flag, Kind
from cache.tables.store import PartStore
from priors.describers.canned import CannedDescriber
from priors.describers.protocol import Failure, Prepared, Reply, Request
from priors.pretrained.model_files import ModelError
from priors.run.batching import Asked, Batcher
from priors.run.generate import Summary
from priors.run.plan import Question, VideoWork, plan
from priors.run.run_log import Progress, last_rate
from priors.video.decode_pool import DecodeRecipe
from priors.video.decoding import Decoded, video_stamp
from priors.video.frames import Frames
from tests.support.data.rows import described
from tests.support.paths import ROOT
from tests.support.processes import slow_generate
from tests.support.processes.slow_generate import RECIPE, answer, describe, open_store
from tests.support.videos.bad_files import write_corpus
from tests.support.videos.videos import cut, read, write_sound, write_video


def _pool(folder: Path, videos: int) -> Dataset:
    """Videos v0, v1, ... of different lengths, the odd ones with two classes."""
    entries = []
    for number in range(videos):
        path = write_video(folder / "videos" / f"v{number}.mp4", 10 + 3 * number, fps=10)
        labels = ("Dive", "Swim") if number % 2 else ("Dive",)
        entries.append(VideoEntry(f"v{number}", "training", None, labels, (), path))
    dataset = Dataset("pool", ("Dive", "Swim"), tuple(entries))
    dataset.save(folder / "annotations.json")
    return dataset


def _keys(dataset: Dataset) -> set[tuple]:
    return {(v.video_id, label, kind) for v in dataset.videos for label in v.labels for kind in ("key", "complete")}


class Watched(CannedDescriber):
    """Answers like `answer`, remembers its batches, and does what `before` says first."""

    def __init__(self, before: Callable[[Sequence[Request]], None] = lambda requests: None) -> None:
        super().__init__(answer, model_id="canned", model_revision="1")
        self.before = before
        self.batches: list[list[str]] = []

    def describe(self, prepared: Prepared) -> list[Reply | Failure]:
        """Note the prompts, then answer."""
        self.before(prepared.requests)
        self.batches.append([request.prompt for request in prepared.requests])
        return super().describe(prepared)


def _run(dataset: Dataset, store: PartStore, describer: CannedDescriber | None = None, **options) -> Summary:
    return describe(dataset, store, describer or Watched(), **options)


def _final(store: PartStore) -> pa.Table:
    return store.table([name for name in store.schema.names if name != "created_at"])


def _counts(summary: Summary) -> tuple[int, int, int, int]:
    """Planned, skipped, described, failed."""
    return summary.plan.total, summary.plan.skipped, summary.described, summary.failed


def _failures(store: PartStore) -> dict[tuple, str]:
    return {
        (row["video_id"], row["action_class"], row["kind"]): row["error"]
        for row in store.rows()
        if row["status"] == "failed"
    }


def test_every_key_is_described_with_its_provenance(tmp_path):
    """The row says what was asked, what was seen, and of which file."""
    dataset = _pool(tmp_path, 3)
    store = open_store(tmp_path)
    summary = _run(dataset, store)
    assert _counts(summary) == (8, 0, 8, 0)
    assert store.done() == _keys(dataset)
    row = store.table().to_pylist()[4]
    path = tmp_path / "videos" / "v1.mp4"
    assert (row["video_id"], row["action_class"], row["kind"], row["status"]) == ("v1", "Swim", "complete", "ok")
    assert row["prompt"] == "Swim, in detail?"
    assert row["description"].startswith("Swim, in detail? brightness ")
    assert row["frame_seconds"] == pytest.approx([0.2, 0.6, 1.0])
    assert (row["duration"], row["finish_reason"], row["error"]) == (pytest.approx(1.3), "eos", None)
    assert (row["video_bytes"], row["video_stamp"]) == (path.stat().st_size, video_stamp(path))
    assert (row["model_id"], row["model_revision"]) == ("canned", "1")
    assert json.loads(row["generation"]) == {**RECIPE.describer.model_dump(), "max_new_tokens": 20}
    assert (row["attempt"], row["partial"], row["flags"]) == (1, False, [])
    assert {"av", "torch", "transformers", "host"} <= set(json.loads(row["made_by"]))
    assert summary.progress.new_tokens == sum(row["new_tokens"] for row in store.table().to_pylist())


def test_a_row_of_a_partial_video_says_why(tmp_path):
    """The answer counts; what is missing of the video stands beside it."""
    dataset, store = _pool(tmp_path, 1), open_store(tmp_path)
    long = write_video(tmp_path / "long.mkv", 400, fps=10)
    shutil.copy(cut(long, 0.96), tmp_path / "videos" / "v0.mp4")
    _run(dataset, store)
    row = store.table().to_pylist()[0]
    assert (row["status"], row["partial"]) == ("ok", True)
    assert row["error"].startswith("decoded 3")
    assert row["error"].endswith(" s of 40.0 s")


def test_white_space_in_a_text_is_collapsed(tmp_path):
    """Models break lines as they like."""

    class Breaks(CannedDescriber):
        def describe(self, prepared: Prepared) -> list[Reply | Failure]:
            return [Reply("  a person\n\n dives\t in ", 5, 4, "eos") for _ in prepared.requests]

    store = open_store(tmp_path)
    _run(_pool(tmp_path, 1), store, Breaks(answer, model_id="canned", model_revision="1"))
    assert store.table(["description"])["description"].to_pylist() == ["a person dives in"] * 2


def test_a_second_run_finds_nothing_to_do(tmp_path):
    """Resume is answered from the rows: no decoding, no describing, no writing."""
    dataset, store = _pool(tmp_path, 2), open_store(tmp_path)
    _run(dataset, store)
    parts = sorted(store.folder.iterdir())
    describer = Watched()
    summary = _run(dataset, store, describer)
    assert _counts(summary) == (0, 6, 0, 0)
    assert describer.batches == []
    assert sorted(store.folder.iterdir()) == parts


def test_only_the_missing_keys_are_planned(tmp_path):
    """By key, not by video; classes without videos and videos without labels ask for nothing."""
    videos = [
        VideoEntry("a", "training", None, ("Dive", "Swim"), (), None),
        VideoEntry("b", "training", None, (), (), None),
        VideoEntry("c", "training", None, ("Dive",), (), None),
    ]
    done: tuple[tuple[str, str, Kind], ...] = (
        ("a", "Dive", "key"),
        ("a", "Swim", "complete"),
        ("c", "Dive", "key"),
        ("c", "Dive", "complete"),
    )
    store = open_store(tmp_path)
    store.append([described(*key) for key in done])
    found = plan(videos, store)
    assert [[question.key for question in item.questions] for item in found.work] == [
        [("a", "Dive", "complete"), ("a", "Swim", "key")]
    ]
    assert (found.skipped, found.again, found.replaced) == (4, 0, ())


def test_a_video_is_decoded_once_and_not_far_ahead(tmp_path, monkeypatch):
    """For all of its classes and both kinds; only as many as fill the batches that are made ready wait."""
    dataset, decoded, ahead = _pool(tmp_path, 9), [], []
    sample = priors.video.decoding.sample_frames

    def counted(path: Path, **options):
        decoded.append(path)
        return sample(path, **options)

    monkeypatch.setattr(priors.video.decoding, "sample_frames", counted)
    seen = set()

    def before(requests: Sequence[Request]) -> None:
        time.sleep(0.05)
        seen.update(id(request.frames.rgb) for request in requests)
        ahead.append(len(decoded) - len(seen))

    _run(dataset, open_store(tmp_path), Watched(before), batch_size=1)
    assert Counter(decoded) == {video.path: 1 for video in dataset.videos}
    assert 1 <= max(ahead) <= 4


def test_batches_span_videos_and_keep_kinds_apart(tmp_path):
    """Full batches but for the last of a kind, each with the limit of its kind."""
    describer = Watched()
    _run(_pool(tmp_path, 5), open_store(tmp_path), describer, batch_size=3)
    assert sorted(len(batch) for batch in describer.batches) == [1, 1, 3, 3, 3, 3]
    assert all(len({prompt.endswith("detail?") for prompt in batch}) == 1 for batch in describer.batches)


@pytest.mark.parametrize(("mib", "most"), [(1, 1), (1000, 10)])
def test_frames_that_wait_for_a_batch_are_bounded(mib, most):
    """By their bytes, however unlike their sizes are; what is given out are full batches all the same."""
    batcher = Batcher(2, most_bytes=mib << 20)
    waiting = []
    for number in range(20):
        frames = Frames(np.zeros((1, 512, 1024 + number, 3), np.uint8), np.zeros(1), 1.0, 1, 1)
        decoded = Decoded(frames, None, None, None)
        question = Question((f"v{number}", "Dive", "key"))
        work = VideoWork(VideoEntry(f"v{number}", "training", None, ("Dive",), (), None), (question,))
        batches = batcher.add(Asked(work, question, decoded, Request(frames, "Dive?", 8)))
        assert all(len(batch) == 2 for batch in batches)
        waiting.append(batcher.bytes >> 20)
    assert max(waiting) == most


def _with_bad_videos(folder: Path) -> tuple[Dataset, dict[str, str]]:
    good = _pool(folder, 2)
    clips = folder / "videos"
    (clips / "empty.mp4").write_bytes(b"")
    (clips / "corrupt.mp4").write_bytes(random.Random(0).randbytes(5000))
    write_sound(clips / "sound.mp4")
    cut(write_video(clips / "whole.mp4", 400, fps=10, container={"movflags": "faststart"}), 0.6)
    files = {
        "empty": (clips / "empty.mp4", "empty file (0 bytes)"),
        "corrupt": (clips / "corrupt.mp4", "not a readable video"),
        "sound": (clips / "sound.mp4", "no video stream (audio only)"),
        "truncated": (clips / "cut-whole.mp4", "truncated: decoded "),
        "missing": (clips / "nowhere.mp4", "no such file"),
        "unknown": (None, "no video file"),
    }
    bad = tuple(VideoEntry(name, "training", None, ("Dive",), (), path) for name, (path, _) in files.items())
    reasons = {name: reason for name, (_, reason) in files.items()}
    return replace(good, videos=(*bad[:3], *good.videos, *bad[3:])), reasons


def test_bad_videos_become_failed_rows_and_the_rest_is_complete(tmp_path):
    """Each with its reason, for each of its keys; the next run tries just these again, and a mended one is done."""
    dataset, reasons = _with_bad_videos(tmp_path)
    store = open_store(tmp_path)
    assert _counts(_run(dataset, store)) == (18, 0, 6, 12)
    assert set(_failures(store)) == {(name, "Dive", kind) for name in reasons for kind in ("key", "complete")}
    rows = {(row["video_id"], row["kind"]): row for row in store.table().to_pylist() if row["status"] == "failed"}
    assert len(rows) == 12
    for (name, _), row in rows.items():
        assert row["error"].startswith(reasons[name])
        assert row["description"] is None
    assert rows["truncated", "key"]["error"].endswith(" s of 40.0 s")
    assert rows["truncated", "key"]["video_bytes"] == (tmp_path / "videos" / "cut-whole.mp4").stat().st_size

    write_video(tmp_path / "videos" / "empty.mp4", 20)
    again = _run(dataset, store)
    assert _counts(again) == (12, 6, 2, 10)
    assert {("empty", "Dive", "key"), ("empty", "Dive", "complete")} <= store.done()
    assert store.table().num_rows == 18


def test_a_bad_or_odd_file_is_a_failed_row_or_a_right_one(tmp_path):
    """A corpus of more than 70, through the whole loop: none crashes, hangs, or takes more than a gigabyte."""
    cases = write_corpus(tmp_path)
    entries = (VideoEntry(name, "training", None, ("Dive",), (), case.path) for name, case in cases.items())
    dataset, store = Dataset("bad", ("Dive",), tuple(entries)), open_store(tmp_path)
    numbers = CannedDescriber(
        lambda request: " ".join(str(read(picture)) for picture in request.frames.rgb),
        model_id="canned",
        model_revision="1",
    )
    decode = DecodeRecipe(workers=2, timeout_seconds=60, worker_memory_gib=1)
    made = _run(dataset, store, numbers, decode=decode)
    assert (made.plan.total, made.described + made.failed) == (2 * len(cases), 2 * len(cases))
    wrong = {}
    for row in store.rows():
        case, error = cases[row["video_id"]], row["error"]
        if case.why is not None:
            right = error is not None and re.search(case.why, error)
        elif case.numbers is not None:
            right = row["description"] == " ".join(map(str, case.numbers))
        else:
            right = True
        if not right or "stalled" in (error or "") or "died" in (error or ""):
            wrong[row["video_id"]] = (error, row["description"], case)
    assert not wrong
    assert store.table().num_rows == 2 * len(cases)
    found = audit(dataset, "training", store, None)
    assert (len(found.failed), found.missing) == (made.failed, ())
    assert _counts(_run(dataset, store, numbers, decode=decode, check_videos="stamp"))[:2] == (
        made.failed,
        made.described,
    )


def test_one_bad_request_does_not_fail_its_neighbours(tmp_path):
    """A batch that raises is tried one by one; what still raises is a failed row that names the exception."""

    def before(requests: Sequence[Request]) -> None:
        if any(request.prompt.startswith("Swim") for request in requests):
            raise ValueError("the prompt holds '<|im_end|>'")

    dataset, store = _pool(tmp_path, 4), open_store(tmp_path)
    summary = _run(dataset, store, Watched(before), batch_size=4)
    failures = _failures(store)
    assert {label for _, label, _ in failures} == {"Swim"}
    assert set(failures.values()) == {"ValueError: the prompt holds '<|im_end|>'"}
    assert store.done() == {key for key in _keys(dataset) if key[1] == "Dive"}
    assert summary.described + summary.failed == summary.plan.total
    failed = [row for row in store.table().to_pylist() if row["status"] == "failed"]
    assert all(len(row["frame_seconds"]) == 3 for row in failed)


def test_an_answer_that_cannot_be_stored_costs_its_own_row(tmp_path, caplog):
    """A lone surrogate in a text, a count beyond its column: failed rows with the reason; the others are kept."""

    class Odd(Watched):
        def describe(self, prepared: Prepared) -> list[Reply | Failure]:
            replies = super().describe(prepared)
            for number, request in enumerate(prepared.requests):
                if "Swim" in request.prompt:
                    text, count = ("cut \ud83d off", 3) if "detail" in request.prompt else ("fine", 1 << 40)
                    replies[number] = Reply(text, count, 2, "eos")
            return replies

    dataset, store = _pool(tmp_path, 2), open_store(tmp_path / "descriptions")
    done = _run(dataset, store, Odd())
    assert done.failed == 1  # the other is found at writing
    rows = {(row["video_id"], row["action_class"], row["kind"]): row for row in store.rows()}
    assert rows.keys() == _keys(dataset)
    failed = {key: row["error"] for key, row in rows.items() if row["status"] == "failed"}
    assert failed.keys() == {("v1", "Swim", "key"), ("v1", "Swim", "complete")}
    assert r"lone surrogate, which is no Unicode text, at 'cut \ud83d off'" in failed["v1", "Swim", "complete"]
    assert "cannot be stored: column prompt_tokens" in failed["v1", "Swim", "key"]
    assert "column prompt_tokens" in caplog.text
    assert _run(dataset, store).described == 2


def test_out_of_memory_halves_the_batch(tmp_path):
    """From then on; a single request that does not fit is a failed row."""
    sizes = []

    def before(requests: Sequence[Request]) -> None:
        sizes.append(len(requests))
        if len(requests) > 2 or any(len(request.prompt) > 8 for request in requests):
            raise torch.OutOfMemoryError("CUDA out of memory")

    dataset, store, describer = _pool(tmp_path, 6), open_store(tmp_path), Watched(before)
    _run(dataset, store, describer, batch_size=5)
    assert {kind for _, _, kind in _failures(store)} == {"complete"}
    assert {key for key in _keys(dataset) if key[2] == "key"} == store.done()
    assert max(len(batch) for batch in describer.batches) <= 2
    assert [size for size in sizes if size > 2] == [5], "it is not tried again and again"


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ..."),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"),
    ],
)
def test_a_gpu_that_cannot_go_on_stops_the_run_at_once(tmp_path, error):
    """The context is broken, not the requests: none is tried again, or booked as failed; what was finished is kept."""
    asked = []

    def before(requests: Sequence[Request]) -> None:
        asked.append(len(requests))
        if len(asked) == 3:
            raise error

    store = open_store(tmp_path)
    with pytest.raises(ModelError, match=r"the GPU cannot go on, .+(illegal memory|device-side)[^\n]+\Z"):
        _run(_pool(tmp_path, 6), store, Watched(before), batch_size=2, write_seconds=1000)
    assert asked == [2, 2, 2]
    assert (len(store.done()), _failures(store)) == (4, {})


def test_memory_that_cuda_itself_lacks_halves_the_batch(tmp_path):
    """As that of PyTorch's allocator: the GPU is as good as before."""

    def before(requests: Sequence[Request]) -> None:
        if len(requests) > 2:
            raise torch.AcceleratorError("CUDA error: out of memory")

    dataset, store, describer = _pool(tmp_path, 4), open_store(tmp_path), Watched(before)
    _run(dataset, store, describer, batch_size=4)
    assert store.done() == _keys(dataset)


def test_a_model_that_cannot_be_used_stops_the_run(tmp_path):
    """It would fail every key; what was finished is kept."""
    count = iter(range(10))

    def before(requests: Sequence[Request]) -> None:
        if next(count) == 2:
            raise ModelError("describer.max_pixels: no")

    store = open_store(tmp_path)
    with pytest.raises(ModelError, match="max_pixels"):
        _run(_pool(tmp_path, 4), store, Watched(before), batch_size=2, write_seconds=1000)
    assert len(store.done()) == 4


def test_ctrl_c_keeps_what_is_finished_and_goes_on(tmp_path):
    """The interruption reaches the caller, decoding threads end, and the next run does the rest."""
    count = iter(range(10))

    def before(requests: Sequence[Request]) -> None:
        if next(count) == 3:
            raise KeyboardInterrupt

    dataset, store = _pool(tmp_path, 6), open_store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        _run(dataset, store, Watched(before), batch_size=2, write_seconds=1000)
    assert len(store.done()) == 6
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("decode", "feed"))]
    missing = len(_keys(dataset)) - 6
    assert _counts(_run(dataset, store)) == (missing, 6, missing, 0)
    assert store.done() == _keys(dataset)


def test_progress_goes_up_to_the_total(tmp_path):
    """Done, failed, rate and time left, after every batch and every bad video."""
    dataset, _ = _with_bad_videos(tmp_path)
    seen: list[Progress] = []
    _run(dataset, open_store(tmp_path), batch_size=1, on_progress=seen.append)
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
    assert (seen[-1].done, seen[-1].total, seen[-1].failed, seen[-1].seconds_left) == (18, 18, 12, 0)
    assert (seen[-1].videos, seen[-1].new_tokens > 0) == (8, True)
    assert all(0 <= progress.waiting <= 1 for progress in seen)


def test_another_recipe_describer_or_run_is_refused(tmp_path):
    """A store never mixes texts of different makers, and has one writer."""
    dataset, store = _pool(tmp_path, 1), open_store(tmp_path)
    other = RECIPE.model_copy(update={"key_prompt": "{cls}!"})
    with pytest.raises(CacheError, match="another recipe"):
        _run(dataset, store, recipe=other)
    with pytest.raises(CacheError, match="the describer is canned canned, expected canned 1"):
        _run(dataset, store, CannedDescriber(answer))
    with open_store(tmp_path).lock(), pytest.raises(CacheError, match=f"pid {os.getpid()}"):
        _run(dataset, store)
    with pytest.raises(CacheError, match="no video has subset 'test'"):
        _run(dataset, store, subset="test")


def _killed_in_between(folder: Path, rng: random.Random) -> None:
    """Start a run, and SIGKILL it at a random moment after one or two more parts."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.support.processes.slow_generate", str(folder)]

    def parts() -> int:
        return len(list(folder.glob("descriptions/*/part-*")))

    enough = parts() + rng.randint(1, 2)
    with subprocess.Popen(command, env=environment) as child:
        while parts() < enough and child.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.06))
        child.send_signal(signal.SIGKILL)


def test_killed_at_random_moments_no_key_is_lost_or_made_twice(tmp_path, monkeypatch):
    """SIGKILL, several times, then an undisturbed end: the table of a run that was never disturbed."""
    dataset = _pool(tmp_path, 12)
    (tmp_path / "videos" / "v4.mp4").write_bytes(b"")
    rng = random.Random(5)
    done: set[tuple] = set()
    for _ in range(3):
        _killed_in_between(tmp_path, rng)
        before, done = done, open_store(tmp_path).done()
        assert before < done < _keys(dataset)
    monkeypatch.setattr(PartStore, "compact", lambda self: 0)  # which would hide what stands there twice
    slow_generate.run(tmp_path, pause=0)
    store = open_store(tmp_path)

    whole = PartStore.create(tmp_path / "whole", RECIPE, store.schema, key=store.key)
    _run(dataset, whole, write_seconds=1000)
    assert _final(store).equals(_final(whole))
    assert store.done() == {key for key in _keys(dataset) if key[0] != "v4"}
    ok = Counter(
        (row["video_id"], row["action_class"], row["kind"])
        for part in store.folder.glob("part-*")
        for row in pq.ParquetFile(part).read().to_pylist()
        if row["status"] == "ok"
    )
    assert set(ok.values()) == {1}
    assert [path.name for path in store.folder.iterdir() if path.name.startswith(".unfinished")] == []


def _flagged(name: str, flags: tuple[Flag, ...], **changes: Any) -> Description:
    return replace(described(name), flags=flags, video_bytes=None, **changes)


def test_texts_of_little_use_are_asked_again_on_request(tmp_path):
    """With the settings for that, once; a cut one gets twice the tokens, and may be cut and asked again."""
    dataset = _pool(tmp_path, 1)
    store = open_store(tmp_path)
    asked: list[tuple[bool, int]] = []

    def rambling(request: Request) -> str:
        asked.append((request.again, request.max_new_tokens))
        return "run " * 12 if request.prompt.endswith("?") and not request.again else "a person dives into the water"

    describer = CannedDescriber(rambling, model_id="canned", model_revision="1")
    describe(dataset, store, describer)
    flags = {row["kind"]: set(row["flags"]) for row in store.rows()}
    assert flags == {"key": {"loops", "cut"}, "complete": {"loops"}}
    assert _counts(describe(dataset, store, describer)) == (0, 2, 0, 0), "not unless it is requested"

    asked.clear()
    assert _counts(describe(dataset, store, describer, again=("loops",))) == (2, 0, 2, 0)
    assert sorted(asked) == [(True, 8), (True, 20)]
    rows = {row["kind"]: row for row in store.rows()}
    assert rows["complete"]["attempt"] == 2
    assert rows["complete"]["description"] == "a person dives into the water"
    assert json.loads(rows["complete"]["generation"])["generation"]["repetition_penalty"] > 1
    assert _counts(describe(dataset, store, describer, again=("loops",))) == (0, 2, 0, 0)

    store.append([_flagged("v0", ("cut",), attempt=2)])
    asked.clear()
    describe(dataset, store, describer, again=("cut",))
    assert asked == [(True, 32)]


def test_a_second_question_that_fails_keeps_the_first_text(tmp_path):
    """Whatever it was, it is better than nothing."""

    def fails(requests: Sequence[Request]) -> None:
        raise ValueError("no")

    dataset, store = _pool(tmp_path, 1), open_store(tmp_path)
    _run(dataset, store)
    store.append([_flagged("v0", ("refusal",))])
    before = store.table()
    assert _counts(_run(dataset, store, Watched(fails), again=("refusal",))) == (1, 1, 0, 1)
    assert store.table() == before


def test_a_replaced_video_is_described_anew(tmp_path):
    """Noticed by its size, or by its stamp where the size is the same; not where nobody looks, nor where it is gone."""
    dataset, store = _pool(tmp_path, 2), open_store(tmp_path)
    _run(dataset, store)
    path = tmp_path / "videos" / "v0.mp4"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    videos = dataset.split("training")
    assert plan(videos, store).replaced == ()
    assert plan(videos, store, check_videos="stamp").replaced == ("v0",)
    write_video(path, 50)
    assert plan(videos, store, check_videos="no").total == 0
    assert _counts(_run(dataset, store)) == (2, 4, 2, 0)
    assert {row["duration"] for row in store.rows() if row["video_id"] == "v0"} == {2.0}
    path.unlink()
    assert plan(videos, store).total == 0


def test_shards_divide_the_videos_and_fill_one_table(tmp_path):
    """Each video belongs to one shard whatever is done already, and the table is that of one run."""
    dataset = _pool(tmp_path, 5)
    store, whole = open_store(tmp_path), PartStore.create(tmp_path / "whole", RECIPE, DESCRIPTIONS, key=DESCRIPTION_KEY)
    parts = [plan(dataset.videos, store, shard=Shard(index, 3)) for index in range(3)]
    ids = [{item.entry.video_id for item in part.work} for part in parts]
    assert set.union(*ids) == {f"v{number}" for number in range(5)}
    assert sum(len(part) for part in ids) == 5
    for index in range(3):
        _run(dataset, store, num_shards=3, shard_index=index)
        assert plan(dataset.videos, store, shard=Shard(index, 3)).total == 0
    _run(dataset, whole)
    assert _final(store).equals(_final(whole))
    with pytest.raises(CacheError, match="shard_index: found 3"):
        _run(dataset, store, num_shards=3, shard_index=3)


def test_a_model_that_only_fails_is_stopped(tmp_path):
    """Before hours are lost; its failures are rows, and bad videos in between do not count as its own."""

    def fails(requests: Sequence[Request]) -> None:
        raise ValueError("no attention mask")

    dataset, store = _pool(tmp_path, 6), open_store(tmp_path)
    with pytest.raises(ModelError, match=r"6 requests in a row failed.+no attention mask"):
        _run(dataset, store, Watched(fails), batch_size=2, stop_after=5)
    assert len(_failures(store)) == 6
    assert _counts(_run(dataset, store, Watched(fails), batch_size=2, stop_after=0)) == (18, 0, 0, 18)


def test_a_target_that_cannot_be_written_is_told_before_the_model_loads(tmp_path, monkeypatch):
    """No room, or no right to write."""
    dataset, store = _pool(tmp_path, 1), open_store(tmp_path)
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(priors.run.preflight.shutil, "disk_usage", lambda path: full)
    describer = Watched()
    with pytest.raises(CacheError, match=r"0 MiB are free, expected 64 MiB for 2 new descriptions"):
        _run(dataset, store, describer)
    monkeypatch.undo()
    monkeypatch.setattr(priors.run.preflight, "atomic_path", _read_only)
    with pytest.raises(CacheError, match=r"cannot be written .Read-only file system"):
        _run(dataset, store, describer)
    assert describer.batches == []


def _read_only(path: Path) -> Path:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_disk_that_fills_up_is_told_with_what_is_lost(tmp_path, monkeypatch, caplog):
    """What was written before is kept, and the next run makes the rest."""
    dataset, store = _pool(tmp_path, 4), open_store(tmp_path)
    write, count = store.append, iter(range(100))

    def full_after_two(rows, **options):
        if next(count) >= 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(rows, **options)

    monkeypatch.setattr(store, "append", full_after_two)
    (store.home / "runs.jsonl").mkdir()  # the log of the run cannot be written, either
    with pytest.raises(CacheError, match=r"3 finished descriptions could not be written .No space left"):
        _run(dataset, store, batch_size=3, write_seconds=1e-9)
    assert "the run's rates could not be written (Is a directory)" in caplog.text
    monkeypatch.undo()
    (store.home / "runs.jsonl").rmdir()
    assert len(store.done()) == 6
    assert _counts(_run(dataset, store)) == (6, 6, 6, 0)


def test_videos_that_are_all_missing_are_a_wrong_folder(tmp_path):
    """One message instead of a failed row for each; a single missing one is a failed row."""
    dataset, store = _pool(tmp_path, 2), open_store(tmp_path)
    (tmp_path / "videos").rename(tmp_path / "elsewhere")
    with pytest.raises(CacheError, match=r"none of the 2 videos to be described is there: v0 should be at .+--videos"):
        _run(dataset, store)
    assert store.table().num_rows == 0


def test_a_run_leaves_its_rate_for_the_next(tmp_path):
    """The last run that answered something."""
    dataset, store = _pool(tmp_path, 3), open_store(tmp_path)
    assert last_rate(store.home) is None
    summary = _run(dataset, store)
    rate = last_rate(store.home)
    assert rate is not None
    assert rate[0] == pytest.approx(8 / summary.progress.seconds, rel=0.2)
    line = json.loads((store.home / "runs.jsonl").read_text().splitlines()[-1])
    assert (line["done"], line["videos"], line["seconds_left"]) == (8, 3, 0)
    assert line["videos_per_second"] > 0
    assert line["tokens_per_second"] > 0
    assert 0 <= line["waiting"] <= 1
    with (store.home / "runs.jsonl").open("a") as file:
        file.write('{"run": "cut off')
    assert last_rate(store.home) == rate


def test_the_model_is_fed_while_it_works(tmp_path):
    """Decoding and preparing go on beside it: it hardly ever waits."""
    batches, overlaps = [], []

    class Slow(Watched):
        def prepare(self, requests: Sequence[Request]) -> Prepared:
            batches.append(len(requests))
            return super().prepare(requests)

        def describe(self, prepared: Prepared) -> list[Reply | Failure]:
            before = len(batches)
            time.sleep(0.1)
            overlaps.append(len(batches) - before)
            return super().describe(prepared)

    _run(_pool(tmp_path, 8), open_store(tmp_path), Slow(), batch_size=2)
    assert sum(overlaps) >= len(batches) // 3, "batches are prepared while another is described"
