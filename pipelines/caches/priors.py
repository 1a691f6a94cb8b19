"""Make the priors: the MLLM describes every video of a subset; the words of the descriptions get word vectors."""

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
    """Which videos are described, by which model, with which word vectors."""

    dataset: Path
    """Folder of the dataset: holds annotations.json and videos/, receives descriptions/ and embeddings/."""
    videos: Path | None = None
    """Folder of the videos; when not given, videos/ in the dataset's folder or the paths in the annotations."""
    subset: str = "training"
    """Subset that is described; training needs only its own."""
    describer: DescriberRecipe = DescriberRecipe()
    """Captioning model (MLLM)."""
    frames: FramesRecipe = FramesRecipe()
    """Frames that the model sees."""
    prompts: PromptsRecipe = PromptsRecipe()
    """Prompts."""
    glove: GloveRecipe
    """Word vectors."""
    embed: EmbedOptions = EmbedOptions()
    """Tables of embeddings."""
    dry_run: bool = False
    """Print what would be done and how long it would take, without doing it."""


def main(recipe: PriorsRun) -> int:
    """Describe and embed what is missing; 1 if failed rows remain."""
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
            on_words=lambda share: say(f"word vectors: {share:.0%} converted (only the first time)"),
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
    took = "unknown: no earlier run with these settings"
    if would.seconds is not None:
        took = f"{duration(would.seconds)}, at the rate of the run of {would.measured_by}"
    rows = [
        ("descriptions to make", str(would.plan.total)),
        ("videos to describe", str(len(would.plan.work))),
        ("of these, without a file", str(would.missing_videos)),
        ("already there", str(would.plan.skipped)),
        ("retried", str(would.plan.again)),
        ("videos whose file was replaced", str(len(would.plan.replaced))),
        ("model", f"{would.texts.model} ({would.texts.model_revision})"),
        ("disk space, at most", f"{would.bytes / 2**20:.1f} MiB"),
        ("time", took),
    ]
    table("Dry run: nothing was done", ["", ""], rows)
    say(f"descriptions would be written to {would.folder}")


def _print_summary(done: PriorsSummary) -> None:
    described, embedded, state = done.described, done.embedded, done.described.progress
    rows = [
        ("descriptions made", str(described.described)),
        ("already there", str(described.plan.skipped)),
        ("retried", str(described.plan.again)),
        ("failed", str(len(done.audit.failed))),
    ]
    if state.done:
        rows += [
            ("time (without model loading)", duration(state.seconds)),
            ("videos/s", f"{state.videos_per_second:.3g}"),
            ("new tokens/s", f"{state.tokens_per_second:.3g}" if state.new_tokens else "unknown"),
            ("model waiting for frames", f"{state.waiting:.1%} of the time"),
        ]
    if embedded is not None:
        known = f"{embedded.unknown / embedded.tokens:.1%} unknown" if embedded.tokens else "none"
        rows.append(("word vectors", embedded.word_vectors))
        rows.append(("words embedded", f"{embedded.tokens}, {known}"))
        if embedded.retired:
            rows.append(("embeddings removed (description no longer exists)", str(embedded.retired)))
    table("Priors", ["", ""], rows)
    if described.plan.replaced:
        say(f"described again, because their files were replaced: {', '.join(described.plan.replaced[:_VIDEOS_SHOWN])}")
    if embedded is not None and embedded.most_unknown:
        say("most frequent unknown words: " + ", ".join(f"{word} ({count})" for word, count in embedded.most_unknown))
    say(f"descriptions: {done.descriptions.folder}")
    say(f"embeddings: {embedded.folder}" if embedded is not None else "embeddings: written by the last shard")
    for line in (*done.audit.errors, *done.audit.warnings):
        say(f"note: {line}")


def _print_failures(done: PriorsSummary) -> None:
    failed = done.audit.failed
    if not failed:
        return
    rows = [[*key, reason] for key, reason in failed[:_FAILURES_SHOWN]]
    table("Failures: fix what the reasons name and run `make priors` again", ["video", "class", "kind", "reason"], rows)
    if len(failed) > _FAILURES_SHOWN:
        say(f"... and {len(failed) - _FAILURES_SHOWN} more; `make inspect` lists them all")
