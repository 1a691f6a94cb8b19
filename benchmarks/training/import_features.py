"""Time and peak memory of importing THUMOS14's joint feature file, beside reading it whole with numpy.

`python -m benchmarks import_features [--annotations ../shared/data/thumos14/co2_layout] [--folder /tmp]` writes a file
of the real shapes (412 videos, ceil(25 duration / 16) snippets of 2048 numbers, 1.05 GiB), imports it with the command
of the project (once whole, once killed half-way with SIGKILL and started again), then reads it with np.load and saves
each array. Every step is a process of its own, and all that is written is deleted. Needs 3.5 GiB of disk.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NAME = "Thumos14reduced"
WRITE = """
import sys, numpy as np
annotations, path = sys.argv[1:]
lengths = np.ceil(np.load(annotations + "/duration.npy").ravel() * 25 / 16).astype(int)
pool = np.random.default_rng(0).standard_normal((lengths.max(), 2048), dtype=np.float32)
items = np.empty(len(lengths), object)
for row, length in enumerate(lengths):
    items[row] = pool[:length]
np.save(path, items, allow_pickle=True)
"""
WHOLE = """
import sys, numpy as np
path, folder = sys.argv[1:]
for row, features in enumerate(np.load(path, allow_pickle=True, encoding="bytes")):
    np.save(f"{folder}/{row}.npy", features)
"""


@dataclass(frozen=True)
class Cost:
    """What a process took."""

    seconds: float
    mib: float
    """Peak of its resident memory."""


def measure(command: Sequence[str], *, kill_at: tuple[Path, int] | None = None) -> Cost:
    """Run a command to its end, or until a folder holds so many .npy files. Raises RuntimeError if it fails."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    if kill_at is not None:
        folder, files = kill_at
        while process.poll() is None and len(list(folder.glob("*.npy"))) < files:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != (0 if kill_at is None else -signal.SIGKILL):
        raise RuntimeError(f"{' '.join(command)[:200]}: ended with {process.returncode}")
    return Cost(time.perf_counter() - begun, usage.ru_maxrss / 1024)


def main() -> None:
    """Print a row a way, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--annotations", type=Path, default=Path("../shared/data/thumos14/co2_layout"))
    parser.add_argument("--folder", type=Path, help="where to write; the system's temporary folder when not given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        shutil.copytree(options.annotations, folder / f"{NAME}-Annotations")
        joint = folder / f"{NAME}-I3D-JOINTFeatures.npy"
        measure(["-c", WRITE, str(options.annotations), str(joint)])
        print(f"{joint.stat().st_size / 2**30:.2f} GiB in one file", flush=True)
        command = [
            "-m",
            "pipelines.caches.import_dataset",
            "thumos14",
            "--source",
            temporary,
            "--allow-pickle",
            "--dataset",
        ]
        rows = {}
        for name, options_ in (("import", []), ("import, float16", ["--dtype", "float16"])):
            rows[name] = measure([*command, str(folder / "out"), *options_])
            shutil.rmtree(folder / "out")
        features = folder / "out" / "features"
        measure([*command, str(folder / "out")], kill_at=(features, 206))
        kept = len(list(features.glob("*.npy")))
        rows[f"import, killed with {kept} videos there, then"] = measure([*command, str(folder / "out")])
        shutil.rmtree(folder / "out")
        (folder / "plain").mkdir()
        rows["np.load, then np.save of each"] = measure(["-c", WHOLE, str(joint), str(folder / "plain")])
    for name, cost in rows.items():
        print(f"{name:<48} {cost.seconds:6.1f} s {cost.mib:8.0f} MiB at most")
    ours, whole = rows["import"], rows["np.load, then np.save of each"]
    print(
        f"memory: {whole.mib / ours.mib:.1f} times less than read whole; time: {ours.seconds / whole.seconds:.2f} times"
    )


if __name__ == "__main__":
    main()
