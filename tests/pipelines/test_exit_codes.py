"""Exit codes reach whoever starts a command: schedulers by the commands of docs/clusters.md, people through make."""

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cache.errors import CacheError
from cache.files.stopping import STOPS
from pipelines import console
from tests.support.command_line import parse
from tests.support.paths import ROOT

DOCUMENT = (ROOT / "docs/clusters.md").read_text()
DOCUMENTED = re.findall(r"^\| ([\d, ]+) \|", DOCUMENT.partition("## Exit codes\n")[2], re.M)
SLURM = {"SLURM_SUBMIT_DIR": ".", "SLURM_ARRAY_TASK_COUNT": "16", "SLURM_ARRAY_TASK_ID": "3"}


def job_script() -> str:
    """The document's batch job."""
    (script,) = re.findall(r"^```bash\n(#!/bin/bash\n#SBATCH .*?)^```$", DOCUMENT, re.M | re.S)
    return script


def fake_python(folder: Path, body: str) -> Path:
    """A virtual environment in `folder` whose python is a shell script; it writes its arguments down."""
    path = folder / ".venv/bin/python"
    path.parent.mkdir(parents=True)
    path.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {folder}/arguments\n{body}\n')
    path.chmod(0o755)
    return path.parents[1]


@pytest.mark.parametrize("code", [0, 1, 2, 70, 138])
def test_a_batch_job_ends_as_its_command_does(tmp_path, code):
    """The documented script passes every code on, and its options are those of the command."""
    fake_python(tmp_path, f"exit {code}")
    done = subprocess.run(["bash", "-c", job_script()], cwd=tmp_path, env=SLURM, check=False)
    assert done.returncode == code
    flag, module, command, *options = (tmp_path / "arguments").read_text().splitlines()
    assert (flag, module, command) == ("-m", "pipelines", "priors")
    recipe = parse("priors", *options).model_dump()
    assert (recipe["num_shards"], recipe["shard_index"]) == (16, 3)


def test_a_batch_job_passes_signals_on(tmp_path):
    """A signal to the script is one to the command, which chooses the exit code."""
    fake_python(tmp_path, "trap 'exit 143' TERM\necho ready\nwhile true; do sleep 0.05; done")
    with subprocess.Popen(
        ["bash", "-c", job_script()], cwd=tmp_path, env=SLURM, stdout=subprocess.PIPE, text=True
    ) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "ready\n"
        job.send_signal(signal.SIGTERM)
        assert job.wait(timeout=60) == 143


def installed(folder: Path) -> Path:
    """Take the folder's virtual environment for complete."""
    asked = subprocess.run(
        ["make", "--dry-run", "setup", f"VENV={folder}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    stamp = re.findall(r"touch (\S+)", asked.stdout)[-1]
    Path(stamp).touch()
    return folder


@pytest.mark.parametrize("code", [1, 2, 143])
def test_make_says_the_code_that_it_hides(tmp_path, code):
    """As the document has it: 2 to the shell, the command's own in the last line."""
    folder = installed(fake_python(tmp_path, f"exit {code}"))
    command = ["make", "inspect", f"VENV={folder}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f"Error {code}")


def test_every_code_of_a_command_is_documented():
    """Those of the console stand in the document's table."""
    told = {int(code) for cell in DOCUMENTED for code in cell.split(",")}
    assert {0, 1, console.BAD_INPUT, console.DEFECT, console.INTERRUPTED, *(128 + signum for signum in STOPS)} <= told


@pytest.mark.parametrize(
    ("raised", "code"), [(None, 1), (CacheError("no such file"), console.BAD_INPUT), (KeyError("x"), console.DEFECT)]
)
def test_a_defect_is_no_failed_row(monkeypatch, capsys, raised, code):
    """A command that is done but for failed rows ends with 1; a traceback has a code of its own."""
    from pipelines.runs.compare import CompareRun

    def main(recipe: CompareRun) -> int:
        if raised is not None:
            raise raised
        return 1

    monkeypatch.setattr(sys, "argv", shlex.split("compare --runs a"))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            console.launch("compare", CompareRun, main)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == code
    assert ("Traceback" in capsys.readouterr().err) == (code == console.DEFECT)
