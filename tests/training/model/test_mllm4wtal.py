"""The whole model: its switches, what inference needs, and the fused T-CAM."""

import itertools

import numpy as np
import pytest
import torch

from tests.support.data.toy_data import CLASSES, STREAMS, tiny_recipe, toy_model, toy_training_data
from training.batches.data import WtalData
from training.errors import TrainingError
from training.hosts.co2net import Co2NetRecipe
from training.hosts.plain import PlainRecipe
from training.loop.teacher import (
    copy_for_teaching,
    is_due,
    make_pseudo_segments,
    pseudo_of_batch,
    update_average,
    voting_attention,
)
from training.model.localization_head import HeadRecipe, head_loss
from training.model.mllm4wtal import Mllm4Wtal, inference_model
from training.model.pseudo_labels import PseudoBatch, PseudoLabelRecipe, PseudoSegments
from training.nn.layers import Dropout
from training.nn.pooling import PoolingRecipe

HOSTS = {
    "plain": PlainRecipe(width=8, dropout=0.0),
    "co2net": Co2NetRecipe(width=8, dropout=0.0, attention_dropout=0.0),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> WtalData:
    """The toy data."""
    return toy_training_data(tmp_path_factory.mktemp("features"))


def some_pseudo(count: int) -> PseudoBatch:
    """One segment a video."""
    one = PseudoSegments(torch.tensor([2.0]), torch.tensor([6.0]), torch.tensor([0]), torch.tensor([1.0]))
    return PseudoBatch.pad([one] * count)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(("ksm", "csr", "head", "dpid"), list(itertools.product((False, True), repeat=4)))
def test_every_switch(data: WtalData, host: str, ksm: bool, csr: bool, head: bool, dpid: bool):
    """Each combination has the terms of its parts and no others, and every parameter that it has is trained."""
    model = toy_model(data, host=HOSTS[host], use_ksm=ksm, use_csr=csr, use_head=head, use_dpid=dpid)
    for module in model.modules():
        if isinstance(module, Dropout):
            module.rate = 0.0
    batch = data.batch(0)
    terms = model(batch, phase="joint", step=0, total_steps=1, pseudo=some_pseudo(len(batch.video_ids)))
    parts = {name.split(".")[0] for name in terms}
    expected = {"host"} | ({"ksm"} if ksm else set()) | ({"csr"} if csr else set()) | ({"head"} if head else set())
    assert parts == expected | ({"dpid"} if csr and dpid else set())
    torch.stack(list(terms.values())).sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert (model.word_vectors is None) == (not (ksm or csr))


def test_equal_seeds_give_equal_hosts(data: WtalData):
    """Whatever is plugged on, so that the arms of an ablation start from the same host."""
    full, bare = toy_model(data), toy_model(data, use_ksm=False, use_csr=False, use_head=False)
    for first, second in zip(full.host.parameters(), bare.host.parameters(), strict=True):
        assert torch.equal(first, second)


def test_head_loss_enters_with_its_weight(data: WtalData):
    """mu 1 times L_loc, and nothing while there are no pseudo segments."""
    batch = data.batch(0)
    model = toy_model(data, head_weight=3.0).eval()
    pseudo = some_pseudo(len(batch.video_ids))
    terms = model(batch, phase="match", step=0, total_steps=1, pseudo=pseudo)
    assert model.head is not None
    output = model.head(model.host(batch.features, batch.targets.mask).embedding, batch.targets.mask)
    expected = head_loss(output, pseudo, batch.targets.labels, recipe=model.recipe.head)
    for name, value in expected.items():
        assert terms[f"head.{name}"].item() == pytest.approx(3 * value.item(), rel=1e-5)
    assert not [name for name in model(batch, phase="match", step=0, total_steps=1) if name.startswith("head")]


@pytest.mark.parametrize("host", HOSTS)
def test_padding_does_not_change_localization(data: WtalData, host: str):
    """A video has the same T-CAM, attention, scores and head output alone and among longer ones."""
    model = toy_model(data, host=HOSTS[host]).eval()
    model.store_queries(data.query_pool())
    videos = next(data.whole(80))
    features, mask = videos.features, videos.targets.mask
    together = model.localize_forward(features, mask)
    for row in range(4):
        count = int(mask[row].sum())
        alone = model.localize_forward(features[row : row + 1, :count], mask[row : row + 1, :count])
        assert torch.allclose(together.cas[row, :count], alone.cas[0], atol=1e-5)
        assert torch.allclose(together.attention[row, :count], alone.attention[0], atol=1e-5)
        assert torch.allclose(together.video_scores[row], alone.video_scores[0], atol=1e-5)
        assert together.head is not None
        assert alone.head is not None
        real = together.head.mask[row]
        assert torch.allclose(together.head.logits[row, real], alone.head.logits[0, alone.head.mask[0]], atol=1e-5)


def test_inference_needs_no_text(data: WtalData):
    """Without CSR, text tower and word vectors the outputs are the same: stored queries stand for the texts."""
    model = toy_model(data).eval()
    model.store_queries(data.query_pool())
    videos = next(data.whole(48))
    features, mask = videos.features, videos.targets.mask
    expected = model.localize_forward(features, mask)
    lean = inference_model(model.recipe, streams=STREAMS, num_classes=len(CLASSES)).eval()
    weights = model.state_dict()
    lean.load_state_dict({name: weights[name] for name in lean.state_dict()})
    text_tower = {name for name in weights if name.startswith("ksm.")} - {"ksm.class_queries"}
    csr = {name for name in weights if name.startswith("csr.")}
    assert weights.keys() - lean.state_dict().keys() == text_tower | csr | {"word_vectors"}
    found = lean.localize_forward(features, mask)
    assert torch.equal(found.cas, expected.cas)
    assert torch.equal(found.video_scores, expected.video_scores)


@pytest.mark.parametrize("suppression", ["product", "suppress"])
def test_fused_t_cam_restated(data: WtalData, suppression: str):
    """(1 - share) softmax(S) + share softmax(M), background left out; video scores from the suppressed scores."""
    ksm = tiny_recipe().model.ksm.model_copy(update={"suppression": suppression})
    model = toy_model(data, fusion=0.25, ksm=ksm).eval()
    model.store_queries(data.query_pool())
    assert model.ksm is not None
    videos = next(data.whole(1))
    features, mask = videos.features, videos.targets.mask
    output = model.host(features, mask)
    matching = model.ksm.match(output.embedding, model.ksm.class_queries)
    result = model.localize_forward(features, mask)
    expected = 0.75 * output.cas.softmax(-1) + 0.25 * matching.softmax(-1)
    assert torch.allclose(result.cas, expected[..., : len(CLASSES)], atol=1e-6)
    count, scores = max(1, features.shape[1] // 7), []
    lowest = matching.min(-1, keepdim=True).values if suppression == "suppress" else 0
    for values in (model.host.suppressed(output), lowest + output.attention[..., None] * (matching - lowest)):
        top = np.sort(values[0].detach().numpy(), axis=0)[::-1][:count].mean(0)
        scores.append(np.exp(top) / np.exp(top).sum())
    assert np.allclose(result.video_scores[0].detach(), (0.75 * scores[0] + 0.25 * scores[1])[:-1], atol=1e-5)


def test_video_scores_against_the_background(data: WtalData):
    """Of host and KSM, each with its own pooling, which inference has, too: the pooled class against the pooled
    background."""
    pooling = PoolingRecipe(kind="auto", sharpness=0.5)
    ksm = tiny_recipe().model.ksm.model_copy(update={"pooling": pooling})
    model = toy_model(data, fusion=0.25, ksm=ksm).eval()
    model.store_queries(data.query_pool())
    assert model.ksm is not None
    lean = inference_model(model.recipe, streams=STREAMS, num_classes=len(CLASSES)).eval()
    weights = model.state_dict()
    lean.load_state_dict({name: weights[name] for name in lean.state_dict()})
    assert lean.ksm is not None
    assert "pooling.sharpness" in lean.ksm.state_dict()
    videos = next(data.whole(1))
    features, mask = videos.features, videos.targets.mask
    output = model.host(features, mask)
    cas = output.cas[0].detach().numpy()
    matching = model.ksm.match(output.embedding, model.ksm.class_queries)[0].detach().numpy()
    top = np.sort(cas, axis=0)[::-1][: max(1, len(cas) // 7)].mean(0)
    shares = np.exp(0.5 * matching) / np.exp(0.5 * matching).sum(0)
    expected = 0.0
    for share, pooled in ((0.75, top), (0.25, (shares * matching).sum(0))):
        expected = expected + share / (1 + np.exp(pooled[-1] - pooled[:-1]))
    found = lean.localize_forward(features, mask, kind="against_background")
    assert np.allclose(found.video_scores[0].detach(), expected, atol=1e-5)
    assert torch.equal(found.cas, model.localize_forward(features, mask).cas)


def test_branches_need_word_vectors():
    """The message says which parts need them and what makes them."""
    with pytest.raises(TrainingError, match=r"KSM and CSR.*make priors"):
        Mllm4Wtal(tiny_recipe().model, streams=STREAMS, num_classes=3)


def test_average_follows_the_weights(data: WtalData):
    """Each step keeps min(decay, (1 + step) / (10 + step)) of the average; gradients never reach it."""
    model = toy_model(data)
    average = copy_for_teaching(model)
    with torch.no_grad():
        for p in model.parameters():
            p += 1.0
    before = [p.clone() for p in average.parameters()]
    update_average(average, model, step=0, decay=0.999)
    for old, new in zip(before, average.parameters(), strict=True):
        assert torch.allclose(new, old + 0.9, atol=1e-5)
        assert not new.requires_grad
    update_average(average, model, step=10**6, decay=0.5)
    for old, new in zip(before, average.parameters(), strict=True):
        assert torch.allclose(new, old + 0.95, atol=1e-5)


def test_the_average_moves_to_the_bit(data: WtalData):
    """All parameters at once give what each gives alone."""
    model = toy_model(data)
    average = copy_for_teaching(model)
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn_like(p)
        wanted = [old.lerp(new, 1 - 4 / 13) for old, new in zip(average.parameters(), model.parameters(), strict=True)]
    update_average(average, model, step=3, decay=0.999)
    for found, expected in zip(average.parameters(), wanted, strict=True):
        assert torch.equal(found, expected)


def test_when_pseudo_segments_are_made():
    """From the end of the warm-up on, at shares of the run."""
    recipe = PseudoLabelRecipe(warmup=0.3, refresh=0.2)
    assert [step for step in range(20) if is_due(step, recipe, total_steps=20)] == [6, 10, 14, 18]


def labels_of(data: WtalData, labels: dict[str, object], **parts: bool) -> dict[str, PseudoSegments]:
    """Pseudo segments that the tiny model makes, with these fields of its recipe for them, and these switches."""
    head = HeadRecipe(width=8, levels=2, depth=1, pseudo_labels=PseudoLabelRecipe.model_validate(labels))
    teacher = copy_for_teaching(toy_model(data, head=head, **parts))
    return make_pseudo_segments(teacher, data, device=torch.device("cpu"))


def test_pseudo_segments_of_whole_videos(data: WtalData):
    """Every training video has some entry, of its own classes, within its length; batches of any size agree."""
    found, single = (labels_of(data, {"batch_snippets": snippets}) for snippets in (100, 1))
    assert found.keys() == set(data.video_ids)
    assert any(len(video.start) for video in found.values())
    for row, (video_id, length) in enumerate(zip(data.video_ids, data.lengths(), strict=True)):
        own = found[video_id]
        assert (own.start >= 0).all()
        assert (own.end <= length).all()
        assert set(own.label.tolist()) <= set(data.labels[row].nonzero()[0].tolist())
        for name, values in vars(own).items():
            assert torch.allclose(values, getattr(single[video_id], name), atol=1e-3), name


def test_recipes_that_counted_videos_are_still_read():
    """`batch_size`, which version 0.1 had, changed no result."""
    assert PseudoLabelRecipe.model_validate({"batch_size": 4, "keep": 0.5}) == PseudoLabelRecipe(keep=0.5)


def test_pseudo_segments_scale_with_their_batch():
    """A video that was resampled to half its length has its segments at half their places."""
    pseudo = {"v": PseudoSegments(torch.tensor([4.0]), torch.tensor([8.0]), torch.tensor([1]), torch.tensor([0.5]))}
    found = pseudo_of_batch(pseudo, ("v",), torch.tensor([0.5]))
    assert [value[0, 0].item() for value in (found.start, found.end, found.label, found.weight)] == [2, 4, 1, 0.5]
    assert not found.weight[:, 1:].any()


def bounds(found: dict[str, PseudoSegments]) -> list[list[float]]:
    """Starts and weights of every video, one list."""
    return [[*video.start.tolist(), *video.weight.tolist()] for video in found.values()]


@pytest.mark.parametrize(
    ("field", "votes"),
    [("attentions", (("ksm",), ("csr",), ("ksm", "csr"))), ("cams", (("host",), ("ksm",), ("host", "ksm")))],
)
def test_who_votes_for_pseudo_segments(data: WtalData, field: str, votes: tuple[tuple[str, ...], ...]):
    """Each attention, each T-CAM and the mean of both give segments of their own; without a branch, the host votes."""
    found = [bounds(labels_of(data, {field: voters})) for voters in votes]
    assert found[0] != found[1] != found[2] != found[0]
    part = {"attentions": "use_csr", "cams": "use_ksm"}[field]
    assert bounds(labels_of(data, {}, **{part: False})) == bounds(labels_of(data, {field: votes[0]}, **{part: False}))
    assert found[2] == bounds(labels_of(data, {}))


def test_the_voting_attention_is_the_mean(data: WtalData):
    """A_KSM and A_CSR count alike; each alone is taken as it is."""
    videos = next(data.whole(30))
    features, mask = videos.features, videos.targets.mask
    for votes in (("ksm",), ("csr",), ("csr", "ksm")):
        labels = PseudoLabelRecipe.model_validate({"attentions": votes})
        model = toy_model(data, head=HeadRecipe(pseudo_labels=labels)).eval()
        assert model.csr is not None
        output = model.host(features, mask)
        own = {"ksm": output.attention, "csr": model.csr.attention(features, mask)}
        expected = torch.stack([own[vote] for vote in votes]).mean(0)
        assert torch.allclose(voting_attention(model, output, features, mask), expected)


@pytest.mark.parametrize(("field", "votes", "part"), [("attentions", "csr", "use_csr"), ("cams", "ksm", "use_ksm")])
def test_an_absent_branch_can_not_vote_alone(data: WtalData, field: str, votes: str, part: str):
    """The message names the field and the switch."""
    with pytest.raises(TrainingError, match=rf"pseudo_labels.{field}: found {votes} alone, but model.{part} is off"):
        labels_of(data, {field: (votes,)}, **{part: False})
