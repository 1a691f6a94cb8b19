"""Which wheels of a folder an interpreter lacks: `python missing_wheels.py FOLDER` prints their paths, one a line.

Wanted are the packages of requirements.txt and what those among them that have to be installed need. What is there
in a version that serves stays, torch and its needs above all; pip itself would ask for those of torch again. It imports
nothing but the standard library and pip.
"""

from __future__ import annotations

import sys
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zipfile import ZipFile

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name, parse_wheel_filename

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def served(requirement: Requirement) -> bool:
    """Whether a version that will do is installed."""
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


def needs_of(wheel: Path) -> list[Requirement]:
    """What a wheel says that it needs here."""
    with ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist") or []
    needs = [Requirement(line) for line in lines]
    return [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]


def missing(folder: Path) -> list[Path]:
    """The wheels to install. Raises SystemExit naming a package that is neither installed nor in the folder."""
    wheels = {parse_wheel_filename(path.name)[0]: path for path in folder.glob("*.whl")}
    waiting = [Requirement(line) for line in REQUIREMENTS.read_text().split()]
    chosen: dict[str, Path] = {}
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in chosen or served(requirement):
            continue
        if name not in wheels:
            sys.exit(f"{requirement} is neither installed nor in {folder}/; fill it with `make cuda-wheels`")
        chosen[name] = wheels[name]
        waiting += needs_of(wheels[name])
    return sorted(chosen.values())


if __name__ == "__main__":
    print(*missing(Path(sys.argv[1])), sep="\n")
