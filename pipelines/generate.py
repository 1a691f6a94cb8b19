"""The priors: show every video of a subset to the MLLM, and cut what it says into words with vectors."""

from __future__ import annotations

from pathlib import Path

from pydantic import PositiveFloat, PositiveInt

from cache.recipe import Recipe
from pipelines.console import duration, launch, progress, say, table
from priors.describer import DescriberRecipe
from priors.frames import FramesRecipe
from priors.glove import GloveRecipe
from priors.recipe import DataRecipe, PriorsRecipe
from priors.stage import PriorsSummary, make_priors

_FAILURES_SHOWN = 50


class PriorsRun(Recipe):
    """What is described, by which model, with which word vectors."""

    dataset: Path
    """Folder of the dataset: holds annotations.json and videos/, receives descriptions/ and embeddings/."""
    videos: Path | None = None
    """Folder of the videos; videos/ in the dataset's folder, or where the annotations say, when not given."""
    subset: str = "training"
    """Subset that is described; training needs no other."""
    describer: DescriberRecipe = DescriberRecipe()
    """The model."""
    frames: FramesRecipe = FramesRecipe()
    """What it sees."""
    glove: GloveRecipe
    """Word vectors."""
    decode_threads: PositiveInt = 2
    """Videos decoded at once, ahead of the model."""
    write_seconds: PositiveFloat = 2.0
    """Finished rows are written this often; a kill loses no more than that."""


def main(recipe: PriorsRun) -> int:
    """Describe and embed what is missing; 1 while failed rows remain."""
    whole = PriorsRecipe(
        data=DataRecipe(folder=recipe.dataset, videos=recipe.videos, subset=recipe.subset),
        **{name: getattr(recipe, name) for name in ("describer", "frames", "glove", "decode_threads", "write_seconds")},
    )
    with progress("priors", unit="descriptions") as report:
        done = make_priors(whole, on_progress=lambda state: report(state.done, state.total))
    _print_summary(done)
    _print_failures(done)
    return 1 if done.audit.failed else 0


def _print_summary(done: PriorsSummary) -> None:
    described, embedded = done.described, done.embedded
    known = f"{embedded.unknown / embedded.tokens:.1%} unknown" if embedded.tokens else "none"
    rows = [
        ("descriptions made", str(described.described)),
        ("there before", str(described.skipped)),
        ("failed", str(len(done.audit.failed))),
        ("new tokens", str(described.new_tokens)),
        ("took", duration(described.seconds)),
        ("of that waiting for frames", duration(described.decode_wait_seconds)),
        ("words embedded", f"{embedded.tokens}, {known}"),
    ]
    table("Priors", ["", ""], rows)
    if embedded.most_unknown:
        say("most frequent unknown words: " + ", ".join(f"{word} ({count})" for word, count in embedded.most_unknown))
    say(f"descriptions: {done.descriptions.folder}")
    say(f"embeddings: {embedded.folder}")
    for line in (*done.audit.errors, *done.audit.warnings):
        say(f"note: {line}")


def _print_failures(done: PriorsSummary) -> None:
    failed = done.audit.failed
    if not failed:
        return
    rows = [[*key, reason] for key, reason in failed[:_FAILURES_SHOWN]]
    table("Failures: put the videos right and run `make priors` again", ["video", "class", "kind", "reason"], rows)
    if len(failed) > _FAILURES_SHOWN:
        say(f"... and {len(failed) - _FAILURES_SHOWN} more; `make inspect` lists them all")


if __name__ == "__main__":
    from pipelines import generate, presets

    launch("generate", presets.choices(lambda preset: preset.priors()), generate.main)
