"""Streams by name: views of a features folder and its sub-folders, and what they refuse."""

import re
from pathlib import Path

import numpy as np
import pytest

from cache.content import features_content
from cache.errors import CacheError
from cache.features import FeatureGrid, FeatureStore

TIMING = {"fps": 25, "snippet_frames": 16, "snippet_stride": 16}
WIDTHS = {"rgb": 3, "flow": 2, "clip": 4}
VIDEOS = ("a", "b")


def grid(*names: str, **timing: float) -> FeatureGrid:
    """The grid of these streams."""
    return FeatureGrid.model_validate({**TIMING, **timing, "streams": {name: WIDTHS[name] for name in names}})


@pytest.fixture
def columns() -> dict[tuple[str, str], np.ndarray]:
    """The features of each video and stream."""
    rng = np.random.default_rng(0)
    lengths = dict(zip(VIDEOS, (5, 7), strict=True))
    return {
        (video, name): rng.normal(size=(lengths[video], width)).astype(np.float32)
        for video in VIDEOS
        for name, width in WIDTHS.items()
    }


@pytest.fixture
def store(tmp_path: Path, columns: dict[tuple[str, str], np.ndarray]) -> FeatureStore:
    """Rgb and flow in the folder's own files, clip in a sub-folder."""
    for folder, names in ((tmp_path, ("rgb", "flow")), (tmp_path / "clip", ("clip",))):
        made = FeatureStore.create(folder, grid(*names))
        for video in VIDEOS:
            made.save(video, np.concatenate([columns[video, name] for name in names], axis=1))
    return FeatureStore.open(tmp_path)


@pytest.mark.parametrize(
    "names",
    [("rgb",), ("flow",), ("clip",), ("flow", "rgb"), ("clip", "rgb"), ("rgb", "clip", "flow")],
    ids="+".join,
)
def test_chosen_streams_are_read_in_their_order(
    store: FeatureStore, columns: dict[tuple[str, str], np.ndarray], names: tuple[str, ...]
) -> None:
    """Columns, widths, timing and lengths are those of the chosen streams, wherever they lie."""
    view = store.select(names)
    assert list(view.grid.streams) == list(names)
    assert view.grid == grid(*names)
    for video in VIDEOS:
        assert np.array_equal(view.load(video), np.concatenate([columns[video, name] for name in names], axis=1))
    view.preflight(VIDEOS)
    assert view.lengths(VIDEOS) == [5, 7]
    assert len(view) == 2
    assert all(isinstance(part.base, np.memmap) for part in view.parts("a"))
    assert np.array_equal(np.concatenate(view.parts("a"), axis=1), view.load("a"))


def test_without_a_choice_the_folder_is_what_it_was(store: FeatureStore) -> None:
    """Nor with the choice of all its own streams in their order; a view can be narrowed, and widened again."""
    assert store.select(None) is store
    assert store.select(["rgb", "flow"]) is store
    view = store.select(("clip", "rgb"))
    assert view.select(("clip", "rgb")) is view
    assert view.select(None) is view
    assert view.select(("rgb",)).grid == grid("rgb")
    assert view.select(("rgb", "flow")).grid == store.grid


def test_the_content_follows_the_chosen_streams(store: FeatureStore) -> None:
    """Streams, their order and what lies in their files count; files of other streams do not."""
    choices = [None, ("rgb",), ("flow",), ("flow", "rgb"), ("clip",), ("rgb", "clip"), ("clip", "rgb")]
    before = {names: features_content(store.select(names), VIDEOS) for names in choices}
    assert len(set(before.values())) == len(choices)
    FeatureStore.open(store.folder / "clip").save("b", np.zeros((7, 4), np.float32))
    after = {names: features_content(FeatureStore.open(store.folder).select(names), VIDEOS) for names in choices}
    assert [names for names in choices if before[names] != after[names]] == choices[4:]


