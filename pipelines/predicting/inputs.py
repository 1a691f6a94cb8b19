"""Which files `make predict` is given: videos and features, by name, in folders, lists and patterns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from cache.features import GRID_FILE
from cache.files.texts import read_text
from cache.video_files import may_be_video, reason

FEATURES, LIST = ".npy", ".txt"


@dataclass(frozen=True)
class Input:
    """A video, or the features of one."""

    name: str
    """Its name among the results; no two inputs share one."""
    path: Path

    @property
    def is_features(self) -> bool:
        """Whether it is a file of features rather than a video."""
        return self.path.suffix == FEATURES


@dataclass(frozen=True)
class Failure:
    """What could not be used, and why."""

    name: str
    reason: str


def find_inputs(asked: Sequence[str]) -> tuple[list[Input], list[Failure]]:
    """The files that the arguments mean, in their order and each once, and the arguments that mean none.

    An argument is a video, a .npy file of features, a folder of either (searched with its sub-folders; a folder of
    features has features.json), a pattern such as `clips/*.mp4`, or a .txt list of all these, one a line, relative to
    the list.
    """
    paths: dict[Path, None] = {}
    failures = []
    for argument in asked:
        for found in _meant(argument, Path()):
            if isinstance(found, Failure):
                failures.append(found)
            else:
                paths[found] = None
    names = _names(list(paths))
    return [Input(name, path) for name, path in zip(names, paths, strict=True)], failures


def _meant(argument: str, base: Path) -> Iterator[Path | Failure]:
    path = base / Path(argument).expanduser()
    if path.is_dir():
        yield from _in_folder(path)
    elif not path.exists() and has_magic(argument):
        matches = sorted(glob(str(path), recursive=True))
        for match in matches:
            yield from _meant(match, Path())
        if not matches:
            yield Failure(argument, "no file fits this pattern")
    elif not path.exists():
        yield Failure(argument, "no such file")
    elif path.suffix == LIST:
        lines = [line.strip() for line in read_text(path).splitlines()]
        for line in lines:
            if line and not line.startswith("#"):
                yield from _meant(line, path.parent)
    elif path.suffix == FEATURES or not (why := reason(path)):
        yield path
    else:
        yield Failure(argument, why.removeprefix("which "))


def _in_folder(folder: Path) -> Iterator[Path | Failure]:
    files = [path for path in sorted(folder.rglob("*")) if not _hidden(path.relative_to(folder)) and path.is_file()]
    features = [path for path in files if path.suffix == FEATURES]
    videos = [] if (folder / GRID_FILE).exists() else [path for path in files if may_be_video(path)]
    yield from videos or features
    if not videos and not features:
        yield Failure(str(folder), "holds neither a video nor features (.npy)")


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _names(paths: Sequence[Path]) -> list[str]:
    """A name for each path: its stem; where others have the same, its file name, then with folders before it."""
    names = [path.stem for path in paths]
    for folders in range(max((len(path.absolute().parts) for path in paths), default=0)):
        times = Counter(name.casefold() for name in names)
        if max(times.values(), default=0) < 2:
            break
        names = [
            "_".join(path.absolute().parts[-1 - folders :]) if times[name.casefold()] > 1 else name
            for name, path in zip(names, paths, strict=True)
        ]
    return names
