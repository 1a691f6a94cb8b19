"""The file map of docs/architecture.md, out of the docstrings: `python -m tests.support.file_map` writes it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "architecture.md"
PACKAGES = ("cache", "priors", "training", "pipelines")
COMMAND = "python -m tests.support.file_map"
_BETWEEN = re.compile(r"(<!-- file map: begin .*?-->\n```\n).*?(```\n<!-- file map: end -->)", re.S)
_WIDTH = 30


def file_map() -> str:
    """A line for every folder and module of the packages: its name, and the first line of its docstring."""
    return "\n".join(line for package in PACKAGES for line in _lines(ROOT / package, 0)) + "\n"


def _lines(folder: Path, depth: int) -> list[str]:
    indent = "  " * depth
    modules = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    inner = sorted(path.parent for path in folder.glob("*/__init__.py"))
    lines = [_line(f"{indent}{folder.name}/", folder / "__init__.py")]
    lines += [_line(f"{indent}  {path.name}", path) for path in modules]
    return lines + [line for path in inner for line in _lines(path, depth + 1)]


def _line(name: str, path: Path) -> str:
    told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert told, path
    first = told.splitlines()[0].replace("python -m", ".venv/bin/python -m")  # as every document has it
    return f"{name:{_WIDTH}} {first}"


def with_map(document: str, listed: str) -> str:
    """The document with that map between its marks."""
    replaced, count = _BETWEEN.subn(lambda marks: f"{marks[1]}{listed}{marks[2]}", document)
    assert count == 1, f"{DOCUMENT.name}: expected one pair of marks of the file map, found {count}"
    return replaced


if __name__ == "__main__":
    DOCUMENT.write_text(with_map(DOCUMENT.read_text(encoding="utf-8"), file_map()), encoding="utf-8")
