"""Hosts: what holds for every one of them, and what is special to each. Parity is in test_parity."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.models.small_hosts import CLASSES, KINDS, RECIPES, STREAMS
from tests.support.plain.losses import plain_guide, plain_mil, plain_norm, plain_suppressed
from training.batches.data import Targets
from training.compat.forms import argsort_as_rank
from training.errors import TrainingError
from training.hosts.ddgnet import DdgNet, complementary_loss
from training.hosts.evidential import (
    curriculum,
    likelihood_loss,
    snippet_uncertainty,
    squares_loss,
    uncertainty_rank,
)
from training.hosts.gaufuse import GauFuse
from training.hosts.host import Host, StreamsOutput
from training.hosts.recipes import build_host
from training.hosts.um import NO_BACKGROUND, Um
from training.nn.layers import Dropout

TWO_STREAMS = ("co2net", "delu", "ddgnet")


def build(name: str, **changes: object) -> Host[Any]:
    """A small host on features 10 wide, three classes."""
    torch.manual_seed(0)
    recipe = type(RECIPES[name]).model_validate(RECIPES[name].model_dump() | changes)
    return recipe.build(streams=STREAMS, num_classes=CLASSES)


def without_dropout(host: Host[Any]) -> Host[Any]:
    """The host in training, deterministic."""
    for module in host.modules():
        if isinstance(module, Dropout):
            module.rate = 0.0
    return host.train()


def mask_of(*lengths: int, padding: int = 0) -> torch.Tensor:
    """Mask of videos that are so long."""
    return torch.arange(max(lengths) + padding) < torch.tensor(lengths)[:, None]


def features_of(mask: torch.Tensor, seed: int = 1) -> torch.Tensor:
    """Non-negative features, rubbish at padding included."""
    return torch.randn(*mask.shape, sum(STREAMS.values()), generator=torch.Generator().manual_seed(seed)).abs()


def targets(mask: torch.Tensor, *, paired: bool = True) -> Targets:
    """Rows 0 and 1 are a pair where there are two."""
    labels = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1]]).repeat(2, 1)[: len(mask)]
    pairs = torch.tensor([[0, 1]]) if paired and len(mask) > 1 else torch.zeros(0, 2, dtype=torch.int64)
    return Targets(labels, mask, pairs)


def total(terms: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss."""
    return torch.stack(list(terms.values())).sum()


@pytest.mark.parametrize("name", RECIPES)
@settings(max_examples=5, deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(1, 25), min_size=1, max_size=4), padding=st.integers(0, 9))
def test_padding_changes_nothing(name: str, lengths: list[int], padding: int):
    """Any batch gives each video the figures that it has alone; losses are finite and do not see padding."""
    host = build(name).eval()
    mask = mask_of(*lengths, padding=padding)
    features = features_of(mask)
    output = host(features, mask)
    scores = host.video_scores(output, mask)
    assert not output.cas[~mask].any()
    assert not output.attention[~mask].any()
    for row, length in enumerate(lengths):
        alone_mask = mask_of(length)
        alone = host(features[row : row + 1, :length], alone_mask)
        for field in ("embedding", "cas", "attention"):
            assert torch.allclose(getattr(output, field)[row, :length], getattr(alone, field)[0], atol=1e-4), field
        assert torch.allclose(scores[row], host.video_scores(alone, alone_mask)[0], atol=1e-4)
    terms = host.loss(output, targets(mask), step=3, total_steps=10)
    wider = mask_of(*lengths, padding=padding + 5)
    rubbish = torch.cat((features, 9 * torch.rand(len(lengths), 5, features.shape[2])), dim=1)
    again = host.loss(host(rubbish, wider), targets(wider), step=3, total_steps=10)
    for term, value in terms.items():
        assert torch.isfinite(value), term
        assert value.item() == pytest.approx(again[term].item(), rel=1e-3, abs=1e-5), term


@pytest.mark.parametrize("name", RECIPES)
def test_a_batch_costs_the_mean_of_its_videos(name: str):
    """Loss terms of a batch are the means of those of its videos, the pairs' aside."""
    host = build(name).eval()
    lengths = (14, 11, 23)
    mask = mask_of(*lengths)
    features = features_of(mask)
    together = host.loss(host(features, mask), targets(mask), step=3, total_steps=10)
    alone = []
    for row, length in enumerate(lengths):
        own_mask = mask_of(length)
        truth = Targets(targets(mask).labels[row : row + 1], own_mask, torch.zeros(0, 2, dtype=torch.int64))
        alone.append(host.loss(host(features[row : row + 1, :length], own_mask), truth, step=3, total_steps=10))
    # the consistency is a mean over the videos that have action (background) at all
    for term in together.keys() - {"pair", "consistency"}:
        mean = float(np.mean([terms[term].item() for terms in alone]))
        assert together[term].item() == pytest.approx(mean, rel=1e-4, abs=1e-6), term


