"""`python -m benchmarks NAME --options`, which is `make bench-NAME`, runs a benchmark whatever its folder."""

from __future__ import annotations

import ast
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent


def benchmarks() -> Mapping[str, Path]:
    """The files that can be run, by name."""
    files = sorted(path for path in HERE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py"))
    return {path.stem: path for path in files if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")}


def main(arguments: list[str]) -> None:
    """Run one, or list them all."""
    found = benchmarks()
    if not arguments or arguments[0] not in found:
        for name, path in found.items():
            told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            print(f"  {name:20} {told.splitlines()[0]}")
        named = arguments and arguments[0] not in ("-h", "--help")
        sys.exit(f"found no benchmark {arguments[0]!r}, expected one of these" if named else 0)
    module = ".".join(found[arguments[0]].relative_to(HERE.parent).with_suffix("").parts)
    sys.argv = [f"python -m benchmarks {arguments[0]}", *arguments[1:]]
    runpy.run_module(module, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
