"""SIGKILL at random moments: the whole run, workers of Ray, decoders. Nothing may be lost, made twice or left behind.

`python -m benchmarks kill [--engine local|ray|cluster] [--times 20] [--seed 0]` kills that many runs (while they start,
describe, merge parts or embed), and workers and decoders besides; prints a table and exits with 1 if anything differs
from an undisturbed run. ray: each run starts a Ray of its own. cluster: runs meet one that stays, so that workers
outlive the run that is killed.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from benchmarks.priors.canned import RECIPE
from benchmarks.priors.kill_runs import (
    DESCRIBED,
    LATENCY,
    MADE,
    EngineName,
    describe_and_embed,
    make_dataset,
    open_parts,
    tables,
    twice,
)

Victim = Literal["run", "worker", "decoder"]
START_SECONDS: dict[EngineName, float] = {"local": 4.0, "ray": 15.0, "cluster": 10.0}
"""About what a run takes until its first part is there."""
ENDED_SECONDS = 30.0
"""In which every process of a killed run has to be gone."""
TITLES = {"worker": "MapWorker", "decoder": "priors.video.decode_worker"}


@dataclass
class Tally:
    """What happened."""

    kills: Counter[Victim] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    """Of the runs that were killed."""
    rounds: int = 0
    starts: int = 0
    slowest_end: float = 0.0
    """Most seconds until the last process of a killed run was gone."""
    faults: list[str] = field(default_factory=list)


class Round:
    """One store, filled by runs that are killed until one comes to its end."""

    def __init__(self, folder: Path, store: Path, name: EngineName, address: str | None, rng: random.Random) -> None:
        self._command = [
            sys.executable,
            "-m",
            "benchmarks.priors.kill",
            "--engine",
            name,
            "--run",
            str(folder),
            str(store),
        ]
        self._command += ["--address", address] if address else []
        self._name: EngineName = name
        self._store, self._rng = store, rng
        self._log = store.with_suffix(".log")

    def play(self, tally: Tally, times: int) -> None:
        """Kill until `times` is reached or the store is full."""
        tally.rounds += 1
        done: set[tuple] = set()
        while True:
            tally.starts += 1
            with self._log.open("ab") as log:
                child = subprocess.Popen(self._command, stderr=log, stdout=log, start_new_session=True)
            moment = self._disturb(child, tally, times)
            code = child.wait()
            if code == 0:
                return
            tally.kills["run"] += 1
            tally.moments[moment] += 1
            before, done = done, open_parts(self._store).done()
            if lost := before - done:
                tally.faults.append(f"{len(lost)} finished descriptions were lost")
            if code != -9:
                tally.faults.append(f"a run ended with {code}: {self._log.read_text().strip()[-3000:]}")
                return

    def _disturb(self, child: subprocess.Popen, tally: Tally, times: int) -> str:
        """Kill decoders and workers of a run, then the run itself, and say when; leave it alone when it is enough."""
        if tally.kills["run"] >= times:
            return ""
        if self._rng.random() < 0.25:
            time.sleep(self._rng.uniform(0, START_SECONDS[self._name]))
            return self._kill_run(child, tally, "starting")
        among: tuple[Victim, ...] = ("decoder",) if self._name == "local" else ("worker", "decoder")
        for victim in self._rng.choices(among, k=self._rng.randint(0, len(among) + 1)):
            if not self._wait_for_progress(child):
                break
            time.sleep(self._rng.uniform(0, 3 * LATENCY))
            with suppress(psutil.NoSuchProcess, IndexError):  # those of a run that ends just now
                self._rng.choice(self._find(child, victim)).kill()
                tally.kills[victim] += 1
        if self._wait_for_progress(child):
            time.sleep(self._rng.uniform(0, 3 * LATENCY))
            return self._kill_run(child, tally, "describing")
        if self._rng.random() < 0.8:
            time.sleep(self._rng.uniform(0, LATENCY / 2))
            return self._kill_run(child, tally, "merging or embedding")
        return ""

    def _wait_for_progress(self, child: subprocess.Popen) -> bool:
        """Wait for one more part; False if there is none to come."""
        before = self._parts()
        while self._parts() <= before:
            if child.poll() is not None or (self._store / DESCRIBED).exists():
                return False
            time.sleep(0.02)
        return True

    def _kill_run(self, child: subprocess.Popen, tally: Tally, moment: str) -> str:
        """Kill, and wait for what it leaves behind. Workers of a cluster are left to the next, mostly."""
        if child.poll() is not None:  # it was faster
            return moment
        family = psutil.Process(child.pid).children(recursive=True)
        child.kill()
        child.wait()
        started = time.monotonic()
        if self._name == "cluster" and self._rng.random() < 0.7:
            return moment
        family += _workers_of_cluster() if self._name == "cluster" else []
        while (left := [title for title in map(_title, family) if title and "Agent" not in title]) and (
            time.monotonic() - started < ENDED_SECONDS  # agents are Ray's own, and gone after a minute
        ):
            time.sleep(0.05)
        tally.faults += [f"{title[:80].strip()} outlived its run" for title in left]
        tally.slowest_end = max(tally.slowest_end, time.monotonic() - started)
        return moment

    def _find(self, child: subprocess.Popen, victim: Victim) -> list[psutil.Process]:
        processes = psutil.Process(child.pid).children(recursive=True)
        if self._name == "cluster":
            processes = _workers_of_cluster()
        return [process for process in processes if TITLES[victim] in _title(process)]

    def _parts(self) -> int:
        return len(list((self._store / RECIPE.fingerprint()).glob("part-*")))


def _title(process: psutil.Process) -> str:
    """How it was called; the empty text once it has ended."""
    try:
        return " ".join(process.cmdline()) if process.is_running() else ""
    except psutil.Error:
        return ""


def _workers_of_cluster() -> list[psutil.Process]:
    """Workers of the cluster and their decoders, whoever started them."""
    workers = [process for process in psutil.process_iter() if "MapWorker" in _title(process)]
    return [*workers, *(child for worker in workers for child in _children(worker))]


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.Error:
        return []


def check(root: Path, whole: Path, tally: Tally) -> None:
    """Hold a store that was killed over and over against one that was not."""
    if again := twice(root / MADE):
        tally.faults.append(f"{again} descriptions were made twice")
    for (name, table), expected in zip(tables(root), tables(whole), strict=True):
        if not table.equals(expected[1]):
            tally.faults.append(f"the table {name} differs from an undisturbed run's")
    if left := [path.name for path in root.rglob(".*") if path.name.startswith((".unfinished", ".attempts"))]:
        tally.faults.append(f"files were left behind: {left}")


@contextmanager
def cluster(name: EngineName) -> Iterator[str | None]:
    """The address of a Ray that stays while runs come and go; None for the other engines."""
    if name != "cluster":
        yield None
        return
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # of the head and of the runs
    ray = [str(Path(sys.executable).parent / "ray")]
    port = random.SystemRandom().randint(20_000, 30_000)
    options = ["--head", f"--port={port}", "--include-dashboard=false", "--num-cpus=3", "--disable-usage-stats"]
    head = subprocess.Popen([*ray, "start", *options, "--block"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.2)
        time.sleep(5)  # the port opens before the machine is counted in
        yield f"127.0.0.1:{port}"
    finally:
        family = psutil.Process(head.pid).children(recursive=True)
        head.terminate()
        head.wait()
        for process in psutil.wait_procs(family, timeout=10)[1]:
            process.kill()


def play(name: EngineName, times: int, seed: int, videos: int) -> Tally:
    """Kill `times` times, over as many stores as it takes."""
    tally, rng = Tally(), random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="kill-"))
    try:
        make_dataset(folder, videos)
        describe_and_embed(folder, folder / "whole", "local")
        with cluster(name) as address:
            while tally.kills["run"] < times and not tally.faults:
                root = folder / f"store{tally.rounds}"
                open_parts(root)
                Round(folder, root, name, address, rng).play(tally, times)
                check(root, folder / "whole", tally)
    finally:
        shutil.rmtree(folder)
    return tally


def main() -> int:
    """Print what happened; 1 if anything was lost, made twice or left behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["local", "ray", "cluster"], default="local")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--videos", type=int, default=60)
    parser.add_argument("--run", nargs=2, type=Path, metavar=("FOLDER", "STORE"), help="one run, to be killed")
    parser.add_argument("--address", help="of a Ray cluster, for --run")
    choice = parser.parse_args()
    if choice.run:
        folder, root = choice.run
        describe_and_embed(folder, root, choice.engine, choice.address, LATENCY)
        return 0
    started = time.monotonic()
    tally = play(choice.engine, choice.times, choice.seed, choice.videos)
    rows = {
        "engine": choice.engine,
        "runs killed": tally.kills["run"],
        **{f"  while {moment}": count for moment, count in sorted(tally.moments.items())},
        "workers killed": tally.kills["worker"],
        "decoders killed": tally.kills["decoder"],
        "runs started": tally.starts,
        "stores filled": tally.rounds,
        "processes gone after, at most": f"{tally.slowest_end:.1f} s",
        "took": f"{time.monotonic() - started:.0f} s",
        "faults": len(tally.faults),
    }
    for label, value in rows.items():
        print(f"{label:<32}{value:>12}")
    for fault in tally.faults:
        print(f"fault: {fault}")
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
