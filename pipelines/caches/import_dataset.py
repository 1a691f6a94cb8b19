"""Import a dataset in one of the public layouts: annotations, features, and a report of all data issues."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import PositiveFloat

from cache.annotations import Dataset
from cache.errors import CacheError
from cache.files.atomic import atomic_path
from cache.files.records import file_sha256
from cache.files.texts import shown, unfit
from cache.layouts.activitynet import read_activitynet
from cache.layouts.co2 import read_co2
from cache.layouts.convert import Converted, ConvertRecipe, Plan, convert, plan
from cache.layouts.folder import BadLine, read_folder
from cache.layouts.found import Found, Layout, Quirk, canonical_subsets
from cache.layouts.labels import named, read_class_names
from cache.layouts.lengths import check_lengths, feature_quirks
from cache.layouts.mend import MendRecipe, mend
from cache.layouts.recognise import Place, recognise
from cache.layouts.report import REPORT_FILE, ImportReport, check_own, count_classes, count_subsets
from cache.layouts.sources import open_source
from cache.layouts.tools.elan import read_elan
from cache.layouts.tools.label_studio import read_label_studio
from cache.layouts.tools.marks import dataset_of, with_durations
from cache.layouts.tools.via import read_via
from cache.layouts.um import read_um
from cache.recipe import Recipe
from cache.wording import amount, few
from pipelines.console import BAD_INPUT, fail, progress, say, table
from priors.video.frames import duration_of

_SHOWN = 3
_LINES = 50


class ImportDatasetRun(Recipe):
    """What is imported, and how."""

    dataset: Path
    """Folder that receives annotations.json, features/ and import_report.json."""
    source: Path
    """Folder of the download, or of your own videos."""
    layout: Literal["auto"] | Layout = "auto"
    """co2: W-TALC, CO2-Net, DELU; um: UM, CoLA; activitynet: JSON v1.2, v1.3; folder: videos and a CSV video,label;
    via, elan, label-studio: videos and what these tools export; auto: detected from the files."""
    annotations: Path | None = None
    """The <NAME>-Annotations folder, JSON or CSV; needed where the source holds none or several."""
    classes: Path | None = None
    """Names of classes that are numbers: a file with lines such as `41 High kick`."""
    features: Path | None = None
    """The joint .npy or the folder of .npy files; needed where the source holds none or several."""
    tiers: tuple[str, ...] = ()
    """ELAN's tiers, VIA's attributes or Label Studio's controls that hold action labels; needed if it has several."""
    annotation_fps: PositiveFloat | None = None
    """Frame rate by which Label Studio's timeline was labelled: that of <Video> in the labelling config (24 is its own
    default). Exports do not have it."""
    annotations_only: bool = False
    """Import the annotations only; make features with `make features`, or import them later."""
    allow_pickle: bool = False
    """Read pickled .npy files, which the layout co2 uses. No code in them is executed."""
    without_features: Literal["stop", "drop", "keep"] = "stop"
    """Labelled videos with missing or unusable features. stop: list them and write no annotations; drop: leave them
    out; keep: keep them in the annotations."""
    lengths: Literal["check", "keep"] = "check"
    """check: stop if the lengths of the features do not fit most durations. keep: import them as they are."""
    skip_invalid: bool = False
    """Leave out invalid lines of the CSV. Otherwise a single invalid line stops the import."""
    mend: Annotated[MendRecipe, tyro.conf.arg(name="")] = MendRecipe()
    """How data issues are handled."""
    convert: Annotated[ConvertRecipe, tyro.conf.arg(name="")] = ConvertRecipe()
    """Format of the features."""


