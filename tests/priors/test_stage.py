"""The priors stage end to end with a tiny model, and what its fingerprint depends on."""

import random
import shutil
from pathlib import Path

import pytest

import priors.stage
import priors.video.frames
from cache.annotations import Dataset, VideoEntry
from cache.errors import CacheError
from cache.tables.embeddings import load_prior_texts
from priors.describers.recipe import DescriberRecipe
from priors.run.recipe import DataRecipe, DescriptionRecipe, PriorsRecipe, PromptsRecipe, RunRecipe
from priors.stage import make_priors, preview
from priors.video.decode_pool import DecodeRecipe
from priors.video.frames import FramesRecipe
from priors.words.glove import GloveRecipe
from tests.support.videos.videos import write_video


@pytest.fixture
def recipe(tmp_path, tiny_model) -> PriorsRecipe:
    """Four videos of two classes, a tiny VideoLLaMA3, and word vectors that know all letters."""
    data = tmp_path / "pool"
    videos = []
    for number in range(4):
        write_video(data / "videos" / f"v{number}.mp4", 20 + number, fps=10)
        labels = (("Dive",), ("Swim",), ("Dive", "Swim"))[number % 3]
        videos.append(VideoEntry(f"v{number}", "training", None, labels, (), None))
    Dataset("pool", ("Dive", "Swim"), tuple(videos)).save(data / "annotations.json")
    rng = random.Random(0)
    words = [*"abcdefghijklmnopqrstuvwxyz0123456789", "the", "action", "person"]
    lines = [f"{word} {' '.join(f'{rng.gauss(0, 1):.4f}' for _ in range(8))}" for word in words]
    (tmp_path / "glove.txt").write_text("\n".join(lines) + "\n")
    return PriorsRecipe(
        data=DataRecipe(folder=data),
        describer=DescriberRecipe(
            model=str(tiny_model("video_llama_3")), batch_size=3, key_tokens=8, complete_tokens=16
        ),
        frames=FramesRecipe(count=4),
        glove=GloveRecipe(path=tmp_path / "glove.txt"),
        run=RunRecipe(decode=DecodeRecipe(workers=0)),
    )


def test_the_stage_fills_both_caches_and_has_nothing_to_do_then(recipe, monkeypatch):
    """Videos in, words and vectors out; the second run loads no model."""
    progress = []
    made = make_priors(recipe, on_progress=progress.append)
    assert (made.described.plan.total, made.described.described, made.described.failed) == (10, 10, 0)
    assert progress[-1].done == 10
    assert made.audit.ok
    assert made.audit.missing == made.audit.failed == ()
    assert made.embedded is not None
    texts = load_prior_texts(made.embedded.folder)
    assert set(texts.rows) == made.descriptions.done()
    said = made.descriptions.table(["description"])["description"].to_pylist()
    assert len(set(said)) == 10, "a text follows its video, its class and its kind"

    monkeypatch.setattr(priors.stage, "make_describer", lambda recipe: pytest.fail("a model was loaded"))
    again = make_priors(recipe)
    assert (again.described.plan.total, again.described.plan.skipped) == (0, 10)
    assert again.embedded is not None
    assert (again.embedded.embedded, again.embedded.skipped) == (0, 10)


def test_texts_do_not_depend_on_the_batch_size(recipe, tmp_path):
    """Batches of one and of five give the same table."""
    tables = []
    for size in (1, 5):
        data = shutil.copytree(recipe.data.folder, tmp_path / f"batches-of-{size}")
        changed = recipe.model_copy(
            update={
                "data": DataRecipe(folder=data),
                "describer": recipe.describer.model_copy(update={"batch_size": size}),
            }
        )
        store = make_priors(changed).descriptions
        tables.append(store.table([name for name in store.schema.names if name != "created_at"]))
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("step", [make_priors, preview])
@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("glove", GloveRecipe(path=Path("nowhere.txt")), r"glove\.path: nowhere\.txt: no such file"),
        ("data", DataRecipe(folder=Path("nowhere")), "no such annotation file"),
        ("frames", FramesRecipe(reader="decord"), r"frames\.reader: decord is not installed; run `pip install decord`"),
    ],
)
def test_wrong_input_stops_before_the_model_is_loaded(recipe, monkeypatch, step, field, value, told):
    """What is not there would only be missed hours later; a dry run says so, too."""
    monkeypatch.setattr(priors.stage, "make_describer", lambda recipe: pytest.fail("a model was loaded"))
    monkeypatch.setattr(priors.video.frames, "find_spec", lambda name: None)
    with pytest.raises(CacheError, match=told):
        step(recipe.model_copy(update={field: value}))


def test_a_dry_run_says_what_a_run_would_do_and_does_nothing(recipe, monkeypatch):
    """Counts, the folder, and the time at the rate of the last run, without loading a model or writing a file."""
    load = priors.stage.make_describer
    monkeypatch.setattr(priors.stage, "make_describer", lambda recipe: pytest.fail("a model was loaded"))
    before = preview(recipe)
    assert (before.plan.total, len(before.plan.work), before.missing_videos, before.seconds) == (10, 4, 0, None)
    assert not (recipe.data.folder / "descriptions").exists()

    monkeypatch.setattr(priors.stage, "make_describer", load)
    (recipe.data.folder / "videos" / "v2.mp4").rename(recipe.data.folder / "v2.mp4")
    made = make_priors(recipe)
    assert made.descriptions.home == before.folder
    files = sorted(recipe.data.folder.rglob("*"))
    after = preview(recipe)
    assert (after.plan.total, after.plan.skipped, len(after.plan.work), after.missing_videos) == (4, 6, 1, 1)
    state = made.described.progress
    assert after.seconds == pytest.approx(4 * state.seconds / state.done, rel=0.2)
    assert sorted(recipe.data.folder.rglob("*")) == files


def test_the_fingerprint_covers_what_changes_the_text_and_nothing_else(tiny_model, tmp_path):
    """Model content, precision, pixels, frames, limits and prompts; not batches, devices, kernels or places."""
    folder = tiny_model("video_llama_3")
    describer, frames = DescriberRecipe(model=str(folder)), FramesRecipe()
    base = DescriptionRecipe.of(describer, frames, PromptsRecipe())
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / folder.name)
    same = {"model": str(moved), "batch_size": 99, "device_map": "cpu", "attention": "eager", "revision": "main"}
    for name, value in same.items():
        other = DescriptionRecipe.of(describer.model_copy(update={name: value}), frames, PromptsRecipe())
        assert other.fingerprint() == base.fingerprint(), name
    assert str(folder) not in base.model_dump_json()

    (moved / "config.json").write_text((moved / "config.json").read_text() + " ")
    different = {"model": str(moved), "dtype": "bfloat16", "max_pixels": 10, "key_tokens": 1, "complete_tokens": 1}
    prints = {base.fingerprint()}
    for name, value in different.items():
        changed = describer.model_copy(update={name: value})
        prints.add(DescriptionRecipe.of(changed, frames, PromptsRecipe()).fingerprint())
    for name, value in {"count": 3, "max_side": None}.items():
        changed = frames.model_copy(update={name: value})
        prints.add(DescriptionRecipe.of(describer, changed, PromptsRecipe()).fingerprint())
    for name, value in {"key_prompt": "?", "complete_prompt": "?", "sampler_version": 9, "text_version": 9}.items():
        prints.add(base.model_copy(update={name: value}).fingerprint())
    assert len(prints) == 12
