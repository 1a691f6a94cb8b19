"""bf16 and float32: forward passes may be either, losses, geometry and gates are float32 on every device."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import pytest
import torch

from tests.support.data.toy_data import tiny_recipe, toy_training_data
from tests.support.models.dispatch_modes import cuda_autocast_rules
from tests.support.models.small_hosts import KINDS, RECIPES, STREAMS
from tests.support.models.steps import DEVICES, LATE, inputs, model_of, terms_of
from training.batches.data import WtalData
from training.hosts.ddgnet import DdgNet
from training.hosts.gaufuse import GauFuse
from training.hosts.plain import PlainHost
from training.hosts.two_stream import AttentionHead
from training.model.csr import CsrRecipe, ReconstructionAttention
from training.model.distillation import Phase
from training.model.localization_head import HeadRecipe, LocalizationHead, assign, head_loss
from training.model.pseudo_labels import PseudoBatch, PseudoSegments
from training.nn.layers import Dropout, SnippetConv
from training.nn.precision import as_float32, full_precision
from training.optimizers import BRANCHES, build_optimizers, gradient_norm, take_step

CPU = torch.device("cpu")
bf16 = partial(torch.autocast, dtype=torch.bfloat16)
PRECISIONS: dict[str, Callable[[str], AbstractContextManager[Any]]] = {
    "float32": lambda device: nullcontext(),
    "bf16": bf16,
    "bf16 by CUDA's rules": lambda device: cuda_autocast_rules(),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> WtalData:
    """The toy data."""
    return toy_training_data(tmp_path_factory.mktemp("features"))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("phase", ["match", "reconstruct", "joint"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_in_every_precision(data: WtalData, kind: str, precision: str, phase: Phase, device: str):
    """Terms are float32 and finite, as are gradients, and the weights move and stay float32."""
    model = model_of(data, kind, device)
    batch, pseudo = inputs(data, model, device)
    optimizers = build_optimizers(model, tiny_recipe().loop)
    terms = terms_of(model, batch, pseudo, phase, PRECISIONS[precision](device))
    assert {name for name, value in terms.items() if value.dtype != torch.float32 or not value.isfinite()} == set()
    parts = {"match": {"host", "ksm", "head", "dpid"}, "reconstruct": {"csr", "dpid"}}
    assert {name.split(".")[0] for name in terms} == set().union(*(parts[branch] for branch in BRANCHES[phase]))
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for branch in BRANCHES[phase]:
        assert gradient_norm(optimizers[branch], clip=10.0).isfinite()
        take_step(optimizers[branch], factor=1.0)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert {name.startswith("csr.") for name in moved} == {branch == "reconstruct" for branch in BRANCHES[phase]}
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
def test_losses_agree_across_precisions(data: WtalData, kind: str, device: str):
    """Of the same weights and draws, dropout's included: every term within 1 %."""
    model = model_of(data, kind, device)
    batch, pseudo = inputs(data, model, device)
    state = {name: value.clone() for name, value in model.named_buffers()}
    found = []
    for context in (nullcontext(), bf16(device)):
        for name, value in model.named_buffers():
            value.copy_(state[name])  # the memory takes in each batch
        found.append({name: t.item() for name, t in terms_of(model, batch, pseudo, "joint", context).items()})
    assert found[1] == pytest.approx(found[0], rel=0.01, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_ends_at_the_outputs(data: WtalData, kind: str):
    """Losses and fused scores under autocast are, to the bit, those of the same outputs without it."""
    model = model_of(data, kind).eval()
    model.store_queries(data.query_pool())
    assert model.ksm is not None
    assert model.head is not None
    batch, pseudo = inputs(data, model)
    model.eval()
    features, targets, texts = batch.features, batch.targets, batch.key_texts
    assert texts is not None
    with torch.no_grad(), bf16("cpu"):
        terms = model(batch, phase="match", **LATE, pseudo=pseudo)
        localized = model.localize_forward(features, targets.mask)
        output = model.host(features, targets.mask).float()
        queries = model.ksm.queries(model._vectors(texts.ids), texts.mask)
        points = model.head(output.embedding, targets.mask).float()
    with torch.no_grad():
        scores = model.ksm.match(output.embedding, queries)
        wanted = {
            "host": model.host.loss(output, targets, **LATE),
            "ksm": model.ksm.loss(scores, output.attention, targets.mask, targets.labels),
            "head": head_loss(points, pseudo, targets.labels, recipe=model.recipe.head),
        }
        fused = model.fused(output, targets.mask)
    for part, losses in wanted.items():
        for name, value in losses.items():
            assert torch.equal(terms[f"{part}.{name}"], value), (part, name)
    assert torch.equal(localized.cas, fused[0])
    assert torch.equal(localized.video_scores, fused[1])


def long_video() -> tuple[LocalizationHead, torch.Tensor, torch.Tensor, PseudoBatch]:
    """A head, the embedding of 600 snippets, its mask, and pseudo segments that no bf16 figure can bound."""
    torch.manual_seed(0)
    head = LocalizationHead(16, 3, HeadRecipe(width=8))
    rows = [[301.0, 306.6, 0.9], [555.4, 561.3, 0.7], [20.3, 260.9, 1.0]]
    start, end, weight = torch.tensor(rows).unbind(dim=1)
    pseudo = PseudoBatch.pad([PseudoSegments(start, end, torch.tensor([0, 1, 2]), weight)])
    return head, torch.randn(1, 600, 16), torch.ones(1, 600, dtype=torch.bool), pseudo


def test_the_targets_of_a_long_video_are_those_of_float32():
    """Points, bounds and weights of 600 snippets: bf16 knows even numbers alone behind 256."""
    head, embedding, mask, pseudo = long_video()
    wanted = assign(head(embedding, mask), pseudo, recipe=head.recipe)
    assert wanted.positive.sum() > 5
    with bf16("cpu"):
        output = head(embedding, mask)
        found = assign(output, pseudo, recipe=head.recipe)
    for name, value in vars(wanted).items():
        assert torch.equal(getattr(found, name), value), name
    for value in (output.points, output.strides, output.offsets):
        assert value.dtype == torch.float32
    assert output.points[:600].tolist() == [i + 0.5 for i in range(600)]


def test_boundaries_far_away_are_not_rounded():
    """The head can say 301.3 snippets under autocast: bf16 knows 302 and 300."""
    head, embedding, mask, _ = long_video()
    torch.nn.init.zeros_(head.regress.weight)
    torch.nn.init.constant_(head.regress.bias, 301.3)
    with bf16("cpu"):
        output = head(embedding, mask)
    assert output.offsets[0, 0].tolist() == pytest.approx([301.3, 301.3])


def test_the_losses_of_a_long_video_agree():
    """Focal, DIoU and MIL of 600 snippets, within 1 %."""
    head, embedding, mask, pseudo = long_video()
    labels = torch.tensor([[1.0, 1, 1]])
    wanted = head_loss(head(embedding, mask), pseudo, labels, recipe=head.recipe)
    with bf16("cpu"):
        output = head(embedding, mask).float()
        with full_precision():
            found = head_loss(output, pseudo, labels, recipe=head.recipe)
    numbers = [{name: value.item() for name, value in terms.items()} for terms in (found, wanted)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.01)


def with_logit(layer: SnippetConv, logit: float) -> torch.nn.Parameter:
    """Let the layer say so everywhere; its bias."""
    torch.nn.init.zeros_(layer.linear.weight)
    torch.nn.init.constant_(layer.linear.bias, logit)
    return layer.linear.bias


@pytest.mark.parametrize("part", ["csr", "plain", "co2net", "delu", "ddgnet"])
def test_an_attention_can_leave_one(part: str):
    """At the logit 6.5 every attention is below 1 and has a gradient, in bf16 as in float32."""
    features, mask = torch.rand(1, 12, 10), torch.ones(1, 12, dtype=torch.bool)
    if part == "csr":
        csr = ReconstructionAttention(CsrRecipe(width=8), feature_width=10)
        biases, attend = [with_logit(csr.attend[1], 6.5)], csr.attention  # pyright: ignore[reportArgumentType]
    else:
        host = RECIPES[part].build(streams=STREAMS, num_classes=3)
        attend = lambda features, mask: host(features, mask).attention  # noqa: E731
        heads = [m[2] for m in host.modules() if isinstance(m, AttentionHead)]
        last = [host.attention_logit] if isinstance(host, PlainHost) else heads
        biases = [with_logit(layer, 6.5) for layer in last]  # pyright: ignore[reportArgumentType]
    with bf16("cpu"):
        attention = attend(features, mask)
    assert attention.tolist() == [pytest.approx([0.9985] * 12, abs=1e-4)]
    (attention.sum() / len(biases)).backward()
    assert all(bias.grad is not None and bias.grad.item() > 1e-3 for bias in biases)


def test_graphs_and_walks_are_those_of_float32():
    """DDG-Net's graph, and Zhou et al.'s tokens, walk and scores, of the same features: equal under autocast."""
    torch.manual_seed(0)
    mask = torch.arange(40) < torch.tensor([40, 31])[:, None]
    features = torch.rand(2, 40, 10)
    ddgnet, gaufuse = (RECIPES[name].build(streams=STREAMS, num_classes=3) for name in ("ddgnet", "gaufuse"))
    assert isinstance(ddgnet, DdgNet)
    assert isinstance(gaufuse, GauFuse)
    attentions = [torch.rand(2, 40) for _ in range(2)]
    figures = []
    for context in (nullcontext(), bf16("cpu")):
        with context:
            graph = ddgnet.graph(features.split([6, 4], dim=-1), attentions, mask)
            embedding = features[..., :8]
            tokens = gaufuse.fit_tokens(embedding, mask)
            predicted = vars(gaufuse.predict(gaufuse.reallocate(embedding, tokens, mask), mask)).values()
            figures.append([graph.weights, tokens, gaufuse.token_scores(tokens), *predicted])
    for wanted, found in zip(*figures, strict=True):
        assert torch.equal(wanted, found)


def test_dropout_draws_in_float32():
    """The same places fall out of bf16 values as of float32 ones, and what is left keeps its type."""
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        found.append(Dropout(0.3)(torch.ones(4000, dtype=dtype)))
    assert [values.dtype for values in found] == [torch.float32, torch.bfloat16]
    assert torch.equal(found[0] == 0, found[1] == 0)


def test_full_precision_gives_autocast_back():
    """Off inside, on whichever device it is on, as a decorator too, and as it was behind it."""

    @full_precision()
    def product() -> torch.dtype:
        return (torch.rand(2, 2) @ torch.rand(2, 2)).dtype

    with bf16("cpu"), cuda_autocast_rules():
        with full_precision():
            assert not torch.is_autocast_enabled("cpu")
            assert not torch.is_autocast_enabled("cuda")
        assert product() == torch.float32
        assert (torch.rand(2, 2) @ torch.rand(2, 2)).dtype == torch.bfloat16
        assert torch.is_autocast_enabled("cuda")


def test_only_floating_point_becomes_float32():
    """Masks and labels stay what they are."""
    head, embedding, mask, pseudo = long_video()
    with bf16("cpu"):
        output = head(embedding, mask)
    assert output.logits.dtype == torch.bfloat16
    found = output.float()
    assert (found.logits.dtype, found.mask.dtype) == (torch.float32, torch.bool)
    assert as_float32(pseudo).label.dtype == torch.int64


def test_inference_under_autocast_gives_float32(data: WtalData):
    """What is read off the outputs is float32, and near what float32 gives."""
    model = model_of(data, "co2net").eval()
    model.store_queries(data.query_pool())
    videos = next(data.whole(3))
    wanted = model.localize_forward(videos.features, videos.targets.mask)
    with bf16("cpu"):
        found = model.localize_forward(videos.features, videos.targets.mask)
    assert found.head is not None
    for value in (found.cas, found.attention, found.video_scores, found.logits, found.head.logits, found.head.offsets):
        assert value.dtype == torch.float32
    assert torch.allclose(found.cas, wanted.cas, atol=0.02)
    assert torch.allclose(found.video_scores, wanted.video_scores, atol=0.02)
    assert not torch.equal(found.cas, wanted.cas)
