"""Signals: a training ends between two steps, with a checkpoint, and says by which signal."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cache.errors import CacheError
from cache.files.lock import hold
from cache.files.stopping import STOPS, Stopped, deferred_stops
from pipelines.run_folder.recipe import TrainRun
from tests.support.data.toy_data import save_toy, tiny_recipe, toy_training_data
from tests.training.loop.test_fit import assert_same_run, checkpoint
from training.checkpoints.checkpoint import load_state
from training.checkpoints.folder import FOLDER, find_checkpoint
from training.loop.fit import fit

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Signals as in a terminal, even where the tests run in the background; put back afterwards."""
    before = {one: signal.getsignal(one) for one in STOPS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for one, handler in before.items():
        signal.signal(one, handler)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    root = tmp_path_factory.mktemp("whole")
    fit(toy_training_data(root / "features"), tiny_recipe(), run=root / "run")
    return root / "run"


@pytest.mark.parametrize("signum", SIGNALS)
def test_fit_saves_the_step_that_runs(whole: Path, tmp_path: Path, signum: signal.Signals):
    """A signal in step 5 ends the run after it; what it becomes when it goes on is, bit for bit, the whole run."""
    before = signal.getsignal(signum)

    def send(done: int, total: int, figures: Mapping[str, float]) -> None:
        if done == 5:
            signal.raise_signal(signum)

    data = toy_training_data(whole.parent / "features")
    with pytest.raises(Stopped, match="stopped after step 5 of 8") as stop:
        fit(data, tiny_recipe(), run=tmp_path, progress=send)
    assert stop.value.signum == signum
    assert stop.value.exit_code == 128 + signum
    state = load_state(checkpoint(tmp_path))
    assert (state.step, state.finished) == (5, False)
    assert signal.getsignal(signum) == before
    fit(data, tiny_recipe(), run=tmp_path)
    assert_same_run(whole, tmp_path)


def test_a_second_signal_does_not_wait(monkeypatch: pytest.MonkeyPatch):
    """For who can not wait for a long step; but one that comes at once is the first, told twice, as `make` does."""
    now = [100.0]
    monkeypatch.setattr("cache.files.stopping.time.monotonic", lambda: now[0])
    with deferred_stops() as stop:
        signal.raise_signal(signal.SIGTERM)
        now[0] += 0.5
        signal.raise_signal(signal.SIGTERM)
        assert stop.signum == signal.SIGTERM
        now[0] += 5
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGINT)


def test_an_ignored_signal_stays_ignored():
    """A shell tells its jobs in the background to ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with deferred_stops() as stop:
        signal.raise_signal(signal.SIGINT)
        assert not stop
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_second_trainer_of_a_run_is_refused(whole: Path, tmp_path: Path):
    """By the name of the first, before it touches anything; the first may be another process."""
    data = toy_training_data(whole.parent / "features")
    fit(data, tiny_recipe(), run=tmp_path)
    before = find_checkpoint(tmp_path)
    with hold(tmp_path / FOLDER), pytest.raises(CacheError, match=rf"being written by .*pid {os.getpid()}"):
        fit(data, tiny_recipe(), run=tmp_path, resume=False)
    assert find_checkpoint(tmp_path) == before


def test_make_train_ends_with_the_code_of_the_signal(tmp_path: Path):
    """The command itself, in a process of its own, stopped while it trains."""
    signum = signal.SIGUSR1
    save_toy(tmp_path / "toy")
    recipe = tiny_recipe().changed({"loop.steps": 400})
    run = TrainRun(dataset=tmp_path / "toy", run=tmp_path / "run", train=recipe)
    program = (
        "import sys; from pipelines.runs import train; from pipelines.console import guarded\n"
        "from pipelines.run_folder.recipe import TrainRun\n"
        "recipe = TrainRun.model_validate_json(sys.argv[1])\n"
        "sys.exit(guarded(lambda: train.main(recipe)))"
    )
    command = [sys.executable, "-c", program, run.model_dump_json()]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    history = tmp_path / "run" / "metrics.jsonl"
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not (history.exists() and history.stat().st_size) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signum)
        _, said = process.communicate()
    assert process.returncode == 128 + signum
    assert "Stopped" in said
    state = load_state(checkpoint(tmp_path / "run"))
    assert 0 < state.step < 400
    assert TrainRun.load(tmp_path / "run" / "recipe.json") == run
