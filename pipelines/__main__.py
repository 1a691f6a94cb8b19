"""`python -m pipelines COMMAND PRESET --options`: all commands by name, and the presets that each can start from.

Only this file knows both. No command and no library is imported before a command is chosen.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pipelines.asked import asked_encoders, asked_fields, asked_host, asked_settings, asked_tuned
from pipelines.terminal import attended

if TYPE_CHECKING:
    from pipelines.experiments.arms import TableName

Arguments = Sequence[str]
"""What follows the command on the command line."""


@dataclass(frozen=True)
class Command:
    """One command."""

    name: str
    about: str
    """What it does, in one line."""
    module: str
    """Module below `pipelines`; its `main` takes the recipe."""
    start: Callable[[Any, Arguments], Any] | None
    """Returns the recipe (config) of a preset, before options change it; None for a command without presets."""
    recipe: str = ""
    """Name of the recipe's class in the module, for a command without presets."""
    finish: Callable[[Any, Arguments], Any] = lambda recipe, arguments: recipe
    """Applied to the recipe after the options are read."""
    default: str | None = None
    """Preset that is used when none is named; None where one must be named."""
    demo: bool = False
    """Whether only the presets of the demo have it."""


def _tuned(preset: Any, arguments: Arguments) -> Path | None:
    return asked_tuned(arguments, preset.dataset, found=preset.finds_tuned)


def _table(name: TableName, about: str) -> Command:
    return Command(
        name,
        about,
        "experiments.make",
        lambda preset, arguments: preset.tables(asked_settings(arguments), _tuned(preset, arguments)),
        finish=lambda recipe, arguments: recipe.of(name).with_options(asked_fields(arguments)),
    )


GROUPS: Mapping[str, tuple[Command, ...]] = {
    "Prepare data": (
        Command(
            "videos",
            "Render the demo's videos and annotations.",
            "demo.world.render",
            lambda p, _: p.videos(),
            demo=True,
        ),
        Command(
            "import-dataset",
            "Turn a dataset in a public layout, or a folder of videos with labels, into annotations and features.",
            "caches.import_dataset",
            lambda p, _: p.import_dataset(),
            default="thumos14",
        ),
        Command(
            "features",
            "Encode every video as snippet features.",
            "caches.features",
            lambda preset, arguments: preset.features_by(asked_encoders(arguments)),
        ),
        Command(
            "check-features",
            "Compare snippet features with those that somebody else made of the same videos.",
            "caches.check_features",
            lambda p, _: p.check_features(),
        ),
        Command(
            "migrate",
            "Rename the caches and tables of version 0.1, so that they are used and not made again.",
            "experiments.migrate",
            lambda p, _: p.migrate(),
        ),
    ),
    "Your own videos": (
        Command(
            "own",
            "A folder of videos and their labels, from import to segments.",
            "own.road",
            None,
            recipe="OwnRun",
        ),
    ),
    "Describe videos": (
        Command(
            "priors",
            "Describe the training videos with a video MLLM and look up the word vectors.",
            "caches.priors",
            lambda p, _: p.priors(),
        ),
        Command(
            "import",
            "Import descriptions that were made elsewhere.",
            "caches.import_descriptions",
            lambda p, _: p.import_descriptions(),
        ),
        Command(
            "inspect",
            "Show what the caches hold: counts, failures, samples; --html writes a page.",
            "caches.inspect",
            lambda p, _: p.inspect(),
        ),
        Command(
            "export",
            "Write the descriptions as JSONL or as a Hugging Face dataset.",
            "caches.export",
            lambda p, _: p.export(),
        ),
    ),
    "Train": (
        Command(
            "train",
            "Train MLLM4WTAL, or a host (baseline method) alone.",
            "runs.train",
            lambda preset, arguments: preset.train_on(
                asked_host(arguments), asked_settings(arguments), _tuned(preset, arguments)
            ),
            finish=lambda recipe, arguments: recipe.refuse_both(asked_fields(arguments)),
        ),
        Command(
            "lr-range",
            "Look for a learning rate of the host: a short training whose rates rise (range test).",
            "runs.lr_range",
            lambda preset, arguments: preset.lr_range(asked_host(arguments), asked_settings(arguments)),
        ),
        Command(
            "tune",
            "Choose settings of a host from video labels alone: trials, a page, and tuned.json.",
            "tuning.tune",
            lambda preset, arguments: preset.tune(asked_host(arguments)),
        ),
        Command(
            "import-checkpoint",
            "Convert weights saved by a host's public code into a run.",
            "runs.import_checkpoint",
            lambda p, _: p.import_checkpoint(),
            default="thumos14",
        ),
    ),
    "Evaluate": (
        Command(
            "eval",
            "Localize actions in the test videos and print the mAP.",
            "runs.evaluate",
            lambda p, _: p.evaluate(),
            finish=lambda recipe, arguments: recipe.as_tuned(asked_fields(arguments)),
        ),
        Command(
            "export-model",
            "Write a trained model as an ONNX file, checked against PyTorch.",
            "runs.export_model",
            lambda p, _: p.export_model(),
            finish=lambda recipe, arguments: recipe.as_tuned(asked_fields(arguments)),
        ),
        Command(
            "evaluate-file",
            "Score a results JSON (ActivityNet format) of any program.",
            "runs.evaluate_file",
            None,
            recipe="EvaluateFileRun",
        ),
        Command(
            "diagnose",
            "Analyse detections: error types, false negatives, incompleteness and over-completeness.",
            "runs.diagnose",
            lambda p, _: p.diagnose(),
        ),
    ),
    "Predict": (
        Command(
            "predict",
            "Find actions in new videos with a trained run: JSON, CSV, subtitles and pages.",
            "predicting.predict",
            None,
            recipe="PredictRun",
            finish=lambda recipe, arguments: recipe.as_trained(asked_fields(arguments)),
        ),
        Command(
            "push",
            "Upload the inference part of a run to the Hugging Face Hub, with a model card.",
            "predicting.push",
            None,
            recipe="PushRun",
        ),
    ),
    "Look at results": (
        Command(
            "report", "Write an HTML report of a run: runs/NAME/report.html.", "runs.report", lambda p, _: p.report()
        ),
        Command(
            "compare",
            "Print the mAP of several runs side by side; --html writes a page.",
            "runs.compare",
            lambda p, _: p.compare(),
        ),
    ),
    "Reproduce": (
        Command(
            "demo", "Run the full pipeline on the embedded demo.", "demo.pipeline", lambda p, _: p.demo(), demo=True
        ),
        _table("table3", "Train the paper's Table 3: host alone, + head, + KSM, + CSR, + both."),
        _table("table4", "Train the paper's Table 4: every host alone and with MLLM4WTAL."),
        _table("table5", "Train the paper's Table 5: priors of the MLLM, class names, template."),
        _table("ablations", "Train ablations of single options of the full model."),
    ),
}
"""The commands, grouped by task."""