def main(recipe: ImportDatasetRun) -> int:
    """Read, convert, write, report. Annotations are written last, so no incomplete import can be trained on."""
    for path in (recipe.dataset, recipe.source, recipe.annotations, recipe.features):
        if path is not None and (wrong := unfit(str(path.absolute()))) is not None:
            raise CacheError(f"{shown(str(path))}: found a name {wrong}; rename the folder, or move what is in it")
    names = {} if recipe.classes is None else read_class_names(recipe.classes)
    place = recognise(recipe.source, layout=recipe.layout, annotations=recipe.annotations)
    check_own(recipe.dataset / "annotations.json")
    say(f"layout {place.layout}: {place.annotations}")
    found, bad = _read(place, recipe)
    if bad:
        _print_lines(place.annotations, bad)
        if not recipe.skip_invalid:
            fail("Nothing was written. Fix these lines, or leave them out with --skip-invalid.")
            return BAD_INPUT
    found = named(found, names)
    subsets = canonical_subsets([video.subset for video in found.videos], where=place.annotations)
    dataset, quirks = mend(replace(found, name=recipe.dataset.name), recipe.mend, subsets)
    planned = None
    if found.features is not None:
        planned = _plan(found, dataset, recipe)
        videos = {video.video_id: video for video in dataset.videos}
        if recipe.lengths == "check":
            check_lengths(planned, videos, where=found.features)
        lacking = _lacking(dataset, planned, Converted())
        if lacking and recipe.without_features == "stop":
            return _stop(lacking, "Nothing was written.")
        with progress("features") as report:
            converted = convert(planned, recipe.dataset / "features", progress=report)
        written = f"{amount(converted.written, 'video')} written, {converted.kept} already there"
        say(f"features: {written}: {recipe.dataset / 'features'}")
        lacking = _lacking(dataset, planned, converted)
        if lacking and recipe.without_features == "stop":
            return _stop(lacking, "The other features were written, but not the annotations.")
        quirks += [*feature_quirks(planned, videos), _lacking_quirk(lacking, recipe)]
        if recipe.without_features == "drop":
            dataset = replace(dataset, videos=tuple(v for v in dataset.videos if v.video_id not in lacking))
    _write(recipe, found, dataset, quirks, planned)
    return 1 if bad else 0


def _read(place: Place, recipe: ImportDatasetRun) -> tuple[Found, list[BadLine]]:
    features = recipe.features or place.features
    if recipe.annotations_only or place.videos is not None:
        features = None
    elif features is None or not features.exists():
        raise CacheError(
            f"{features or recipe.source}: found no features; name them with --features, "
            "or import only the annotations with --annotations-only"
        )
    match place.layout:
        case "co2":
            return read_co2(place.annotations, features=features, allow_pickle=recipe.allow_pickle), []
        case "um":
            return read_um(place.annotations, features=features), []
        case "activitynet":
            return read_activitynet(place.annotations, features=features), []
        case "folder":
            return read_folder(place.videos or recipe.source, place.annotations)
        case "via":
            export = read_via(place.annotations, tiers=recipe.tiers)
        case "elan":
            path = place.annotations
            export = read_elan(sorted(path.rglob("*.eaf")) if path.is_dir() else [path], tiers=recipe.tiers)
        case "label-studio":
            export = read_label_studio(place.annotations, tiers=recipe.tiers, fps=recipe.annotation_fps)
    found, bad = dataset_of(place.layout, place.annotations, place.videos or recipe.source, export)
    return with_durations(found, duration_of, where=place.annotations), bad


def _plan(found: Found, dataset: Dataset, recipe: ImportDatasetRun) -> Plan:
    assert found.features is not None
    order = [video.video_id for video in found.videos]
    source = open_source(found.features, order, allow_pickle=recipe.allow_pickle)
    durations = {video.video_id: video.duration for video in dataset.videos}
    return plan(source, list(durations), recipe.convert, durations=durations if recipe.lengths == "check" else None)


def _lacking(dataset: Dataset, planned: Plan, converted: Converted) -> dict[str, str]:
    """Labelled videos without usable features -> reason; a video without labels needs none."""
    beside = f", but of {few(planned.unused)}, which the annotations do not name" if planned.unused else ""
    reasons = dict.fromkeys(planned.missing, f"{planned.source.path} has no features of it{beside}")
    reasons |= planned.unusable | converted.failed
    return {v.video_id: reasons[v.video_id] for v in dataset.videos if v.labels and v.video_id in reasons}


