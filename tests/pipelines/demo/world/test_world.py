"""The demo world: what its scripts, pictures and captions promise to the rest of the project."""

import itertools

import numpy as np
import pytest

from cache.annotations import Dataset
from pipelines.demo.models.describer_vision import TRAINING_SEEDS as DESCRIBER_SEEDS
from pipelines.demo.models.evaluate_describer import HELD_OUT_CLIPS, HELD_OUT_VIDEOS
from pipelines.demo.models.train_encoders import HELD_OUT_SEEDS, TRAINING_SEEDS
from pipelines.demo.world import captions
from pipelines.demo.world.draw import draw_frames, frame_times
from pipelines.demo.world.motions import APPROACHES, CORES, IDLE, RECOVERIES
from pipelines.demo.world.render import FIRST_SEED, RenderRecipe, render, scripts, write_video
from pipelines.demo.world.script import CLASSES, FPS, HOME_SCENE, SIDE, clip_script, video_script
from priors.video.frames import sample_frames

DEFAULT = scripts(RenderRecipe())


def test_size_of_the_world():
    """At least 8 classes, 120 training and 80 test videos of 20 to 61 seconds, each class in every subset."""
    assert len(CLASSES) >= 8
    for subset, least in (("training", 120), ("validation", 20), ("testing", 80)):
        own = [script for _, name, script in DEFAULT if name == subset]
        assert len(own) >= least
        assert {label for script in own for label in script.styles} == set(CLASSES)
        assert all(20 <= script.seconds <= 61 for script in own)
    assert sum(len(script.styles) == 2 for _, _, script in DEFAULT) > 20
    assert np.mean([len(script.segments) for _, _, script in DEFAULT]) > 2


@pytest.mark.parametrize("seed", range(6))
def test_script_is_whole(seed):
    """Beats and shots tile the video; an instance is approach, core, recovery in the video's own style."""
    script = video_script(seed)
    for parts in (script.beats, script.shots):
        assert parts[0].start == 0
        assert parts[-1].end == pytest.approx(script.seconds)
        assert all(a.end == pytest.approx(b.start) for a, b in itertools.pairwise(parts))
    assert {segment.label for segment in script.segments} == set(script.styles)
    for segment in script.segments:
        inside = [beat.motion for beat in script.beats if segment.start <= beat.start < segment.end]
        style = script.styles[segment.label]
        assert inside == [style.approach, segment.label, style.recovery]
    assert all((beat.label is None) == (beat.motion in IDLE) for beat in script.beats)


def test_world_poses_both_problems():
    """Cores are a minority of the ground truth (incomplete), and home scenes also show no action (over-complete)."""
    core = truth = home = 0.0
    for _, _, script in DEFAULT:
        truth += sum(segment.end - segment.start for segment in script.segments)
        core += sum(beat.end - beat.start for beat in script.beats if beat.motion in CORES)
        scenes = {HOME_SCENE[label] for label in script.styles}
        quiet = [s for s in script.shots if s.scene in scenes]
        home += sum(s.end - s.start for s in quiet if not any(s.start <= g.start < s.end for g in script.segments))
    assert core / truth < 0.45
    assert home > 600
    approaches = {label: set() for label in CLASSES}
    for _, _, script in DEFAULT:
        for label, style in script.styles.items():
            approaches[label].add(style.approach)
    assert all(seen == set(APPROACHES) for seen in approaches.values())


def test_seeds_are_apart():
    """No clip that a checkpoint was trained on has the seed of a demo video or of a held-out clip."""
    own = {script.seed for _, _, script in DEFAULT}
    assert max(own) < min(HELD_OUT_SEEDS, HELD_OUT_CLIPS, HELD_OUT_VIDEOS)
    assert max(HELD_OUT_SEEDS, HELD_OUT_CLIPS, HELD_OUT_VIDEOS) + 1000 < min(DESCRIBER_SEEDS, TRAINING_SEEDS)
    assert len(own) == len(DEFAULT)
    assert all(abs(a - b) >= 1_000_000 for a in FIRST_SEED.values() for b in FIRST_SEED.values() if a != b)


def test_pictures_are_deterministic_and_move():
    """The same script gives the same pictures; different motions give different ones."""
    script = clip_script(3, "HighKick")
    times = frame_times(script)[::8]
    first, again = (np.stack(list(draw_frames(script, times))) for _ in range(2))
    assert first.dtype == np.uint8
    assert first.shape == (len(times), SIDE, SIDE, 3)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first[0].astype(int) - first[len(first) // 2]).max() > 60


def test_video_file_shows_the_script(tmp_path):
    """A rendered mp4 has the script's length, and its pictures are those that were drawn, up to compression."""
    script = clip_script(4, "Handstand")
    write_video(tmp_path / "clip.mp4", script)
    frames = sample_frames(tmp_path / "clip.mp4", count=8)
    assert frames.duration == pytest.approx(len(frame_times(script)) / FPS, abs=1e-3)
    drawn = np.stack(list(draw_frames(script, frames.seconds)))
    assert np.abs(drawn.astype(int) - frames.rgb).mean() < 6


def test_render_resumes(tmp_path):
    """Annotations agree with the scripts; a second run keeps the videos and renders a lost one to the same bytes."""
    recipe = RenderRecipe(folder=tmp_path, training=2, validation=1, testing=1, workers=2)
    dataset = render(recipe)
    assert Dataset.load(tmp_path / "annotations.json") == dataset
    assert [len(dataset.split(name)) for name in FIRST_SEED] == [2, 1, 1]
    paths = [video.path for video in dataset.videos if video.path is not None]
    before = [path.read_bytes() for path in paths]
    kept = paths[0].stat().st_mtime_ns
    paths[1].unlink()
    assert render(recipe) == dataset
    assert [path.read_bytes() for path in paths] == before
    assert paths[0].stat().st_mtime_ns == kept


def test_captions_read_back():
    """Each phrase is read back from each caption as the motions that it was written for, and no others."""
    for seed, label in enumerate(CLASSES):
        script = clip_script(seed, label)
        style = script.styles[label]
        assert captions.action_named(captions.key_caption(script, label)) == label
        complete = captions.complete_caption(label, style)
        assert captions.phases_named(complete) == {style.approach, label, style.recovery}
    assert captions.action_named("nothing of the kind") is None
    assert set(captions.PHASE_WORDS) == {*APPROACHES, *CORES, *RECOVERIES}