@pytest.mark.parametrize("name", RECIPES)
def test_every_parameter_is_trained(name: str):
    """The losses reach each parameter with a gradient that is finite and not zero."""
    host = without_dropout(build(name))
    mask = mask_of(21, 24, 30)
    total(host.loss(host(features_of(mask), mask), targets(mask), step=0, total_steps=1)).backward()
    untrained = [n for n, p in host.named_parameters() if p.grad is None or not p.grad.any()]
    assert not untrained
    assert all(p.grad.isfinite().all() for p in host.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", RECIPES)
def test_odd_batches_train(name: str):
    """Finite gradients for one snippet, a constant video, no labels, and pairs that share no class."""
    host = build(name).train()
    mask = mask_of(1, 12, 12)
    features = features_of(mask)
    features[1] = features[1, 0]
    truth = Targets(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), mask, torch.tensor([[1, 2], [0, 1]]))
    terms = host.loss(host(features, mask), truth, step=0, total_steps=1)
    assert all(torch.isfinite(value) for value in terms.values()), terms
    total(terms).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in host.parameters())
    if "pair" in terms:
        assert terms["pair"].item() == 0


def test_plain_terms_restated():
    """In plain loops: MIL on S with the background present, on suppressed S with it absent, sparsity and guide."""
    host = build("plain", norm=0.5, guide=2.0, mil_ratio=5).eval()
    lengths = (9, 12, 15)
    mask = mask_of(*lengths)
    output, truth = host(features_of(mask), mask), targets(mask)
    terms = host.loss(output, truth, step=0, total_steps=1)
    cas, attention = output.cas.detach(), output.attention.detach()
    suppressed = plain_suppressed(cas, attention)
    expected = {
        "mil": plain_mil(cas, lengths, truth.labels, background=1, ratio=5),
        "mil_suppressed": plain_mil(suppressed, lengths, truth.labels, background=0, ratio=5),
        "norm": 0.5 * plain_norm(attention, lengths),
        "guide": 2.0 * plain_guide(cas, attention, lengths),
    }
    assert {name: t.item() for name, t in terms.items()} == pytest.approx(expected, rel=1e-4)


def test_training_and_video_scores_pool_alike():
    """The loss on the suppressed scores is the cross-entropy of the video scores, whatever the pooling."""
    mask = mask_of(9, 12, 15)
    truth = targets(mask)
    shares = truth.labels / truth.labels.sum(1, keepdim=True)
    for kind in ("top", "spread", "fitted", "log_sum_exp", "attention", "auto"):
        for name in ("plain", "co2net"):
            host = build(name, pooling={"kind": kind}).eval()
            output = host(features_of(mask), mask)
            scores = host.video_scores(output, mask)[:, :-1]
            expected = -(shares * scores.log()).sum(1).mean().item()
            found = host.loss(output, truth, step=0, total_steps=1)["mil_suppressed"].item()
            assert found == pytest.approx(expected, rel=1e-3), (kind, name)


@pytest.mark.parametrize("name", RECIPES)
def test_presence_is_of_each_class_by_itself(name: str):
    """In [0, 1], and no more than the padding allows; it need not sum to anything."""
    host = build(name).eval()
    mask = mask_of(12, 7, padding=3)
    output = host(features_of(mask), mask)
    found = host.presence(output, mask)
    assert found.shape == (2, CLASSES)
    assert ((found >= 0) & (found <= 1)).all()
    alone = mask_of(7)
    again = host.presence(host(features_of(mask)[1:, :7], alone), alone)
    assert torch.allclose(found[1], again[0], atol=1e-4)


