"""SIGKILL at random moments: the whole run, workers of Ray, decoders. Nothing may be lost, made twice or left behind.

`python -m benchmarks.kill [--engine local|ray|cluster] [--times 20] [--seed 0]` prints a table and exits with 1 if
anything differs from an undisturbed run. ray: each run starts a Ray of its own. cluster: runs meet one that stays, so
that workers outlive the run that is killed.
"""

from __future__ import annotations

import argparse
import functools
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
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil
import pyarrow.parquet as pq

from benchmarks.canned import RECIPE, SETTINGS, load
from cache.annotations import Dataset, VideoEntry
from cache.schema import DESCRIPTION_KEY, DESCRIPTIONS
from cache.store import PartStore
from priors.decode_pool import DecodeRecipe
from priors.generate import Engine, LocalEngine, generate
from priors.recipe import RayRecipe, RunRecipe
from tests.videos import cut, write_video

EngineName = Literal["local", "ray", "cluster"]
Victim = Literal["run", "worker", "decoder"]
LATENCY = 0.4
"""Seconds a batch."""
ENDED_SECONDS = 30.0
"""In which every process of a killed run has to be gone."""
TITLES = {"worker": "MapWorker", "decoder": "priors.decode_worker"}


@dataclass
class Tally:
    """What happened."""

    kills: Counter[Victim] = field(default_factory=Counter)
    rounds: int = 0
    starts: int = 0
    slowest_end: float = 0.0
    """Most seconds until the last process of a killed run was gone."""
    faults: list[str] = field(default_factory=list)