def test_the_place_of_a_stream_in_its_file_counts(tmp_path: Path) -> None:
    """The same file and the same name, but other columns: other features."""
    contents = []
    for place, names in enumerate((("rgb", "flow", "clip"), ("flow", "clip", "rgb"))):
        made = FeatureStore.create(tmp_path / str(place), grid(*names))
        made.save("a", np.arange(18, dtype=np.float32).reshape(2, 9))
        contents.append(features_content(made.select(("rgb",)), ["a"]))
    assert contents[0] != contents[1]


def test_types_of_different_precision_stand_side_by_side(store: FeatureStore) -> None:
    """The wider type holds both."""
    FeatureStore.open(store.folder / "clip").save("a", np.full((5, 4), 0.5, np.float16))
    joined = store.select(("rgb", "clip")).load("a")
    assert joined.dtype == np.float32
    assert (joined[:, 3:] == 0.5).all()


def test_an_unknown_stream_is_refused_with_those_that_exist(store: FeatureStore) -> None:
    """Of the folder and of its sub-folders, each with its place."""
    clip = store.folder / "clip"
    told = f"{store.folder}: found no stream pose, expected some of these: rgb, flow in {store.folder}; clip in {clip}"
    with pytest.raises(CacheError, match=f"^{re.escape(told)}$"):
        store.select(("rgb", "pose"))


def test_a_stream_in_two_stores_is_refused(store: FeatureStore) -> None:
    """Only if it is chosen."""
    FeatureStore.create(store.folder / "other", grid("rgb"))
    assert store.select(("flow", "clip")).grid.width == 6
    with pytest.raises(CacheError, match=r"stream rgb: found in .* and .*other.features\.json, expected it once"):
        store.select(("rgb", "clip"))


@pytest.mark.parametrize("field", sorted(TIMING))
def test_two_grids_are_refused(store: FeatureStore, field: str) -> None:
    """Streams side by side follow one grid; the message names the file and both grids. Alone, each can be read."""
    grid("clip", **{field: 8}).save(store.folder / "clip" / "features.json")
    assert getattr(store.select(("clip",)).grid, field) == 8
    with pytest.raises(
        CacheError, match=rf"clip.features\.json: found .*{field}=8.*, expected .*{field}={TIMING[field]}"
    ):
        store.select(("rgb", "clip"))


def test_streams_of_different_lengths_are_refused(store: FeatureStore) -> None:
    """By the video, with the length of each; before a training, with all such videos at once."""
    FeatureStore.open(store.folder / "clip").save("b", np.zeros((6, 4), np.float32))
    view = store.select(("flow", "clip"))
    told = r"b: found different numbers of snippets, 7 in .*b\.npy, 6 in .*clip.b\.npy, expected one for all streams"
    for read in (lambda: view.load("b"), lambda: view.lengths(VIDEOS)):
        with pytest.raises(CacheError, match=told):
            read()
    with pytest.raises(CacheError, match=rf"1 video has no usable features; .*\n  {told}"):
        view.preflight(VIDEOS)


def test_a_missing_file_of_a_stream_is_named(store: FeatureStore) -> None:
    """The other streams of the video are not enough."""
    store.path("a").with_name("clip").joinpath("a.npy").unlink()
    view = store.select(("rgb", "clip"))
    assert (view.has("a"), view.has("b"), len(view)) == (False, True, 1)
    assert store.has("a")
    with pytest.raises(CacheError, match=r"clip.a\.npy: no such feature file"):
        view.preflight(VIDEOS)


def test_nothing_is_written_through_a_view(store: FeatureStore) -> None:
    """Or files of another width would lie in the folder."""
    with pytest.raises(TypeError, match="chosen streams"):
        store.select(("clip",)).save("c", np.zeros((5, 4), np.float32))


def test_a_folder_of_sub_folders_alone_names_them(tmp_path: Path) -> None:
    """They are what can be pointed to."""
    FeatureStore.create(tmp_path / "clip", grid("clip"))
    with pytest.raises(CacheError, match=r"features\.json: no such file, .* point to one of the folders .*clip$"):
        FeatureStore.open(tmp_path)
