"""Snippet features from raw video: cutting, flow, batching, resume and failures."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from cache.annotations import VideoEntry
from cache.errors import CacheError
from pipelines.demo.world.render import write_video
from pipelines.demo.world.script import FPS, clip_script
from priors.features.encode import encode
from priors.features.encoder import Encoder, load_encoders
from priors.features.flow import optical_flow
from priors.features.recipes import EncoderRecipe, FeaturesRecipe, SnippetDecodeRecipe
from priors.features.record import open_features
from priors.features.snippets import Chunk, Cutter, Failed, Snippets, View, cut, snippet_starts
from priors.pretrained.model_files import ModelError
from priors.pretrained.torchvision_cpu import make_torchvision_importable
from priors.video.frames import sample_frames
from tests.support.videos import videos
from tests.support.videos.odd_decoding import odd_cut

MEAN, SPREAD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Two random VideoMAE of 4 frames of 28 pixels: `rgb` and `flow`."""
    make_torchvision_importable()
    import torch
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEImageProcessor

    folder = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    for name, channels in (("rgb", 3), ("flow", 2)):
        config = VideoMAEConfig(
            image_size=28, patch_size=14, num_channels=channels, num_frames=4, tubelet_size=2, hidden_size=12,
            intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        )  # fmt: skip
        VideoMAEForVideoClassification(config).save_pretrained(folder / name)
    VideoMAEImageProcessor(size={"height": 28, "width": 28}, image_mean=MEAN, image_std=SPREAD).save_pretrained(
        folder / "rgb"
    )
    return folder


def recipe_of(models: Path, *, frames: int = 8, stride: int = 4) -> FeaturesRecipe:
    """Two streams at the demo's rate."""
    streams = {
        "rgb": EncoderRecipe(model=str(models / "rgb")),
        "flow": EncoderRecipe(model=str(models / "flow"), input="flow"),
    }
    return FeaturesRecipe(streams=streams, fps=FPS, snippet_frames=frames, snippet_stride=stride)


def encoders_of(recipe: FeaturesRecipe) -> dict[str, Encoder]:
    """The encoders of its streams."""
    return load_encoders(recipe, device="cpu")


def prepared(view: View, pictures: np.ndarray, starts: list[int], length: int) -> Snippets:
    """Snippets of pictures, without a video."""
    return Snippets(np.stack([view.finished(view.before_flow(one)) for one in pictures]), view.indices(starts, length))


