"""The commands: `python -m pipelines COMMAND PRESET --options` parses, calls the other packages and prints.

No arithmetic here, and no models except those of the demo.
"""

from pipelines import former_names

former_names.answer()
