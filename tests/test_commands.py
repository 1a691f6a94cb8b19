"""How commands begin and end: exit codes, messages, progress, and stages that run side by side."""

import time
from pathlib import Path

import pytest

from cache.schema import CacheError
from pipelines import console, run_all

ROOT = Path(__file__).parents[1]


def guarded_by(error: BaseException) -> int:
    """Exit code of a command that raises `error`."""

    def work() -> int:
        raise error

    return console.guarded(work)


def test_errors_of_the_rooms_end_as_one_message_with_exit_code_2(capsys):
    """No traceback, nothing on stdout, and square brackets in the message stay text."""
    assert guarded_by(CacheError("a.json: found [red]3[/], expected 4; run `make priors`")) == 2
    captured = capsys.readouterr()
    assert captured.err == "a.json: found [red]3[/], expected 4; run `make priors`\n"
    assert captured.out == ""


def test_errors_of_the_operating_system_name_the_file(capsys):
    """A full disk or a missing file is no defect of the program."""
    assert guarded_by(FileNotFoundError(2, "No such file or directory", "x.mp4")) == 2
    assert "x.mp4" in capsys.readouterr().err


def test_a_defect_keeps_its_traceback():
    """Only errors raised on purpose are turned into messages."""
    with pytest.raises(ZeroDivisionError):
        guarded_by(ZeroDivisionError())


def test_ctrl_c_says_how_to_go_on(capsys):
    """Exit code 130, as shells have it."""
    assert console.guarded(lambda: (_ for _ in ()).throw(KeyboardInterrupt), go_on="Again: make train") == 130
    assert capsys.readouterr().err == "Stopped. Again: make train\n"


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


def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **programs: str) -> run_all.Stage:
    """A stage of small programs, found as modules of a folder of their own."""
    for name, text in programs.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return run_all.Stage("both", tuple(run_all.Task(name, (name,)) for name in programs))


def test_commands_of_a_stage_run_side_by_side(tmp_path, monkeypatch, capsys):
    """Each waits for a file that the other writes, so neither could end alone; their lines carry their names."""
    wait = "import time; from pathlib import Path\nPath({mine!r}).touch()\n"
    wait += "while not Path({other!r}).exists(): time.sleep(.01)\nprint('met')"
    one, two = str(tmp_path / "1"), str(tmp_path / "2")
    both = stage(tmp_path, monkeypatch, first=wait.format(mine=one, other=two), second=wait.format(mine=two, other=one))
    run_all.run_stage(both)
    assert sorted(capsys.readouterr().out.splitlines()) == ["[first] met", "[second] met"]


def test_a_failed_command_ends_its_stage(tmp_path, monkeypatch):
    """The other command is stopped, and the error names the one that failed with its exit code."""
    both = stage(tmp_path, monkeypatch, bad="raise SystemExit(3)", long="import time; time.sleep(60)")
    start = time.monotonic()
    with pytest.raises(run_all.StageError, match=r"bad ended with exit code 3; its command: python -m bad"):
        run_all.run_stage(both)
    assert time.monotonic() - start < 30