def _stop(lacking: dict[str, str], state: str) -> int:
    rows = [[video_id, reason] for video_id, reason in list(lacking.items())[:_LINES]]
    have = amount(len(lacking), "labelled video has", "labelled videos have")
    table(f"{have} no usable features", ["video", "reason"], rows)
    if len(lacking) > _LINES:
        say(f"... and {len(lacking) - _LINES} more")
    fail(f"{state} Fix these features, or leave the videos out with --without-features drop.")
    return BAD_INPUT


def _lacking_quirk(lacking: dict[str, str], recipe: ImportDatasetRun) -> Quirk:
    return Quirk(
        name="without_features",
        what="labelled videos without usable features",
        done="left out of training and evaluation" if recipe.without_features == "drop" else "kept",
        count=len(lacking),
        items=tuple(f"{video_id}: {reason}" for video_id, reason in lacking.items()),
    )


def _write(recipe: ImportDatasetRun, found: Found, dataset: Dataset, quirks: list[Quirk], planned: Plan | None) -> None:
    path = recipe.dataset / "annotations.json"
    # Report first: an import that is killed leaves both files, or the report alone, but never annotations without it.
    path.unlink(missing_ok=True)
    with atomic_path(path) as unfinished:
        dataset.save(unfinished)
        report = ImportReport(
            source=str(recipe.source),
            layout=found.layout,
            options=recipe.model_dump(mode="json"),
            classes=len(dataset.classes),
            class_videos=count_classes(dataset),
            subsets=count_subsets(dataset, {} if planned is None else planned.lengths),
            quirks=tuple(quirk for quirk in quirks if quirk.count),
            annotations_sha256=file_sha256(unfinished),
        )
        report.save(recipe.dataset / REPORT_FILE)
    print_report(report)
    say(f"annotations: {path}\nreport: {recipe.dataset / REPORT_FILE}")


def print_report(report: ImportReport) -> None:
    """Print the subsets, then the data issues with the first few items of each; the file lists all items."""
    header = ["subset", "videos", "labelled", "instances", "snippets"]
    rows = [
        [name, *(f"{number:,}" for number in count.model_dump().values())] for name, count in report.subsets.items()
    ]
    table(f"{report.layout}: {amount(report.classes, 'class', 'classes')}", header, rows)
    if report.quirks:
        rows = [[_told(quirk), _number(quirk)] for quirk in report.quirks]
        table("Data issues and how they were handled", ["issue", "count"], rows)
    counts = (f"{name!r} {count}" for name, count in report.class_videos.items())
    say(f"{amount(report.classes, 'class', 'classes')}, with their number of videos: {', '.join(counts) or 'none'}")


def _number(quirk: Quirk) -> str:
    one = {"classes": "class", "stretches": "stretch"}.get(quirk.unit, quirk.unit.removesuffix("s"))
    return f"{quirk.count:,} {one if quirk.count == 1 else quirk.unit}"


def _told(quirk: Quirk) -> str:
    lines = [f"{quirk.what}: {quirk.done}", *(f"    {item}" for item in quirk.items[:_SHOWN])]
    if len(quirk.items) > _SHOWN:
        lines.append(f"    ... and {len(quirk.items) - _SHOWN} more")
    return "\n".join(lines)


def _print_lines(path: Path, bad: list[BadLine]) -> None:
    rows = [[str(one.line), one.reason] for one in bad[:_LINES]]
    unit = "entry" if path.suffix.lower() == ".json" or path.is_dir() else "line"
    found = amount(len(bad), unit, "entries" if unit == "entry" else "lines")
    table(f"{path}: {found} cannot be imported", [unit, "reason"], rows)
    if len(bad) > _LINES:
        say(f"... and {len(bad) - _LINES} more")
