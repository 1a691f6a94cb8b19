"""The priors: show every video of a subset to the MLLM, and cut what it says into words with vectors."""

from __future__ import annotations

from pathlib import Path

from pipelines.console import duration, progress, say, table
from priors.describers.recipe import DescriberRecipe
from priors.run.recipe import DataRecipe, PriorsRecipe, PromptsRecipe, RunRecipe
from priors.run.run_log import Progress
from priors.stage import Preview, PriorsSummary, make_priors, preview
from priors.video.frames import FramesRecipe
from priors.words.embed import EmbedOptions
from priors.words.glove import GloveRecipe

_FAILURES_SHOWN = 50
_VIDEOS_SHOWN = 10


class PriorsRun(RunRecipe):
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
    prompts: PromptsRecipe = PromptsRecipe()
    """What it is asked."""
    glove: GloveRecipe
    """Word vectors."""
    embed: EmbedOptions = EmbedOptions()
    """What is written of them."""
    dry_run: bool = False
    """Say what would be done and how long it would take, and do nothing."""


def main(recipe: PriorsRun) -> int:
    """Describe and embed what is missing; 1 while failed rows remain."""
    whole = PriorsRecipe(
        data=DataRecipe(folder=recipe.dataset, videos=recipe.videos, subset=recipe.subset),
        run=RunRecipe(**{name: getattr(recipe, name) for name in RunRecipe.model_fields}),
        **{name: getattr(recipe, name) for name in ("describer", "frames", "prompts", "glove", "embed")},
    )
    if recipe.dry_run:
        _print_preview(preview(whole))
        return 0
    with progress("priors", unit="descriptions") as report:
        done = make_priors(
            whole,
            on_progress=lambda state: report(state.done, state.total, _rates(state)),
            on_words=lambda share: say(f"word vectors: {share:.0%} converted, once"),
        )
    _print_summary(done)
    _print_failures(done)
    return 1 if done.audit.failed else 0


def _rates(state: Progress) -> str:
    return (
        f"{state.videos_per_second:.3g} videos/s, {state.tokens_per_second:.3g} tokens/s, "
        f"{state.waiting:.0%} of the time waiting for frames"
    )


def _print_preview(would: Preview) -> None:
    took = "unknown: no run of these settings yet"
    if would.seconds is not None:
        took = f"{duration(would.seconds)} at the rate of the run of {would.measured_by}"
    rows = [
        ("descriptions to make", str(would.plan.total)),
        ("of videos", str(len(would.plan.work))),
        ("of these without a file", str(would.missing_videos)),
        ("there already", str(would.plan.skipped)),
        ("asked again", str(would.plan.again)),
        ("videos replaced since", str(len(would.plan.replaced))),
        ("model", f"{would.texts.model} ({would.texts.model_revision})"),
        ("room needed, at most", f"{would.bytes / 2**20:.1f} MiB"),
        ("time", took),
    ]
    table("A dry run: nothing was done", ["", ""], rows)
    say(f"descriptions would go to {would.folder}")


def _print_summary(done: PriorsSummary) -> None:
    described, embedded, state = done.described, done.embedded, done.described.progress
    rows = [
        ("descriptions made", str(described.described)),
        ("there before", str(described.plan.skipped)),
        ("asked again", str(described.plan.again)),
        ("failed", str(len(done.audit.failed))),
    ]
    if state.done:
        rows += [
            ("took, the model's loading left out", duration(state.seconds)),
            ("videos/s", f"{state.videos_per_second:.3g}"),
            ("new tokens/s", f"{state.tokens_per_second:.3g}"),
            ("model waited for frames", f"{state.waiting:.1%} of the time"),
        ]
    if embedded is not None:
        known = f"{embedded.unknown / embedded.tokens:.1%} unknown" if embedded.tokens else "none"
        rows.append(("word vectors", embedded.word_vectors))
        rows.append(("words embedded", f"{embedded.tokens}, {known}"))
        if embedded.retired:
            rows.append(("texts taken back, which are gone", str(embedded.retired)))
    table("Priors", ["", ""], rows)
    if described.plan.replaced:
        say(f"described anew, for their files were replaced: {', '.join(described.plan.replaced[:_VIDEOS_SHOWN])}")
    if embedded is not None and embedded.most_unknown:
        say("most frequent unknown words: " + ", ".join(f"{word} ({count})" for word, count in embedded.most_unknown))
    say(f"descriptions: {done.descriptions.folder}")
    say(f"embeddings: {embedded.folder}" if embedded is not None else "embeddings: made by the last shard")
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
