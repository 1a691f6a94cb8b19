"""How commands begin and end: exit codes, messages, progress, and stages that run side by side."""

import errno
import os
import re
import signal
import time
from pathlib import Path

import av
import numpy as np
import pytest

from cache.annotations import Dataset, VideoEntry
from cache.errors import CacheError
from cache.files.stopping import STOPS
from pipelines import console, stages
from pipelines.caches import inspect as inspect_cache
from pipelines.caches import priors as generate
from priors import stage
from priors.describers.canned import CannedDescriber
from priors.describers.recipe import DescriberRecipe
from priors.run.recipe import DescriptionRecipe, PromptsRecipe
from priors.video.decode_pool import DecodeRecipe
from priors.video.frames import FramesRecipe
from priors.words.glove import GloveRecipe


def guarded_by(error: BaseException) -> int:
    """Exit code of a command that raises `error`."""

    def work() -> int:
        raise error

    return console.guarded(work)


def test_user_errors_end_as_one_message_with_exit_code_2(capsys):
    """No traceback, nothing on stdout, and square brackets in the message stay text."""
    assert guarded_by(CacheError("a.json: found [red]3[/], expected 4; run `make priors`")) == 2
    captured = capsys.readouterr()
    assert captured.err == "a.json: found [red]3[/], expected 4; run `make priors`\n"
    assert captured.out == ""


def test_errors_of_the_operating_system_name_the_file(capsys):
    """A full disk or a missing file is no defect of the program."""
    assert guarded_by(FileNotFoundError(2, "No such file or directory", "x.mp4")) == 2
    assert "x.mp4" in capsys.readouterr().err
    assert guarded_by(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "part-1.parquet")) == 2
    told = "[Errno 28] No space left on device: 'part-1.parquet'; free space and run the same command again\n"
    assert capsys.readouterr().err == told


def test_a_defect_keeps_its_traceback():
    """Only errors raised on purpose are turned into messages."""
    with pytest.raises(ZeroDivisionError):
        guarded_by(ZeroDivisionError())


def test_ctrl_c_says_how_to_go_on(capsys):
    """Exit code 130, as shells have it."""
    assert console.guarded(lambda: (_ for _ in ()).throw(KeyboardInterrupt), go_on="Again: make train") == 130
    assert capsys.readouterr().err == "Stopped. Again: make train\n"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_signals_of_schedulers_end_a_command_as_ctrl_c_does(name: str, capsys):
    """With the exit code that shells have for each, and its name in the message."""
    signum, before = signal.Signals[name], {one: signal.getsignal(one) for one in STOPS}
    try:
        assert console.guarded(lambda: signal.raise_signal(signum)) == 128 + signum
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert capsys.readouterr().err.startswith(f"Stopped by {name}. Finished work is kept")


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1)])
def test_a_command_that_ends_by_itself_chooses_its_exit_code(result, code):
    """None means success."""
    assert console.guarded(lambda: result) == code


def test_progress_without_a_terminal_says_how_much_is_done(capsys):
    """Logs get plain lines: the last one tells the whole number and the rate."""
    with console.progress("priors", unit="videos") as report:
        for done in range(1, 4):
            time.sleep(0.01)
            report(done, 3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("priors 3/3 ")
    assert lines[-1].endswith(" videos/s")
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.25, "8.2 s"), (185, "3 min 05 s"), (7800, "2 h 10 min"), (59.99, "60.0 s")]
)
def test_durations_read_well(seconds, text):
    """Seconds, minutes with seconds, hours with minutes."""
    assert console.duration(seconds) == text


def programs_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **programs: str) -> stages.Stage:
    """A stage of small programs, found as modules of a folder of their own."""
    for name, text in programs.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return stages.Stage("both", tuple(stages.Task(name, (name,)) for name in programs))


def test_commands_of_a_stage_run_side_by_side(tmp_path, monkeypatch, capsys):
    """Each waits for a file that the other writes, so neither could end alone; their lines carry their names."""
    wait = "import time; from pathlib import Path\nPath({mine!r}).touch()\n"
    wait += "while not Path({other!r}).exists(): time.sleep(.01)\nprint('met')"
    one, two = str(tmp_path / "1"), str(tmp_path / "2")
    both = programs_of(
        tmp_path, monkeypatch, first=wait.format(mine=one, other=two), second=wait.format(mine=two, other=one)
    )
    stages.run_stage(both, environment={}, remedy="")
    assert sorted(capsys.readouterr().out.splitlines()) == ["[first] met", "[second] met"]


def test_a_failed_command_ends_its_stage(tmp_path, monkeypatch):
    """The other command is stopped, and the error names the one that failed with its exit code."""
    both = programs_of(tmp_path, monkeypatch, bad="raise SystemExit(3)", long="import time; time.sleep(60)")
    start = time.monotonic()
    with pytest.raises(stages.StageError, match=r"bad ended with exit code 3; its command: python -m bad"):
        stages.run_stage(both, environment={}, remedy="")
    assert time.monotonic() - start < 30


def write_video(path: Path) -> None:
    """One second of grey."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 128, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture
def priors_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> generate.PriorsRun:
    """Two training videos, one of them damaged, a describer that says the same of all, and three word vectors."""
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos/good.mp4")
    (tmp_path / "videos/bad.mp4").write_bytes(b"no video")
    entries = [VideoEntry(name, "training", None, ("HighKick",), (), None) for name in ("good", "bad")]
    Dataset("tiny", ("HighKick",), tuple(entries)).save(tmp_path / "annotations.json")
    (tmp_path / "words.txt").write_text("high 1 0\nkick 0 1\nhe 1 1\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.safetensors").write_bytes(b"")
    describer = DescriberRecipe(model=str(tmp_path / "model"))
    made = DescriptionRecipe.of(describer, FramesRecipe(), PromptsRecipe())
    canned = CannedDescriber(lambda _: "He kicks high.", model_id=made.model, model_revision=made.model_revision)
    monkeypatch.setattr(stage, "make_describer", lambda _: canned)
    glove = GloveRecipe(path=tmp_path / "words.txt")
    return generate.PriorsRun(dataset=tmp_path, describer=describer, glove=glove, decode=DecodeRecipe(workers=0))


def test_priors_end_with_1_while_failures_remain(priors_run, capsys):
    """The bad video stands in a table with its reason; once it is put right, the same command ends with 0."""
    assert generate.main(priors_run) == 1
    shown = capsys.readouterr().out
    assert "priors 4/4" in shown
    assert re.search(r"bad\W+HighKick\W+key", shown)
    write_video(priors_run.dataset / "videos/bad.mp4")
    assert generate.main(priors_run) == 0
    shown = capsys.readouterr().out
    assert "Failures" not in shown
    assert re.search(r"already there\W+2\D", shown)


def test_inspection_shows_coverage_failures_and_samples(priors_run, capsys):
    """What `make inspect` prints of a cache with one failed video."""
    generate.main(priors_run)
    capsys.readouterr()
    assert inspect_cache.main(inspect_cache.InspectRun(dataset=priors_run.dataset)) == 0
    shown = capsys.readouterr().out
    assert re.search(r"HighKick\W+1/2\W+1/2\W", shown)
    assert re.search(r"bad\W+HighKick\W+complete", shown)
    assert "key: He kicks high." in shown
    with pytest.raises(CacheError, match="did you mean 'HighKick'"):
        inspect_cache.main(inspect_cache.InspectRun(dataset=priors_run.dataset, action_class="Highkick"))
