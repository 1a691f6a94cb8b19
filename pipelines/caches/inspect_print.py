"""What `make inspect` prints: tables of an inspection, and the differences of two caches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cache.descriptions.audit import Coverage
from cache.descriptions.differences import Changed, Differences
from cache.descriptions.statistics import Spread, TextStatistics
from cache.tables.folders import CacheFolder
from cache.tables.schema import Kind
from cache.wording import amount
from pipelines.console import say, table

if TYPE_CHECKING:
    from pipelines.caches.inspection import Inspection, Said

_UNKNOWN_SHOWN = 15
_KEYS_SHOWN = 10


def print_inspection(found: Inspection) -> None:
    """Print everything, from the dataset down to single descriptions."""
    rows = [
        [one.subset, *map(str, (one.videos, one.with_file, one.with_features, one.video_labels, one.segments))]
        for one in found.subsets
    ]
    title = f"{found.dataset}: {amount(found.classes, 'class', 'classes')}"
    table(title, ["subset", "videos", "with file", "with features", "video labels", "segments"], rows)
    _print_folders("Descriptions, newest first", found.descriptions, found.looked_at)
    _print_folders("Embeddings, newest first", found.embeddings, found.words_of)
    say(f"\nDetails of {found.looked_at}")
    _print_coverage(found.coverage, found.subset)
    _print_state(found)
    _print_statistics(found.statistics)
    if found.tokens:
        unknown = sum(found.unknown_words.values())
        tokens = amount(found.tokens, "token is", "tokens are")
        say(f"{unknown / found.tokens:.1%} of {tokens} out of the vocabulary of the word vectors")
        if unknown:
            shown = list(found.unknown_words.items())[:_UNKNOWN_SHOWN]
            more = (
                f", and {len(found.unknown_words) - len(shown)} more" if len(found.unknown_words) > len(shown) else ""
            )
            say("  " + ", ".join(f"{word} ({count})" for word, count in shown) + more)
    _print_samples(found.samples)
    for line in found.audit.errors:
        say(f"stops training: {line}")
    for line in found.audit.warnings:
        say(f"note: {line}")


def print_differences(found: Differences, one: Path, other: Path) -> None:
    """Print counts, statistics side by side, and the least similar texts."""
    say(f"A: {one}\nB: {other}")
    counts = [
        ["only in A", str(len(found.only_one))],
        ["only in B", str(len(found.only_other))],
        ["same text", str(found.same)],
        ["changed text", str(found.changed)],
        ["word overlap", "" if found.similarity is None else f"{found.similarity:.1%}"],
    ]
    table("Descriptions", ["", ""], counts)
    for name, keys in (("A", found.only_one), ("B", found.only_other)):
        if keys:
            more = f", and {len(keys) - _KEYS_SHOWN} more" if len(keys) > _KEYS_SHOWN else ""
            say(f"only in {name}: " + ", ".join("/".join(key) for key in keys[:_KEYS_SHOWN]) + more)
    both = (("A", found.one), ("B", found.other))
    rows = [[name, *_spread_cells(kind, spread)] for name, side in both for kind, spread in side.words.items()]
    table("Words a description", ["", *_SPREAD_HEAD], rows)
    rows = [[name, str(side.total_words), str(side.distinct_words)] for name, side in both]
    table("Vocabulary", ["", "words", "distinct"], rows)
    for item in found.least_alike:
        say(f"\n{' / '.join(item.key)}  (word overlap {item.similarity:.0%})")
        say("  " + marked_differences(item))


def marked_differences(item: Changed) -> str:
    """Both texts in one line: [-only in A-] {+only in B+}."""
    signs = {"both": ("", ""), "one": ("[-", "-]"), "other": ("{+", "+}")}
    return " ".join(f"{signs[span.where][0]}{span.text}{signs[span.where][1]}" for span in item.spans())


def size(count: int) -> str:
    """Bytes in readable form: 1.2 MB."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count} B"


_SPREAD_HEAD = ["kind", "texts", "mean", "min", "5%", "median", "95%", "max"]


def _spread_cells(kind: Kind, spread: Spread) -> list[str]:
    numbers = (spread.mean, spread.least, spread.low, spread.median, spread.high, spread.most)
    return [kind, str(spread.count), *(f"{number:.3g}" for number in numbers)]


