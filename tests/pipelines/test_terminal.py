"""Commands on terminals as people have them: any encoding, closed streams, readers that go away, few columns."""

import json
import os
import pty
import shlex
import struct
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

LABEL = "Saut à la perche 跳"
ENCODINGS = ["ascii", "latin-1", "cp1252", "utf-8"]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Scores a file of one detection, whose class has an accent."""
    folder = tmp_path_factory.mktemp("scored")
    one = {"label": LABEL, "segment": [1, 5]}
    video = {"subset": "testing", "duration": 20, "annotations": [one]}
    (folder / "annotations.json").write_text(json.dumps({"database": {"v": video}}))
    (folder / "detections.json").write_text(json.dumps({"results": {"v": [{**one, "score": 0.9}]}}))
    files = [f"--{name}={folder / name}.json" for name in ("detections", "annotations")]
    return [sys.executable, "-m", "pipelines", "evaluate-file", *files]


def environment(**changes: str) -> dict[str, str]:
    """The process's own, with these variables."""
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "TERM")}
    return {**kept, **changes}


def run(line: str, **changes: str) -> subprocess.CompletedProcess[bytes]:
    """A line of a shell."""
    return subprocess.run(["bash", "-c", line], cwd=ROOT, env=environment(**changes), capture_output=True, check=False)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_encoding(command: list[str], encoding: str):
    """A sign that it lacks is written as its escape; JSON stays JSON, and says the same."""
    table = run(shlex.join(command), PYTHONIOENCODING=encoding)
    assert (table.returncode, table.stderr.count(b"Traceback")) == (0, 0)
    assert LABEL.encode(encoding, "backslashreplace") in table.stdout
    document = run(shlex.join([*command, "--json"]), PYTHONIOENCODING=encoding)
    assert list(json.loads(document.stdout.decode(encoding))["per_class"]) == [LABEL]


@pytest.mark.parametrize(("closed", "shown"), [(">&-", b""), ("2>&-", b"100.0"), ("<&- >&- 2>&-", b"")])
def test_closed_streams(command: list[str], closed: str, shown: bytes):
    """What is said there is lost; nothing else is, and notes never go where results do."""
    done = run(f"{shlex.join(command)} {closed}")
    assert (done.returncode, shown in done.stdout, b"in whose videos" in done.stdout) == (0, True, False)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("asked", ["", "--json", "--help"])
def test_a_reader_that_went_away(command: list[str], asked: str):
    """The end of any tool in a pipe: quiet, with the code of SIGPIPE."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*command, *filter(None, [asked])], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert done.returncode == 141
    assert done.stderr.decode() in ("", "subset 'testing', in whose videos the detections lie\n")


def test_usage_without_a_reader_and_on_a_full_disk():
    """Before any command is chosen."""
    usage = shlex.join([sys.executable, "-m", "pipelines", "--help"])
    assert run(f"{usage} | true; exit ${{PIPESTATUS[0]}}").returncode in (0, 141)
    full = run(f"{usage} > /dev/full")
    assert full.returncode == 2
    assert full.stderr.decode().splitlines() == ["[Errno 28] No space left on device"]


def on_terminal(command: list[str], *, columns: int, **changes: str) -> str:
    """What a terminal of that width is shown."""
    import fcntl
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    with subprocess.Popen(command, cwd=ROOT, env=environment(**changes), stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = bytearray()
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the end, as Linux has it
                break
            if not piece:
                break
            shown += piece
    os.close(ours)
    assert process.returncode == 0
    return shown.decode()


@pytest.mark.parametrize("settings", [{"TERM": "xterm"}, {"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}])
def test_few_columns(command: list[str], settings: dict[str, str]):
    """No figure is broken apart or left out; a terminal without colours gets none."""
    shown = on_terminal(command, columns=20, **settings)
    assert shown.count("100.0") == 16
    assert "perche" in shown
    if settings["TERM"] == "dumb":
        assert "\x1b" not in shown
    assert not [code for code in ("\x1b[31", "\x1b[91") if "NO_COLOR" in settings and code in shown]


def test_names_are_no_pictures():
    """A class that looks like the name of an emoji, or like markup, is shown as it is."""
    code = "from pipelines.console import say, table; say(':dog: [red]'); table(':dog:', ['[b]'], [[':dog: [red]']])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout.count(":dog:"), done.stdout.count("[red]"), done.stdout.count("[b]")) == (3, 2, 1)