def entry(path: Path) -> VideoEntry:
    """A video without labels."""
    return VideoEntry(path.stem, "training", None, (), (), path)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """One rendered clip."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    write_video(path, clip_script(1, "StarJump"))
    return path


@pytest.mark.parametrize(("length", "stride"), [(8, 8), (8, 4), (16, 5)])
def test_snippets_cover_every_frame(length, stride):
    """The snippets reach the last frame, the last of them is needed, and a video shorter than one has one."""
    for frames in range(1, 60):
        starts = snippet_starts(frames, length=length, stride=stride)
        assert starts[0] == 0
        assert starts[-1] + length >= frames
        assert len(starts) == 1 or starts[-2] + length < frames


def test_features_do_not_depend_on_chunks(models, clip, tmp_path):
    """Features are those of the whole video at once, however it is cut for bounded memory, and differ over time."""
    recipe = recipe_of(models)
    encoders = encoders_of(recipe)
    found = []
    for size in (1, 3, 1000):
        store = open_features(tmp_path / str(size), recipe, encoders)
        decode = SnippetDecodeRecipe(chunk_snippets=size)
        summary = encode([entry(clip)], store, recipe, encoders, decode=decode)
        assert (summary.encoded, summary.failed) == (1, [])
        found.append(np.array(store.load("clip")))
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)
    np.testing.assert_allclose(found[1], found[2], atol=1e-5)
    assert found[0].shape[1] == 24
    assert found[0].std(axis=0).min() > 0


def test_features_are_what_the_classifier_sees(models, clip):
    """A stream's features through the saved classifier's last layer are its logits."""
    import torch
    from transformers import AutoModelForVideoClassification

    encoder = Encoder(EncoderRecipe(model=str(models / "rgb")), device="cpu")
    pictures = np.random.default_rng(0).integers(0, 255, (8, 40, 60, 3), np.uint8)
    snippets = prepared(encoder.view, pictures, [0], 8)
    whole = AutoModelForVideoClassification.from_pretrained(models / "rgb").eval()
    pixels = ((snippets.array() / 255 - np.array(MEAN)) / np.array(SPREAD)).astype(np.float32)
    with torch.inference_mode():
        logits = whole(pixel_values=torch.from_numpy(pixels).movedim(-1, 2)).logits
        through = whole.classifier(torch.from_numpy(encoder.encode([snippets])))
    torch.testing.assert_close(through, logits, atol=1e-5, rtol=1e-4)


def test_centre_crop_and_frame_choice(models):
    """The middle of the picture is kept at its proportions, and frames are taken at equal distances."""
    view = Encoder(EncoderRecipe(model=str(models / "rgb")), device="cpu").view
    pictures = np.zeros((16, 28, 84, 3), np.uint8)
    pictures[:, :, 28:56] = np.arange(16)[:, None, None, None] * 10 + 1
    snippets = prepared(view, pictures, [0, 8], 8).array()
    assert snippets.shape == (2, 4, 28, 28, 3)
    np.testing.assert_array_equal(snippets[:, :, 5, 5, 0], np.array([[1, 3, 5, 7], [9, 11, 13, 15]]) * 10 + 1)


def test_flow_follows_a_moving_square():
    """A square that moves 2 pixels right and 1 down has that flow; a still picture has none."""
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    texture = np.random.default_rng(0).integers(60, 255, (20, 20, 3), np.uint8)
    frames[0, 20:40, 20:40] = texture
    frames[1, 21:41, 22:42] = texture
    cv2.setNumThreads(1)
    flow = optical_flow(frames)
    assert flow.shape == (1, 64, 64, 2)
    np.testing.assert_allclose(np.median(flow[0, 25:35, 25:35], axis=(0, 1)), [2, 1], atol=0.3)
    assert np.abs(optical_flow(frames[[0, 0]])).max() < 1e-3


def test_bad_videos_are_reported_and_the_rest_goes_on(models, clip, tmp_path):
    """Corrupt, empty and missing files are failures with a reason; good ones are encoded once and kept."""
    empty, corrupt, missing = tmp_path / "empty.mp4", tmp_path / "corrupt.mp4", tmp_path / "missing.mp4"
    empty.touch()
    corrupt.write_bytes(b"no video " * 100)
    recipe = recipe_of(models, stride=8)
    encoders = encoders_of(recipe)
    store = open_features(tmp_path / "features", recipe, encoders)
    videos = [entry(path) for path in (empty, corrupt, clip, missing)]
    nowhere = VideoEntry("nowhere", "training", None, (), (), None)
    summary = encode([*videos, nowhere], store, recipe, encoders)
    assert [name for name, _ in summary.failed] == ["empty", "corrupt", "missing", "nowhere"]
    assert all(reason for _, reason in summary.failed)
    assert store.has("clip")
    again = encode(videos, store, recipe, encoders)
    assert (again.skipped, again.encoded, len(again.failed)) == (1, 0, 3)


def test_a_video_that_crashes_or_stalls_its_decoder_fails_alone(models, clip, tmp_path, monkeypatch):
    """In the middle of it, too; one crash is forgiven, and the features are those of an undisturbed run."""
    monkeypatch.setattr("priors.features.decode_ahead.cut", odd_cut)
    recipe = recipe_of(models)
    encoders = encoders_of(recipe)
    store = open_features(tmp_path / "features", recipe, encoders)
    names = ["first", "sleep", "die", "die-once", "last"]
    videos = [entry(Path(shutil.copy(clip, tmp_path / f"{name}.mp4"))) for name in names]
    summary = encode(videos, store, recipe, encoders, decode=SnippetDecodeRecipe(timeout_seconds=4, chunk_snippets=3))
    failed = dict(summary.failed)
    assert set(failed) == {"sleep", "die"}
    assert failed["sleep"].startswith("decoding stalled: more than 4 s; ")
    assert failed["die"] == "the decoder died twice: SIGSEGV"
    for name in ("die-once", "last"):
        assert np.array_equal(store.load(name), store.load("first"))
    assert not store.has("die")


@pytest.mark.parametrize(
    ("error", "why"),
    [(MemoryError(), "not enough memory"), (cv2.error("resize"), "error: resize"), (KeyError(1), "KeyError: 1")],
)
def test_whatever_decoding_raises_is_the_reason_of_its_video(clip, monkeypatch, error, why):
    """Errors of libraries, too: none gets out of the worker."""

    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("priors.features.snippets.stream_frames", fails)
    (found,) = cut(Cutter({"rgb": View("rgb", 4, 28)}, fps=8, length=8, stride=8), clip)
    assert isinstance(found, Failed)
    assert found.why.startswith(why)


def test_large_pictures_are_cut_in_smaller_chunks(clip, monkeypatch):
    """By their bytes, at least a snippet at a time; the snippets are the same."""
    cutter = Cutter({"rgb": View("rgb", 4, 28), "flow": View("flow", 4, 28)}, fps=8, length=8, stride=4)

    def chunks() -> list[Chunk]:
        return [chunk for chunk in cut(cutter, clip) if isinstance(chunk, Chunk)]

    whole = chunks()
    monkeypatch.setattr("priors.features.snippets._CHUNK_BYTES", 1)
    small = chunks()
    assert len(small) > len(whole)
    for name in ("rgb", "flow"):
        first, second = (np.concatenate([chunk.streams[name].array() for chunk in found]) for found in (whole, small))
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("frames", range(16, 26))
@pytest.mark.parametrize("stride", [4, 8])
def test_snippets_at_the_end_do_not_depend_on_chunks(tmp_path, frames, stride):
    """Whatever is left of the last snippet, down to one frame, which does not move."""
    path = videos.write_video(tmp_path / "clip.mp4", frames, fps=8)
    view = {"rgb": View("rgb", 4, 28), "flow": View("flow", 4, 28)}
    found = []
    for size in (1, 2, 1000):
        pieces = cut(Cutter(view, fps=8, length=8, stride=stride, chunk=size), path)
        chunks = [piece.streams for piece in pieces if isinstance(piece, Chunk)]
        found.append({name: np.concatenate([chunk[name].array() for chunk in chunks]) for name in view})
    for name in view:
        np.testing.assert_array_equal(found[0][name], found[2][name])
        np.testing.assert_array_equal(found[1][name], found[2][name])
    if stride == 8 and frames % 8 == 1:
        assert not found[2]["flow"][-1].any()


def test_features_of_other_encoders_are_refused(models, tmp_path):
    """A folder keeps to its encoders: other weights, or another flow bound, do not mix."""
    recipe = recipe_of(models)
    open_features(tmp_path, recipe, encoders_of(recipe))
    open_features(tmp_path, recipe, encoders_of(recipe))
    streams = {**recipe.streams, "flow": recipe.streams["flow"].model_copy(update={"flow_bound": 5.0})}
    other = recipe.model_copy(update={"streams": streams})
    with pytest.raises(CacheError, match="made with"):
        open_features(tmp_path, other, encoders_of(other))


def test_model_that_is_not_there(tmp_path):
    """The message names the option."""
    with pytest.raises(ModelError, match="streams"):
        Encoder(EncoderRecipe(model=str(tmp_path / "nothing")))


def test_gaps_between_snippets_are_refused(models):
    """A stride beyond the snippet's length would leave frames unseen."""
    with pytest.raises(ValueError, match="snippet_stride"):
        recipe_of(models, frames=8, stride=9)


def test_a_video_that_is_read_in_part_is_told_and_noted(tmp_path, models):
    """With the reason that a description of it would have, beside the features."""
    recipe = recipe_of(models)
    whole = videos.write_video(tmp_path / "whole.mp4", 40)
    cut_short = videos.cut(videos.write_video(tmp_path / "long.mkv", 400, fps=10), 0.96)
    encoders = encoders_of(recipe)
    store = open_features(tmp_path / "features", recipe, encoders)
    done = encode([entry(whole), entry(cut_short)], store, recipe, encoders)
    assert (done.encoded, done.failed) == (2, [])
    (video_id, why), *others = done.partial
    assert (video_id, others) == (cut_short.stem, [])
    assert why == sample_frames(cut_short, count=1).odd
    assert json.loads((store.folder / "partial.json").read_text()) == {video_id: why}