COMMANDS: Mapping[str, Command] = {command.name: command for group in GROUPS.values() for command in group}
"""The commands by name."""


def usage() -> str:
    """What `--help` prints."""
    lines = ["usage: python -m pipelines COMMAND PRESET --options", ""]
    for title, commands in GROUPS.items():
        lines += [f"{title}:", *(f"  {command.name:18} {command.about}" for command in commands), ""]
    return "\n".join([*lines, "Presets and options of a command: python -m pipelines COMMAND --help"])


def choices(command: Command, arguments: Arguments) -> dict[str, tuple[str, Any]]:
    """The presets of a command: name -> (title, recipe)."""
    from pipelines.presets.demo import Demo
    from pipelines.presets.known import PRESETS

    start = command.start
    assert start is not None
    having = [preset for preset in PRESETS if isinstance(preset, Demo) or not command.demo]
    return {preset.name: (preset.title, start(preset, arguments)) for preset in having}


def main(arguments: Arguments) -> NoReturn:
    """Run a command and exit; exit code 2 if there is no command of that name."""
    attended(lambda: _run(arguments))


def _run(arguments: Arguments) -> NoReturn:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        sys.exit(0 if arguments else 2)
    name, *options = arguments
    command = COMMANDS.get(name.replace("_", "-"))
    if command is None:
        near = get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else "`python -m pipelines --help` lists them"
        print(f"python -m pipelines: found no command {name!r}; {hint}", file=sys.stderr)
        sys.exit(2)
    from cache.errors import UserError
    from pipelines.console import BAD_INPUT, fail, launch

    module = import_module(f"pipelines.{command.module}")
    try:
        presets = getattr(module, command.recipe) if command.start is None else choices(command, options)
    except UserError as error:  # --host names a class outside the repository that cannot be imported
        fail(str(error))
        sys.exit(BAD_INPUT)
    launch(
        command.name,
        presets,
        lambda recipe: module.main(command.finish(recipe, options)),
        arguments=options,
        about=command.about,
        default=command.default,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
