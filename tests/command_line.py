"""The parsers of the commands, without starting a process for each."""

from collections.abc import Callable

import tyro

from cache.recipe import Recipe
from pipelines import presets

COMMANDS: dict[str, Callable[[presets.Preset], Recipe]] = {
    "import_dataset": lambda preset: preset.import_dataset(),
    "import_checkpoint": lambda preset: preset.import_checkpoint(),
    "generate": lambda preset: preset.priors(),
    "encode": lambda preset: preset.features(),
    "train": lambda preset: preset.train(),
    "evaluate": lambda preset: preset.evaluate(),
    "diagnose": lambda preset: preset.diagnose(),
    "report": lambda preset: preset.report(),
    "experiments.run": lambda preset: preset.tables(),
    "compare": lambda preset: preset.compare(),
    "inspect_cache": lambda preset: preset.inspect(),
    "migrate": lambda preset: preset.migrate(),
    "export": lambda preset: preset.export(),
}


def parse(command: str, *arguments: str) -> Recipe:
    """What `python -m pipelines.<command>` makes of its arguments; SystemExit where it refuses them."""
    return tyro.extras.overridable_config_cli(presets.choices(COMMANDS[command]), args=arguments)
