"""The memory of Zhou et al.: what it keeps, and what the branch that it moves adds to the losses of training alone."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.models.small_hosts import CLASSES, RECIPES, STREAMS
from training.batches.data import Targets
from training.hosts.class_memory import ClassMemory
from training.hosts.gaufuse import GauFuse, GauFuseOutput

PAIRS = torch.zeros(0, 2, dtype=torch.int64)
LABELS = torch.tensor([[1.0, 0, 0], [1, 0, 1], [0, 0, 1]])
LATE = {"step": 320, "total_steps": 350}


def small_host(**changes: Any) -> GauFuse:
    """Features 10 wide, three classes, no dropout; class 1 is not in its memory, class 2 has two tokens."""
    torch.manual_seed(0)
    recipe = type(RECIPES["gaufuse"]).model_validate(RECIPES["gaufuse"].model_dump() | {"dropout": 0.0} | changes)
    host = recipe.build(streams=STREAMS, num_classes=CLASSES)
    assert isinstance(host, GauFuse)
    if host.memory is not None:
        rng = torch.Generator().manual_seed(1)
        for count, label in ((9, 0), (2, 2)):
            tokens, scores = torch.rand(1, count, 8, generator=rng), torch.rand(1, count, 3, generator=rng)
            host.memory.update(tokens, scores, F.one_hot(torch.tensor([label]), 3).float())
    return host


def batch(*lengths: int, seed: int = 2) -> tuple[torch.Tensor, Targets]:
    """Features, rubbish at padding included, and targets with notes."""
    rng = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    notes = torch.rand(*mask.shape, 6, generator=rng) * mask.unsqueeze(-1)
    features = torch.randn(*mask.shape, 10, generator=rng).abs()
    return features, Targets(LABELS[: len(lengths)], mask, PAIRS, notes)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_memory_keeps_the_best_of_all_tokens_seen(batches: list[int], seed: int):
    """After any batches: the five highest scores of each class among the tokens of its own videos, best first."""
    rng = torch.Generator().manual_seed(seed)
    memory, seen = ClassMemory(3, 5, 4), [list[tuple[float, list[float]]]() for _ in range(3)]
    for videos in batches:
        tokens, scores = torch.randn(videos, 2, 4, generator=rng), torch.rand(videos, 2, 3, generator=rng)
        labels = (torch.rand(videos, 3, generator=rng) > 0.5).float()
        memory.update(tokens, scores, labels)
        for video, token, label in torch.cartesian_prod(torch.arange(videos), torch.arange(2), torch.arange(3)):
            if labels[video, label]:
                seen[label].append((scores[video, token, label].item(), tokens[video, token].tolist()))
    for label, found in enumerate(seen):
        best = sorted(found, reverse=True)[:5]
        assert memory.scores[label, : len(best)].tolist() == [score for score, _ in best]
        assert memory.scores[label, len(best) :].isneginf().all()
        assert memory.tokens[label, : len(best)].tolist() == [token for _, token in best]
    memory.clear()
    assert not memory.of_classes(torch.ones(1, 3))[1].any()


def test_a_video_recalls_the_tokens_of_its_own_classes():
    """All that there are and no other; videos with fewer classes or tokens are padded."""
    host = small_host()
    assert host.memory is not None
    tokens, there = host.memory.of_classes(torch.cat([LABELS, torch.tensor([[0.0, 1, 0], [0, 0, 0]])]))
    assert there.sum(1).tolist() == [5, 7, 2, 0, 0]
    stored, filled = host.memory.tokens, host.memory.scores.isfinite()
    for row, own in enumerate(([0], [0, 2], [2])):
        wanted = torch.cat([stored[label][filled[label]] for label in own])
        assert torch.equal(tokens[row][there[row]], wanted)


def plain_walk(x: torch.Tensor, tokens: torch.Tensor, *, walk: float = 0.5, sharpness: float = 5.0) -> torch.Tensor:
    """(1 - w) (I - w^2 Z' Z_n)^-1 (w Z' M + X) with the inverse of t x t figures."""
    assigned = (sharpness * F.normalize(tokens, dim=-1) @ F.normalize(x, dim=-1).T).softmax(dim=0)
    affinity = assigned.T @ (assigned / assigned.sum(dim=1, keepdim=True))
    return (1 - walk) * torch.linalg.inv(torch.eye(len(x)) - walk**2 * affinity) @ (walk * assigned.T @ tokens + x)


def recalled_by_hand(host: GauFuse, output: GauFuseOutput, targets: Targets) -> list[Any]:
    """Of each video alone: the prediction for its snippets after the walk over the memory."""
    assert host.memory is not None
    found = []
    for row, length in enumerate(targets.mask.sum(1).tolist()):
        own = targets.labels[row] > 0
        tokens = host.memory.tokens[own][host.memory.scores[own].isfinite()]
        moved = plain_walk(output.embedding[row, :length], tokens)
        found.append(host.predict(moved[None], torch.ones(1, length, dtype=torch.bool)))
    return found


def test_memory_terms_restated():
    """Half of both classifications of the third branch; it is a fifth of the teacher, and no gradient reaches that."""
    host = small_host().eval()
    features, targets = batch(9, 12, 7)
    output = host(features, targets.mask)
    terms = host.loss(output, targets, step=110, total_steps=350)
    attended, classwise, taught = [], [], []
    for row, recalled in enumerate(recalled_by_hand(host, output, targets)):
        label, length = targets.labels[row], int(targets.mask[row].sum())
        for logits, wanted, losses in (
            (recalled.attended[0], F.pad(label, (0, 1)), attended),
            (recalled.classwise[0], F.pad(label, (0, 1), value=1.0), classwise),
        ):
            losses.append(-(wanted / wanted.sum() * logits.log_softmax(0)).sum())
        teacher = 0.8 * output.moved.cas[row, :length] + 0.2 * recalled.cas[0]
        student = (output.original.cas[row, :length] / 0.2).log_softmax(-1)
        taught.append(-((teacher.detach() / 0.2).softmax(-1) * student).sum(-1).mean())
    assert terms["memory"].item() == pytest.approx(0.5 * torch.stack(attended).mean().item(), rel=1e-4)
    assert terms["memory_background"].item() == pytest.approx(0.1 * torch.stack(classwise).mean().item(), rel=1e-4)
    mean = torch.stack(taught).mean()
    assert terms["teach"].item() == pytest.approx(0.5 * mean.item(), rel=1e-4)
    assert host.loss(output, targets, step=210, total_steps=350)["teach"].item() == pytest.approx(mean.item(), rel=1e-4)
    ours, theirs = (torch.autograd.grad(loss, host.classes, retain_graph=True) for loss in (terms["teach"], 0.5 * mean))
    assert torch.allclose(ours[0], theirs[0], atol=1e-5)


def test_padding_and_company_change_nothing():
    """With memory and frame labels a batch costs the mean of its videos, however far it is padded."""
    host = small_host().eval()
    features, targets = batch(9, 12, 7)
    together = host.loss(host(features, targets.mask), targets, **LATE)
    assert {"memory", "memory_background", "frame_labels"} <= together.keys()
    alone = []
    for row, length in enumerate((9, 12, 7)):
        assert targets.notes is not None
        mask, notes = torch.ones(1, length, dtype=torch.bool), targets.notes[row : row + 1, :length]
        own = Targets(targets.labels[row : row + 1], mask, PAIRS, notes)
        alone.append(host.loss(host(features[row : row + 1, :length], mask), own, **LATE))
    for term, value in together.items():
        mean = sum(terms[term].item() for terms in alone) / 3
        assert value.item() == pytest.approx(mean, rel=1e-4, abs=1e-6), term


@pytest.mark.parametrize("labels", [[0.0, 0, 0], [0.0, 1, 0]])
def test_a_video_that_the_memory_knows_nothing_of(labels: list[float]):
    """No label, or a class without tokens: the moved snippets alone teach, the branch costs nothing, and nothing is
    NaN."""
    host = small_host()
    features, targets = batch(9, seed=3)
    own = Targets(torch.tensor([labels]), targets.mask, PAIRS)
    output = host(features, own.mask)
    late = host.eval().loss(output, own, step=110, total_steps=350)
    assert late["memory"].item() == late["memory_background"].item() == 0
    assert late["teach"].item() == pytest.approx(0.5 * host.loss(output, own, step=0, total_steps=350)["teach"].item())
    torch.stack(list(late.values())).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in host.parameters())


def test_training_takes_the_tokens_of_its_batches_in():
    """In training, once the memory has started, and after it was read; not in eval mode."""
    host = small_host()
    features, targets = batch(9, 12, 7)
    assert host.memory is not None
    before, tokens = host.memory.scores.clone(), host.memory.tokens.clone()
    output = host(features, targets.mask)
    host.train().loss(output, targets, step=99, total_steps=350)
    read = host.eval().loss(output, targets, step=100, total_steps=350)
    assert torch.equal(host.memory.scores, before)
    trained = host.train().loss(output, targets, step=100, total_steps=350)
    assert trained["memory"].item() == read["memory"].item()
    wanted = ClassMemory(CLASSES, 5, 8)
    wanted.tokens.copy_(tokens)
    wanted.scores.copy_(before)
    cosines = F.normalize(output.tokens, dim=-1) @ F.normalize(host.classes, dim=-1).T
    wanted.update(output.tokens, (20 * cosines).softmax(-1)[..., :3], targets.labels)
    assert torch.allclose(host.memory.scores, wanted.scores)
    assert torch.equal(host.memory.tokens, wanted.tokens)
    assert not torch.equal(host.memory.scores, before)


def test_inference_knows_nothing_of_it():
    """A memory full of NaN changes no output; no weight has its name; a host without the later stages is the same."""
    host, plain = small_host().eval(), small_host(use_memory=False, use_frame_labels=False).eval()
    features, targets = batch(9, 12, 7)
    output, other = host(features, targets.mask), plain(features, targets.mask)
    assert host.memory is not None
    host.memory.tokens.fill_(torch.nan)
    again = host(features, targets.mask)
    for found in (again, other):
        assert torch.equal(output.cas, found.cas)
        assert torch.equal(host.video_scores(output, targets.mask), plain.video_scores(found, targets.mask))
    assert host.state_dict().keys() == plain.state_dict().keys() == dict(plain.named_parameters()).keys()


def test_first_stage_is_that_of_a_host_without_the_others():
    """Until the memory starts the terms are the same to the last bit; with all switched off they stay so."""
    host, plain = small_host().train(), small_host(use_memory=False, use_frame_labels=False).train()
    features, targets = batch(9, 12, 7)
    early = Targets(targets.labels, targets.mask, PAIRS)
    terms = host.loss(host(features, targets.mask), early, step=99, total_steps=350)
    for step in (99, 320):
        other = plain.loss(plain(features, targets.mask), targets, step=step, total_steps=350)
        assert {name: value.item() for name, value in terms.items()} == {n: v.item() for n, v in other.items()}
    assert not any(plain.reviews(step, 350) for step in range(350))
    assert [step for step in range(350) if host.reviews(step, 350)] == [100, 200, 230, 245, 260, 275, 300]