@pytest.mark.parametrize("name", ["plain", "co2net", "um"])
def test_presence_does_not_depend_on_the_other_classes(name: str):
    """Two classes that are there have half of a softmax each, and the presence that one has alone."""
    host, mask = build(name).eval(), mask_of(10)
    output = host(features_of(mask), mask)
    one, two = torch.zeros(1, 10, CLASSES + 1), torch.zeros(1, 10, CLASSES + 1)
    background = NO_BACKGROUND if name == "um" else 8.0
    for scores, present in ((one, [0]), (two, [0, 1])):
        scores[..., present], scores[..., -1] = 8.0, background
    both = [replace(output, cas=scores, attention=torch.ones(1, 10)) for scores in (one, two)]
    shared = [host.video_scores(found, mask)[0, 0].item() for found in both]
    assert shared[1] < 0.7 * shared[0]
    first, second = (host.presence(found, mask)[0] for found in both)
    assert first.tolist() == pytest.approx([0.5, 0, 0], abs=1e-3)
    assert second.tolist() == pytest.approx([0.5, 0.5, 0], abs=1e-3)


WEIGHTS = {
    "plain": ("norm", "guide"),
    "co2net": ("norm", "guide", "pair", "mutual"),
    "ddgnet": ("norm", "guide", "pair", "mutual", "consistency", "complementary"),
    "um": ("uncertainty", "entropy"),
    "gaufuse": ("contrast", "teach"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_scale_their_terms(name: str):
    """Doubling a weight doubles its own term and no other."""
    mask = mask_of(9, 12, 15)
    features = features_of(mask)

    def terms(**weights: float) -> dict[str, float]:
        host = build(name, **dict.fromkeys(WEIGHTS[name], 1.0) | weights).eval()
        found = host.loss(host(features, mask), targets(mask), step=0, total_steps=1)
        return {term: value.item() for term, value in found.items()}

    base = terms()
    for changed in WEIGHTS[name]:
        expected = {term: (2 if term == changed else 1) * value for term, value in base.items()}
        assert terms(**{changed: 2.0}) == pytest.approx(expected, rel=1e-5), changed


@pytest.mark.parametrize("name", TWO_STREAMS)
def test_only_the_official_form_drops_attention_logits(name: str):
    """In training, the public code's attentions are 0.5 where the logit was dropped; the corrected form's are not."""
    mask = mask_of(40, 40)
    for official in (True, False):
        output = build(name, official=official).train()(features_of(mask), mask)
        halves = (output.streams[0] == 0.5).float().mean().item()
        assert (halves > 0.2) == official


@pytest.mark.parametrize("name", TWO_STREAMS)
def test_suppression_is_the_same_in_training_and_inference(name: str):
    """The corrected form reads video scores off what it trained on; the public code off A S."""
    half = torch.rand(1, 2)
    output = StreamsOutput(torch.zeros(1, 2, 10), torch.randn(1, 2, 4), torch.rand(1, 2), (half, half))
    corrected, official = build(name), build(name, official=True)
    assert torch.equal(corrected.train().suppressed(output), corrected.eval().suppressed(output))
    assert torch.equal(official.train().suppressed(output), corrected.suppressed(output))
    assert torch.equal(official.eval().suppressed(output), output.attention[..., None] * output.cas)


@pytest.mark.parametrize("name", TWO_STREAMS)
def test_two_streams_are_needed(name: str):
    """The message names what was found, and every host that can read it."""
    told = rf"host {name}: found features of 1 stream \(clip\), expected 2; .*--data.streams.*: plain, um, gaufuse"
    with pytest.raises(TrainingError, match=told):
        build_host(RECIPES[name], streams={"clip": 10}, num_classes=3)
    with pytest.raises(TrainingError, match=r"found features of 3 streams \(rgb, flow, clip\)"):
        build_host(RECIPES[name], streams={"rgb": 2, "flow": 2, "clip": 3}, num_classes=3)


@pytest.mark.parametrize("name", [name for name in KINDS if RECIPES[name].num_streams is None])
@pytest.mark.parametrize("streams", [{"clip": 10}, {"rgb": 4, "flow": 4, "clip": 2}], ids=["one", "three"])
def test_other_hosts_read_any_number_of_streams(name: str, streams: dict[str, int]):
    """One stream, or three; the width is that of all."""
    host = build_host(RECIPES[name], streams=streams, num_classes=3).eval()
    assert host(torch.rand(2, 9, 10), torch.ones(2, 9, dtype=torch.bool)).cas.shape == (2, 9, 4)


@pytest.mark.parametrize("name", KINDS)
def test_output_in_single_precision(name: str):
    """Every tensor of an output, in tuples and in dataclasses of it, too; an attention is from the start."""
    mask = mask_of(5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = build(name)(features_of(mask), mask)
    assert output.attention.dtype == torch.float32
    assert (torch.bfloat16 in dtypes(output)) == (name != "gaufuse")  # which embeds in bf16, and no more
    found = output.float()
    assert type(found) is type(output)
    assert dtypes(found) == {torch.float32}


def dtypes(value: Any) -> set[torch.dtype]:
    """Of the tensors in a tuple or dataclass."""
    if isinstance(value, torch.Tensor):
        return {value.dtype}
    parts = value if isinstance(value, tuple) else vars(value).values()
    return set().union(*map(dtypes, parts))


def ranks(values: torch.Tensor) -> torch.Tensor:
    """Rank of each value."""
    return values.argsort().argsort().double()


def rank_correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    """Spearman's."""
    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


def test_curriculum_follows_the_uncertainty():
    """At first uncertain snippets weigh more, at last certain ones; the public code's weights know nothing of it."""
    mask = mask_of(320)
    uncertainty = snippet_uncertainty(3 * torch.randn(1, 320, 21, generator=torch.Generator().manual_seed(0)))
    for progress, sign in ((0.0, 1), (1.0, -1)):
        corrected, official = (
            curriculum(rank_of(uncertainty, mask), mask, progress=progress, amplitude=0.7)[0]
            for rank_of in (uncertainty_rank, argsort_as_rank)
        )
        assert sign * rank_correlation(uncertainty[0], corrected) > 0.99
        assert abs(rank_correlation(uncertainty[0], official)) < 0.2
        assert torch.allclose(corrected.sort().values, official.sort().values)
    halfway = curriculum(uncertainty_rank(uncertainty, mask), mask, progress=0.5, amplitude=0.7)
    assert torch.allclose(halfway, torch.ones(1, 320))


def test_curriculum_by_hand():
    """1 + amplitude tanh(theta delta), theta in -1 .. 1 by rank, over each video's own length."""
    uncertainty, mask = torch.tensor([[0.3, 0.1, 0.2, 0.9], [0.5, 0.6, 0.0, 0.0]]), mask_of(4, 2)
    found = curriculum(uncertainty_rank(uncertainty, mask), mask, progress=0.25, amplitude=0.5)
    expected = [1 + 0.5 * np.tanh(0.5 * theta) for theta in (0.25, -0.75, -0.25, 0.75)]
    assert found[0].tolist() == pytest.approx(expected)
    assert found[1, :2].tolist() == pytest.approx([1 + 0.5 * np.tanh(0.5 * theta) for theta in (-0.5, 0.5)])


def test_evidence_by_hand():
    """Two classes: one that is there, with evidence e and alpha = e + 1, and one that is not."""
    logits, labels = torch.tensor([[np.log(3.0), 0.0]]).float(), torch.tensor([[1.0, 0.0]])
    alpha = np.array([4.0, 2.0])
    expected = (1 - 2 / alpha.sum()) * np.log(alpha.sum() / alpha[0])
    assert likelihood_loss(logits, labels).item() == pytest.approx(expected, rel=1e-6)
    alpha = np.array([1 + np.log(3.0), 1.0])
    expected = (1 - alpha[0] / alpha.sum()) ** 2 + (alpha[1] / alpha.sum()) ** 2
    assert squares_loss(logits, labels).item() == pytest.approx(expected, rel=1e-6)
    assert likelihood_loss(torch.full((1, 2), 99.0), torch.zeros(1, 2)).item() == 0


def test_who_listens_to_whom():
    """Action to action, background to background, ambiguous to both and to itself: restated snippet by snippet."""
    host = build("ddgnet", similarity=0.6, neighbour_ratio=3)
    assert isinstance(host, DdgNet)
    mask = mask_of(12, 9)
    features = features_of(mask)
    generator = torch.Generator().manual_seed(5)
    attentions = [torch.rand(2, 12, generator=generator) for _ in range(2)]
    graph = host.graph(features.split([6, 4], dim=-1), attentions, mask)
    for row, length in enumerate((12, 9)):
        above = np.stack([a[row, :length].numpy() >= 0.5 for a in attentions])
        kinds = np.where(above.all(0), "action", np.where(above.any(0), "ambiguous", "background"))
        parts = [x.numpy() / np.linalg.norm(x, axis=1, keepdims=True) for x in features[row, :length].split([6, 4], 1)]
        similarity = np.mean([part @ part.T for part in parts], axis=0)
        for listener in range(length):
            nearest = set(np.argsort(-similarity[listener])[: length // 3].tolist())
            weights = np.zeros(12)
            for speaker in range(length):
                heard = kinds[speaker] == kinds[listener]
                if kinds[listener] == "ambiguous":
                    heard = kinds[speaker] != "ambiguous" or speaker == listener
                if heard and speaker in nearest and similarity[listener, speaker] >= 0.6:
                    weights[speaker] = similarity[listener, speaker]
            assert np.allclose(graph.weights[row, listener], weights / weights.sum(), atol=1e-5)
    assert not graph.weights[1, 9:].any()


def test_complementary_by_hand():
    """Snippets speak against class 1 alone: class 0 and the background may be there."""
    cas = torch.randn(1, 4, 3)
    against = -(1 - cas.softmax(-1)[0, :3, 1]).log()
    assert complementary_loss(cas, mask_of(3, padding=1), torch.tensor([[1.0, 0]])).item() == pytest.approx(
        against.mean().item(), rel=1e-5
    )


def test_um_attention_and_scores():
    """The attention is where a length lies between the shortest and the longest; scores have no background."""
    host = build("um", mil_ratio=4, background_ratio=3).eval()
    mask = mask_of(12, 8)
    output = host(features_of(mask), mask)
    for row, length in enumerate((12, 8)):
        lengths = output.embedding[row, :length].norm(dim=-1).detach().numpy()
        low, high = np.sort(lengths)[: length // 3].mean(), np.sort(lengths)[::-1][: length // 4].mean()
        assert np.allclose(
            output.attention[row, :length].detach(), np.clip((lengths - low) / (high - low), 0, 1), atol=1e-5
        )
    scores = host.video_scores(output, mask)
    assert not scores[:, -1].any()
    assert (output.cas[mask][:, -1] == NO_BACKGROUND).all()
    assert torch.allclose(scores.sum(1), torch.ones(2))


def test_um_chooses_among_the_snippets_that_dropout_left():
    """In training action and background come from one random subset; in inference from all."""
    host = build("um", dropout=0.5, mil_ratio=12, background_ratio=12)
    assert isinstance(host, Um)
    mask = mask_of(24)
    features = features_of(mask)
    torch.manual_seed(5)
    output = host.train()(features, mask)
    torch.manual_seed(5)
    torch.rand_like(output.embedding)  # what the classifier did not see
    left = torch.rand(1, 24) >= 0.5
    length = output.embedding.norm(dim=-1)
    for found, keys in ((output.action, length * left), (output.background, (length.max() - length) * left)):
        assert set(found.nonzero()[:, 1].tolist()) == set(keys[0].topk(2).indices.tolist())
    best = host.eval()(features, mask)
    assert set(best.action.nonzero()[:, 1].tolist()) == set(best.embedding.norm(dim=-1)[0].topk(2).indices.tolist())


def test_random_walk_equals_the_inverse():
    """The m x m inverse gives what that of the t x t matrix does."""
    host = build("gaufuse", tokens=5).eval()
    assert isinstance(host, GauFuse)
    mask = mask_of(9)
    embedding = host(features_of(mask), mask).embedding
    tokens = host.fit_tokens(embedding, mask)
    unit = torch.nn.functional.normalize
    z = (5 * unit(tokens[0], dim=-1) @ unit(embedding[0], dim=-1).T).softmax(0)
    affinity = z.T @ (z / z.sum(1, keepdim=True))
    expected = 0.5 * torch.linalg.inv(torch.eye(9) - 0.25 * affinity) @ (0.5 * z.T @ tokens[0] + embedding[0])
    assert torch.allclose(host.reallocate(embedding, tokens, mask)[0], expected, atol=1e-5)


def test_gaufuse_mixes_its_branches():
    """T-CAM and video scores are shares of both branches' probabilities."""
    host = build("gaufuse", moved_cas=0.25, moved_video=0.1).eval()
    mask = mask_of(9)
    output = host(features_of(mask), mask)
    expected = 0.75 * output.original.cas.softmax(-1) + 0.25 * output.moved.cas.softmax(-1)
    assert torch.allclose(output.cas.softmax(-1), expected, atol=1e-6)
    video = 0.9 * output.original.attended.softmax(-1) + 0.1 * output.moved.attended.softmax(-1)
    assert torch.allclose(host.video_scores(output, mask), video, atol=1e-6)


def test_dropout():
    """In training a share of the values is zeroed and the mean stays; in inference nothing happens."""
    torch.manual_seed(0)
    dropout, x = Dropout(0.7), torch.ones(100, 100)
    found = dropout(x)
    assert found.unique().tolist() == pytest.approx([0, 1 / 0.3])
    assert (found == 0).float().mean().item() == pytest.approx(0.7, abs=0.02)
    assert torch.equal(dropout.eval()(x), x)
