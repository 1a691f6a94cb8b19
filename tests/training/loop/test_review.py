"""Reviews: whole videos, notes on the very snippets of a batch, what Zhou et al. make of them, and resuming."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.support.data.toy_data import STREAMS, tiny_recipe, toy_training_data
from tests.support.models.small_hosts import RECIPES
from tests.training.loop.test_fit import assert_equal, checkpoint
from training.batches.data import WtalData
from training.checkpoints.checkpoint import load_trained
from training.errors import TrainingError
from training.hosts.frame_labels import frame_labels
from training.hosts.gaufuse import GauFuse
from training.loop.fit import fit
from training.loop.review import review_videos, with_notes
from training.loop.trainer import Trainer
from training.recipe import TrainRecipe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> WtalData:
    """The toy data."""
    return toy_training_data(tmp_path_factory.mktemp("features"))


def gaufuse_recipe(**host: object) -> TrainRecipe:
    """Zhou et al. alone, twelve steps: reviews before steps 4, 7, 8, 9, 10 and 11."""
    recipe = tiny_recipe(host=RECIPES["gaufuse"], use_ksm=False, use_csr=False, use_dpid=False, use_head=False)
    changes = {f"model.host.{name}": value for name, value in host.items()}
    return recipe.changed({"loop.steps": 12, "loop.checkpoint_every": 100} | changes)


def host_of(kind: str = "gaufuse") -> Any:
    """Freshly made."""
    torch.manual_seed(0)
    return RECIPES[kind].build(streams=STREAMS, num_classes=3)


def test_whole_videos_are_all_videos_in_full(data: WtalData):
    """Each once, the shortest first, features as they are stored, every snippet in its place."""
    seen = list(data.whole(80))
    assert [len(batch.video_ids) for batch in seen] == [4, 3, 2]
    ids = [video_id for batch in seen for video_id in batch.video_ids]
    assert sorted(ids) == sorted(data.video_ids)
    lengths = [length for batch in seen for length in batch.targets.mask.sum(1).tolist()]
    assert lengths == sorted(data.lengths())
    for batch in seen:
        for row, video_id in enumerate(batch.video_ids):
            length = int(batch.targets.mask[row].sum())
            assert np.array_equal(batch.features[row, :length], data.store.load(video_id))
            assert batch.snippets[row, :length].tolist() == list(range(length))
            assert batch.targets.labels[row].tolist() == data.labels[data.video_ids.index(video_id)].tolist()


def test_notes_lie_on_the_snippets_that_they_are_of(data: WtalData):
    """Resampled or not: where a batch has a snippet's feature it has that snippet's note; padding has none."""
    notes = {video_id: torch.from_numpy(data.store.load(video_id).astype(np.float32)) for video_id in data.video_ids}
    scales = set()
    for step in range(6):
        batch = data.batch(step)
        noted = with_notes(batch, notes)
        assert noted.targets.notes is not None
        assert torch.equal(noted.targets.notes, batch.features)
        assert not noted.targets.notes[~batch.targets.mask].any()
        scales |= set(batch.scale.tolist())
        assert with_notes(batch, {}) is batch
        assert batch.targets.notes is None
    assert len(scales) > 1  # some were resampled


@pytest.mark.parametrize("snippets", [1, 30, 48, 80, 1000])
def test_whole_videos_go_together_up_to_a_number_of_snippets(data: WtalData, snippets: int):
    """With their padding; one that is longer goes alone, and no batch could have taken the next video, too."""
    seen = list(data.whole(snippets))
    sizes = [batch.targets.mask.shape for batch in seen]
    assert sum(count for count, _ in sizes) == len(data)
    assert all(count * longest <= snippets or count == 1 for count, longest in sizes)
    for batch, following in itertools.pairwise(seen):
        assert (len(batch.video_ids) + 1) * int(following.targets.mask[0].sum()) > snippets


def test_a_review_does_not_depend_on_how_videos_go_together(data: WtalData, monkeypatch: pytest.MonkeyPatch):
    """Labels and memory of Zhou et al. are the same from batches of one video and from one batch of all."""
    notes, memories = [], []
    for snippets in (1, 1000):
        monkeypatch.setattr("training.loop.review.BATCH_SNIPPETS", snippets)
        host: GauFuse = host_of()
        notes.append(review_videos(host, data, {}, step=260, total_steps=350, device=CPU))
        assert host.memory is not None
        memories.append(host.memory.scores)
    assert all(torch.allclose(note, notes[1][video_id], atol=1e-4) for video_id, note in notes[0].items())
    assert torch.allclose(*memories, rtol=1e-4)


def test_a_review_fills_the_memory_and_labels_every_video(data: WtalData):
    """Tokens and labels are those of eval mode, though the host was training; the labels before stand behind."""
    host: GauFuse = host_of()
    assert host.memory is not None
    host.memory.update(torch.ones(1, 8, 8), torch.full((1, 8, 3), 2.0), torch.ones(1, 3))  # of weights long gone
    previous = {
        video_id: torch.rand(length, 6) for video_id, length in zip(data.video_ids, data.lengths(), strict=True)
    }
    notes = review_videos(host.train(), data, previous, step=260, total_steps=350, device=CPU)
    assert notes.keys() == set(data.video_ids)
    scores: list[list[float]] = [[], [], []]
    for batch in data.whole(1):
        (video_id,), labels = batch.video_ids, batch.targets.labels[0]
        output = host.eval()(batch.features, batch.targets.mask)
        for label in labels.nonzero()[:, 0].tolist():
            scores[label] += host.token_scores(output.tokens)[0, :, label].tolist()
        branches = 0.8 * output.original.cas.softmax(-1) + 0.2 * output.moved.cas.softmax(-1)
        curves = (branches[..., :3] * output.attention.unsqueeze(-1))[0].detach().double().numpy()
        recipe = host.recipe.frame_labels
        wanted = frame_labels(curves, np.flatnonzero(labels), recipe=recipe, temperature=0.002)
        assert notes[video_id][:, :3].numpy() == pytest.approx(wanted, abs=1e-4)
        assert not notes[video_id][:, :3][:, labels == 0].any()
        assert torch.equal(notes[video_id][:, 3:], previous[video_id][:, :3])
    for label in range(3):
        assert host.memory.scores[label].tolist() == pytest.approx(sorted(scores[label], reverse=True)[:5], rel=1e-4)
    assert any(note[:, :3].any() for note in notes.values())


def test_a_review_before_the_labels_fills_the_memory_alone(data: WtalData):
    """At the memory's start nothing is noted, and at the first labels there are none before them."""
    host: GauFuse = host_of()
    assert host.memory is not None
    assert review_videos(host, data, {}, step=100, total_steps=350, device=CPU) == {}
    assert host.memory.scores.isfinite().all()
    notes = review_videos(host, data, {}, step=200, total_steps=350, device=CPU)
    assert not any(note[:, 3:].any() for note in notes.values())


