"""Commands were modules once: `python -m pipelines.train` runs `python -m pipelines train`, and says so."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType

FORMER: Mapping[str, str] = {
    "train": "train",
    "evaluate": "eval",
    "evaluate_file": "evaluate-file",
    "generate": "priors",
    "encode": "features",
    "import_dataset": "import-dataset",
    "import_descriptions": "import",
    "import_checkpoint": "import-checkpoint",
    "inspect_cache": "inspect",
    "export": "export",
    "migrate": "migrate",
    "diagnose": "diagnose",
    "report": "report",
    "compare": "compare",
    "run_all": "demo",
    "demo.render": "videos",
    "experiments.run": "table3",
}
"""By the module's former name below `pipelines`, the command. Its tables were one, which `--table` chose between."""

_RUN = "from pipelines import former_names; former_names.run({name!r})"


class _Loader(InspectLoader):
    """Gives `python -m` the code that runs the command; there is no module to import."""

    def get_code(self, fullname: str) -> CodeType:
        return compile(_RUN.format(name=fullname.removeprefix("pipelines.")), f"<{fullname}>", "exec")

    def get_source(self, fullname: str) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        command = FORMER[module.__name__.removeprefix("pipelines.")]
        raise ModuleNotFoundError(f"the command is `python -m pipelines {command}`", name=module.__name__)


class FormerNames:
    """Import hook: called for a module name that no file has."""

    @staticmethod
    def find_spec(fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The way to a command under its former name; None for any other name."""
        package, _, name = fullname.partition(".")
        return ModuleSpec(fullname, _Loader()) if package == "pipelines" and name in FORMER else None


def answer() -> None:
    """Have former names answered from now on."""
    if FormerNames not in sys.meta_path:
        sys.meta_path.append(FormerNames)


def run(name: str) -> None:
    """Run the command of that former name on the arguments of the process."""
    command, arguments = _today(name, sys.argv[1:])
    print(f"python -m pipelines.{name} is `python -m pipelines {command}` now", file=sys.stderr)
    sys.argv[1:] = [command, *arguments]
    runpy.run_module("pipelines.__main__", run_name="__main__")


def _today(name: str, arguments: Sequence[str]) -> tuple[str, list[str]]:
    given = list(arguments)
    for place, argument in enumerate(given):
        if name == "experiments.run" and argument == "--table" and place + 1 < len(given):
            return given[place + 1], given[:place] + given[place + 2 :]
        if name == "experiments.run" and argument.startswith("--table="):
            return argument.partition("=")[2], given[:place] + given[place + 1 :]
    return FORMER[name], given