def _print_folders(title: str, folders: tuple[CacheFolder, ...], looked_at: Path | None) -> None:
    if not folders:
        return
    rows = []
    for one in folders:
        state = one.problem or ("shown below" if looked_at is not None and one.path.name == looked_at.name else "")
        made = f"{one.changed:%Y-%m-%d %H:%M} UTC"
        rows.append([one.path.name, one.model, made, str(one.rows), str(one.parts), size(one.bytes), state])
    table(title, ["folder", "made with", "changed", "rows", "files", "size", ""], rows)


def _print_coverage(coverage: Mapping[str, tuple[Coverage, ...]], subset: str) -> None:
    rows = []
    for name, found in coverage.items():
        sums = {kind: _share([one for one in found if one.kind == kind]) for kind in ("key", "complete")}
        rows.append([name, sums["key"], sums["complete"]])
    table("Descriptions by subset, made / expected", ["subset", "key", "complete"], rows)
    by_class: dict[str, dict[str, str]] = {}
    for one in coverage[subset]:
        by_class.setdefault(one.action_class, {})[one.kind] = _share([one])
    rows = [[name, kinds["key"], kinds["complete"]] for name, kinds in by_class.items()]
    table(f"Descriptions of {subset} by class, made / expected", ["class", "key", "complete"], rows)


def _share(found: list[Coverage]) -> str:
    return f"{sum(one.ok for one in found)}/{sum(one.expected for one in found)}"


def _print_state(found: Inspection) -> None:
    state = found.audit
    counts = {"missing": state.missing, "failed": state.failed, "partial": state.partial, "stale": state.stale}
    say(", ".join(f"{len(keys)} {name}" for name, keys in counts.items()))
    _print_removed(state.removed)
    if state.failed:
        table("Failures", ["video", "class", "kind", "reason"], [[*key, reason] for key, reason in state.failed])
        table("Reasons", ["reason", "keys"], [[reason, str(count)] for reason, count in found.reasons.items()])
    flagged = [[flag, str(len(keys))] for flag, keys in state.flagged.items() if keys]
    if flagged:
        table("Flags", ["flag", "descriptions"], flagged)
    for flag, examples in found.examples.items():
        for one in examples:
            say(f"  {flag}: {one.video_id}, {one.action_class}, {one.kind}: {_short(one.text)}")


def _print_removed(removed: Mapping[str, int]) -> None:
    if not removed:
        return
    rows = [[video, str(count)] for video, count in list(removed.items())[:_KEYS_SHOWN]]
    if len(removed) > _KEYS_SHOWN:
        rows.append([f"... and {len(removed) - _KEYS_SHOWN} more", str(sum(list(removed.values())[_KEYS_SHOWN:]))])
    table("Rows of videos that the annotations do not have", ["video", "rows"], rows)


def _print_statistics(found: TextStatistics) -> None:
    if not found.words:
        return
    table("Words a description", _SPREAD_HEAD, [_spread_cells(*item) for item in found.words.items()])
    if found.new_tokens:
        table("New tokens a description", _SPREAD_HEAD, [_spread_cells(*item) for item in found.new_tokens.items()])
    rows = []
    for one in found.classes:
        frequent = ", ".join(f"{word} {count}" for word, count in one.frequent[:4])
        discriminative = ", ".join(word for word, _ in one.telling[:5])
        rows.append([one.action_class, str(one.texts), frequent, discriminative])
    title = f"Vocabulary: {found.distinct_words} distinct words of {found.total_words}"
    table(title, ["class", "texts", "most frequent", "most discriminative"], rows)


def _print_samples(samples: tuple[Said, ...]) -> None:
    before = None
    for one in samples:
        if (one.video_id, one.action_class) != before:
            say(f"\n{one.video_id}, {one.action_class}")
            before = (one.video_id, one.action_class)
        marks = f" [{', '.join(one.flags)}]" if one.flags else ""
        say(f"  {one.kind}{marks}: {one.text if one.status == 'ok' else f'failed: {one.text}'}")
    if samples:
        say("")


def _short(text: str, most: int = 100) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
