"""Commands were modules once (`python -m pipelines.train`): whoever still types that is told today's name."""

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
"""By the module's former name below `pipelines`, the command."""


class FormerNames:
    """Asked by the import system when no file has a name."""

    @staticmethod
    def find_spec(fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Raise ModuleNotFoundError that tells today's name of a former command; None for any other name."""
        command = FORMER.get(fullname.removeprefix("pipelines."))
        if not fullname.startswith("pipelines.") or command is None:
            return None
        raise ModuleNotFoundError(f"the command is `python -m pipelines {command}` now", name=fullname)


def tell() -> None:
    """Have former names told from now on."""
    if FormerNames not in sys.meta_path:
        sys.meta_path.append(FormerNames)
