"""The parsers of the commands, without starting a process for each."""

from cache.recipe import Recipe
from pipelines.__main__ import COMMANDS, choices
from pipelines.command_line import read_recipe


def parse(command: str, *arguments: str) -> Recipe:
    """What `python -m pipelines COMMAND` makes of its arguments; SystemExit where it refuses them."""
    recipe, _ = read_recipe(choices(COMMANDS[command], arguments), arguments, prog=command)
    return recipe