def make_dataset(folder: Path, videos: int) -> Dataset:
    """Short clips of 8 kinds under many names, and some that cannot be read."""
    clips = [write_video(folder / f"clip{number}.mp4", 10 + 5 * number) for number in range(8)]
    empty, garbage = folder / "empty.mp4", folder / "garbage.mp4"
    empty.write_bytes(b"")
    garbage.write_bytes(random.Random(0).randbytes(5000))
    bad = [empty, garbage, cut(write_video(folder / "long.mp4", 300, container={"movflags": "faststart"}), 0.6)]
    entries = []
    for number in range(videos):
        source = bad[number // 10 % 3] if number % 10 == 7 else clips[number % 8]
        path = folder / "videos" / f"v{number}.mp4"
        path.parent.mkdir(exist_ok=True)
        os.link(source, path)
        entries.append(VideoEntry(f"v{number}", "training", None, ("Dive",), (), path))
    dataset = Dataset("pool", ("Dive",), tuple(entries))
    dataset.save(folder / "annotations.json")
    return dataset


def make_engine(name: EngineName, address: str | None, latency: float) -> tuple[Engine, RunRecipe]:
    """The engine of a run that is killed, with small units and frequent writes."""
    run = RunRecipe(
        decode=DecodeRecipe(workers=2),
        write_seconds=0.5,
        ray=RayRecipe(address=address, replicas=2, videos_per_unit=3),
    )
    model = functools.partial(load, seconds=latency)
    if name == "local":
        return LocalEngine(lambda: model(SETTINGS), RECIPE, SETTINGS, run), run
    from priors.ray_engine import RayEngine

    return RayEngine(SETTINGS, RECIPE, run, load=model), run


class Uncompacted(PartStore):
    """Keeps its parts as they were written, to see what was made twice."""

    def compact(self) -> int:
        """Nothing."""
        return 0


def open_parts(root: Path) -> PartStore:
    """The store at `root`."""
    return Uncompacted.create(root, RECIPE, DESCRIPTIONS, key=DESCRIPTION_KEY)


def describe(
    folder: Path, store: PartStore, name: EngineName, address: str | None = None, latency: float = 0.0
) -> None:
    """One run, to its end."""
    engine, run = make_engine(name, address, latency)
    generate(Dataset.load(folder / "annotations.json"), "training", store, engine, run)


class Round:
    """One store, filled by runs that are killed until one comes to its end."""

    def __init__(self, folder: Path, store: Path, name: EngineName, address: str | None, rng: random.Random) -> None:
        self._command = [sys.executable, "-m", "benchmarks.kill", "--engine", name, "--run", str(folder), str(store)]
        self._command += ["--address", address] if address else []
        self._name, self._store, self._rng = name, store, rng
        self._log = store.with_suffix(".log")

    def play(self, tally: Tally, times: int) -> None:
        """Kill until `times` is reached or the store is full."""
        tally.rounds += 1
        done: set[tuple] = set()
        while True:
            tally.starts += 1
            with self._log.open("ab") as log:
                child = subprocess.Popen(self._command, stderr=log, stdout=log, start_new_session=True)
            self._disturb(child, tally, times)
            code = child.wait()
            if code == 0:
                return
            before, done = done, open_parts(self._store).done()
            if lost := before - done:
                tally.faults.append(f"{len(lost)} finished descriptions were lost")
            if code != -9:
                tally.faults.append(f"a run ended with {code}: {self._log.read_text().strip()[-3000:]}")
                return

    def _disturb(self, child: subprocess.Popen, tally: Tally, times: int) -> None:
        """Kill decoders and workers of a run, then the run itself; leave it alone when it is enough."""
        among: tuple[Victim, ...] = ("decoder",) if self._name == "local" else ("worker", "decoder")
        victims: list[Victim] = [*self._rng.choices(among, k=self._rng.randint(0, len(among) + 1)), "run"]
        for victim in victims:
            if tally.kills.total() >= times or not self._wait_for_progress(child):
                return
            time.sleep(self._rng.uniform(0, 3 * LATENCY))
            if victim == "run":
                tally.slowest_end = max(tally.slowest_end, self._kill_run(child, tally))
            elif found := self._find(child, victim):
                self._rng.choice(found).kill()
            else:
                continue
            tally.kills[victim] += 1

    def _wait_for_progress(self, child: subprocess.Popen) -> bool:
        """Wait for one more part; False if the run has come to its end."""
        before = self._parts()
        while self._parts() <= before:
            if child.poll() is not None:
                return False
            time.sleep(0.02)
        return True

    def _kill_run(self, child: subprocess.Popen, tally: Tally) -> float:
        """Kill, and wait for what it leaves behind; returns the seconds. Workers of a cluster are left to the next."""
        family = psutil.Process(child.pid).children(recursive=True)
        child.kill()
        child.wait()
        started = time.monotonic()
        if self._name == "cluster" and self._rng.random() < 0.7:
            return 0.0
        family += _workers_of_cluster() if self._name == "cluster" else []
        family = [process for process in family if "Agent" not in _title(process)]  # Ray's own, gone after a minute
        _, alive = psutil.wait_procs(family, timeout=ENDED_SECONDS)
        tally.faults += [f"{' '.join(process.cmdline())[:80]} outlived its run" for process in alive]
        return time.monotonic() - started

    def _find(self, child: subprocess.Popen, victim: Victim) -> list[psutil.Process]:
        processes = psutil.Process(child.pid).children(recursive=True)
        if self._name == "cluster":
            processes = _workers_of_cluster()
        return [process for process in processes if TITLES[victim] in _title(process)]

    def _parts(self) -> int:
        return len(list(self._store.glob("*/part-*")))


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
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


def check(store: PartStore, whole: PartStore, tally: Tally) -> None:
    """Hold a store that was killed over and over against one that was not."""
    if again := twice(store):
        tally.faults.append(f"{again} descriptions were made twice")
    names = [name for name in store.schema.names if name not in ("created_at", "made_by")]
    if not store.table(names).equals(whole.table(names)):
        tally.faults.append("the table differs from an undisturbed run's")
    if left := [path.name for path in store.folder.iterdir() if path.name.startswith((".unfinished", ".attempts"))]:
        tally.faults.append(f"files were left behind: {left}")


def twice(store: PartStore) -> int:
    """Keys with more than one ok row in the parts."""
    made = Counter[tuple]()
    for part in store.folder.glob("part-*"):
        table = pq.ParquetFile(part).read([*store.key, "status"])
        made.update(tuple(row.values())[:-1] for row in table.to_pylist() if row["status"] == "ok")
    return sum(count > 1 for count in made.values())


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
        whole = open_parts(folder / "whole")
        describe(folder, whole, "local")
        with cluster(name) as address:
            while tally.kills.total() < times and not tally.faults:
                root = folder / f"store{tally.rounds}"
                open_parts(root)
                Round(folder, root, name, address, rng).play(tally, times)
                check(open_parts(root), whole, tally)
    finally:
        shutil.rmtree(folder)
    return tally


def main() -> int:
    """Print what happened; 1 if anything was lost, made twice or left behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["local", "ray", "cluster"], default="local")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--videos", type=int, default=90)
    parser.add_argument("--run", nargs=2, type=Path, metavar=("FOLDER", "STORE"), help="one run, to be killed")
    parser.add_argument("--address", help="of a Ray cluster, for --run")
    choice = parser.parse_args()
    if choice.run:
        folder, root = choice.run
        store = open_parts(root)
        describe(folder, store, choice.engine, choice.address, LATENCY)
        return 0
    started = time.monotonic()
    tally = play(choice.engine, choice.times, choice.seed, choice.videos)
    rows = {
        "engine": choice.engine,
        "runs killed": tally.kills["run"],
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
