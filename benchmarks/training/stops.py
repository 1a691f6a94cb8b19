"""Signals at random moments of a training and of a table: no step may be lost, and nothing may come out otherwise.

`python -m benchmarks stops [--times 10] [--signal TERM] [--steps 3000] [--seed 0]` sends the signal while the command
starts, trains, saves or ends, runs the same command again, and so on; after that many signals it lets the command end.
Prints what each left and exits with 1 if a step was lost, an exit code is another, or a weight differs by one bit from
those of a command that was never stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file
from torch import equal

from pipelines.experiments.grid import TableRun, cells
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs.evaluate import EvalRun
from tests.support.data.tiny_world import make_world, small_training
from training.checkpoints.folder import find_checkpoint, steps_taken
from training.logs.logs import CLOCK


def command_of(command: str, recipe: TrainRun | TableRun, file: Path) -> list[str]:
    """The command line that follows a recipe."""
    recipe.save(file)
    return [sys.executable, "-m", "pipelines", command, "--recipe", str(file)]


def undisturbed(command: Sequence[str], runs: Sequence[Path]) -> float:
    """Let the command end by itself; returns the seconds until its first step was told."""
    began, start = time.monotonic(), None
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if start is None and any(_steps(run)[0] for run in runs):
                start = time.monotonic() - began
            time.sleep(0.05)
    assert process.returncode == 0
    assert start is not None
    return start


def stop_and_go_on(
    command: Sequence[str], runs: Sequence[Path], *, start: float, times: int, signum: signal.Signals
) -> list[str]:
    """Send the signal `times` times at random moments, then let the command end; returns what was wrong."""
    wrong: list[str] = []
    sent = 0
    while sent < times:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        moment = random.uniform(0.4, 1.6) * start
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signum)
        _, said = process.communicate()
        if process.returncode == 0:
            return [*wrong, f"the command ended after {sent} signals; take more --steps"]
        sent += 1
        # before Python has taken over, the system ends the process, which shells tell alike
        if process.returncode not in (128 + signum, -signum):
            wrong.append(f"signal {sent}: exit code {process.returncode}: {said.strip()[-300:]}")
        steps = [_steps(run) for run in runs]
        wrong += [f"signal {sent}: told of step {told}, saved {saved}" for told, saved in steps if told > saved]
        shown = ", ".join(str(saved) for _, saved in steps)
        told = f"{signum.name} {sent} after {moment:5.1f} s: exit code {process.returncode}"
        print(f"  {told}, steps saved: {shown}", flush=True)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return wrong


def _steps(run: Path) -> tuple[int, int]:
    """Steps that metrics.jsonl tells of (a line a step), and those of the last checkpoint."""
    history = run / "metrics.jsonl"
    lines = history.read_text(encoding="utf-8").splitlines() if history.exists() else []
    taken = steps_taken(run)
    return (json.loads(lines[-1])["step"] if lines else 0), (taken[0] if taken else 0)


def differing(first: Path, second: Path) -> list[str]:
    """What differs between two runs: weights, averages, lines of metrics.jsonl."""
    found = []
    folders = [find_checkpoint(run) for run in (first, second)]
    if None in folders:
        return [f"{second}: no checkpoint"]
    names = [sorted(path.name for path in folder.glob("*.safetensors")) for folder in folders if folder is not None]
    if names[0] != names[1]:
        return [f"{second.name}: files {names[1]}, not {names[0]}"]
    for name in names[0]:
        one, other = (load_file(folder / name) for folder in folders if folder is not None)
        if one.keys() != other.keys() or not all(equal(one[key], other[key]) for key in one):
            found.append(f"{second.name}: {name} differs")
    return found if _told(first) == _told(second) else [*found, f"{second.name}: metrics.jsonl differs"]


def _told(run: Path) -> list[dict[str, float]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [{name: value for name, value in line.items() if name not in CLOCK} for line in lines]


def main() -> int:
    """A training, then a table of two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--signal", choices=("INT", "TERM", "USR1"), default="TERM")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    random.seed(asked.seed)
    signum = signal.Signals[f"SIG{asked.signal}"]
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    wrong = []
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        world = make_world(root / "world")
        recipe = small_training().changed(
            {"loop.steps": asked.steps, "loop.log_every": 1, "loop.checkpoint_every": 100}
        )
        training = [TrainRun(dataset=world, run=root / name, train=recipe) for name in ("whole", "parts")]
        commands = [command_of("train", one, root / f"{one.run.name}.json") for one in training]
        start = undisturbed(commands[0], [training[0].run])
        print(f"training of {asked.steps} steps, the first after {start:.1f} s", flush=True)
        wrong += stop_and_go_on(commands[1], [training[1].run], start=start, times=asked.times, signum=signum)
        wrong += differing(training[0].run, training[1].run)
        tables = []
        for name in ("table", "table-parts"):
            run = TrainRun(dataset=world, run=root / name, train=recipe)
            evaluate = EvalRun(run=root / name)
            tables.append(TableRun(train=run, evaluate=evaluate, arms=("host", "both"), seeds=1, validation=None))
        commands = [command_of("table3", one, root / f"{one.train.run.name}.json") for one in tables]
        whole, parts = ([cell.run.train.run for cell in cells(one)] for one in tables)
        start = undisturbed(commands[0], whole)
        print(f"table of {len(parts)} trainings, the first step after {start:.1f} s", flush=True)
        wrong += stop_and_go_on(commands[1], parts, start=start, times=asked.times, signum=signum)
        for one, other in zip(whole, parts, strict=True):
            wrong += differing(one, other)
    print("\n".join(wrong) or f"{2 * asked.times} signals: no step lost, all bits equal")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
