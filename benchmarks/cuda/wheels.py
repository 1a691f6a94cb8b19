"""Wheels for benchmarks/cuda/check.sh: what the check needs beside PyTorch, for a machine without network.

`python -m benchmarks wheels [--python 3.12] [--have numpy pyarrow ...] [--folder wheels]` asks the installed
packages what they need, and downloads just those for Linux on x86-64, in the versions that are installed here. Torch
and what torch brings along stay out; so does what `--have` names, which the machine then must have.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

NEEDED = Path(__file__).with_name("requirements.txt")
"""What the packages cache and training import, and their tests."""
LINUX = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17, 12, 5)] + ["manylinux2014_x86_64"]


def plain(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(names: list[str], python: str, leave: set[str]) -> dict[str, str]:
    """These packages and all that they need, with the versions installed here, but for those to leave."""
    markers = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": "x86_64",
        "extra": "",
    }
    found: dict[str, str] = {}
    waiting = [plain(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found or name in leave:
            continue
        installed = distribution(name)
        found[name] = installed.version
        for text in installed.requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate(markers):
                waiting.append(plain(needed.name))
    return found


def main(python: str, have: list[str], folder: Path) -> None:
    """Download, and say what the folder weighs."""
    torch_brings = set(closure(["torch"], python, set()))
    needed = [Requirement(line).name for line in NEEDED.read_text().split()]
    packages = closure(needed, python, torch_brings - {"typing-extensions"} | {plain(name) for name in have})
    options = ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", python, "--quiet"]
    platforms = [option for platform in LINUX for option in ("--platform", platform)]
    wanted = [f"{name}=={version}" for name, version in sorted(packages.items())]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, *platforms, "-d", str(folder), *wanted], check=True
    )
    wheels = list(folder.glob("*.whl"))
    print(f"{folder}: {len(wheels)} wheels, {sum(wheel.stat().st_size for wheel in wheels) / 2**20:.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.12")
    parser.add_argument("--have", nargs="*", default=[])
    parser.add_argument("--folder", type=Path, default=Path("wheels"))
    arguments = parser.parse_args()
    main(arguments.python, arguments.have, arguments.folder)
