"""In version 0.1 each command was a module (`python -m pipelines.train`): typing that shows the current command."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec

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
    "diagnose": "diagnose",
    "report": "report",
    "compare": "compare",
    "run_all": "demo",
    "demo.render": "videos",
    "migrate": "migrate",
    "experiments.run": "table3",
}
"""Module of version 0.1 below `pipelines` -> command."""


class FormerNames:
    """Import hook: called for a module name that no file has."""

    @staticmethod
    def find_spec(fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Raise ModuleNotFoundError that names the command for a module of version 0.1; None for any other name."""
        command = FORMER.get(fullname.removeprefix("pipelines."))
        if not fullname.startswith("pipelines.") or command is None:
            return None
        raise ModuleNotFoundError(f"the command is `python -m pipelines {command}`", name=fullname)


def tell() -> None:
    """Install the import hook."""
    if FormerNames not in sys.meta_path:
        sys.meta_path.append(FormerNames)