def stored(run: Path) -> dict[str, Any]:
    """What training goes on from."""
    return torch.load(checkpoint(run) / "optimizer.pt", weights_only=True)


def test_runs_that_stop_around_reviews_end_alike(data: WtalData, tmp_path: Path):
    """Stopped before the memory starts, with it, before, between and after the labels: the same bits in the end."""
    recipe = gaufuse_recipe()
    seen: set[str] = set()
    fit(data, recipe, run=tmp_path / "whole", progress=lambda done, total, terms: seen.update(terms))
    assert {"host.memory", "host.memory_background", "host.frame_labels"} <= seen
    for stop in (3, 5, 7, 8, 11):
        trainer = Trainer(data, recipe, run=tmp_path / "parts")
        trainer.restore()
        while trainer.step < stop:
            trainer.advance()
        trainer.save({})
    fit(data, recipe, run=tmp_path / "parts", resume=True)
    whole, parts = stored(tmp_path / "whole"), stored(tmp_path / "parts")
    assert whole["notes"].keys() == set(data.video_ids)
    assert sorted(whole["buffers"]) == ["host.memory.scores", "host.memory.tokens"]
    assert_equal(whole, parts)
    weights = [load_file(checkpoint(tmp_path / name) / "model.safetensors") for name in ("whole", "parts")]
    assert_equal(*weights)


def test_inference_and_other_models_buffers(data: WtalData, tmp_path: Path):
    """A trained checkpoint localizes without reading its memory; a memory of another size is refused by name."""
    recipe = gaufuse_recipe()
    folder = fit(data, recipe, run=tmp_path)
    trained = load_trained(folder)
    assert trained.unread == 0
    host = trained.model.host
    assert isinstance(host, GauFuse)
    assert host.memory is not None
    assert host.memory.scores.isneginf().all()
    state = stored(tmp_path)
    state["buffers"]["host.memory.scores"] = torch.zeros(3, 4)
    torch.save(state, folder / "optimizer.pt")
    with pytest.raises(TrainingError, match=r"(?s)optimizer\.pt: holds the weights of another model.*memory\.scores"):
        fit(data, recipe, run=tmp_path, resume=True)


def test_other_hosts_are_never_asked(data: WtalData, tmp_path: Path):
    """No review, no note, no buffer in the checkpoint."""
    for kind in ("plain", "delu", "um"):
        host = host_of(kind)
        assert not any(host.reviews(step, 350) for step in range(350))
        assert host.review(data.whole(80), {}, step=0, total_steps=350) == {}
    fit(data, tiny_recipe(), run=tmp_path)
    assert stored(tmp_path)["notes"] == stored(tmp_path)["buffers"] == {}
