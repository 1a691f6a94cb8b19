"""What is compared of each host: pairs of our figures and those of its public code (tests/goldens)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.parity import golden_inputs
from training.batches.data import Targets
from training.compat.names import load_official, official_name
from training.hosts.ddgnet import DdgNet, DdgNetOutput
from training.hosts.gaufuse import GauFuse
from training.hosts.host import Host, StreamsOutput
from training.hosts.recipes import HostRecipe
from training.hosts.two_stream import TwoStreamHost
from training.hosts.um import Um
from training.nn.layers import SnippetConv

TERMS = {
    "mil": "loss_mil_orig",
    "mil_suppressed": "loss_mil_supp",
    "pair": "loss_supp_contrastive",
    "mutual": "mutual_loss",
    "norm": "norm_loss",
    "guide": "guide_loss",
    "evidence": "edl_loss",
    "uncertainty_guide": "uct_guide_loss",
    "consistency": "feat_loss",
    "complementary": "complementary_loss",
}
"""Our loss terms of CO2-Net and its descendants, and what the public code calls them."""

Golden = Mapping[str, np.ndarray]
"""Figures of the public code, by name."""
Figures = Iterator[tuple[str, str, Tensor, np.ndarray]]
"""Kind (output, loss or gradient), quantity, ours, theirs."""


@dataclass(frozen=True)
class Case:
    """A host as its public code has it, and where its figures are."""

    file: str
    """In tests/goldens, without its ending."""
    variant: str
    recipe: HostRecipe
    tag: str
    """Of the inputs."""
    features: str
    """Of the features."""
    classes: int = 20


def official_host(case: Case, golden: Golden) -> Host[Any]:
    """The host with the weights that the figures were made with, dropout off."""
    with torch.device("meta"):  # no initial weights
        host = case.recipe.build(streams={"rgb": 1024, "flow": 1024}, num_classes=case.classes)
    host = host.to_empty(device="cpu")
    weights: dict[str, Tensor] = {}
    for ours, parameter in host.named_parameters():
        name, shape = official_name(case.recipe.kind, ours), tuple(parameter.shape)
        owner = host.get_submodule(ours.rpartition(".linear")[0])
        if isinstance(owner, SnippetConv) and ours.endswith("weight"):
            taps = 3 if "channel" in ours else owner.kernel
            shape = (shape[0], shape[1] // owner.kernel, taps)
        if name == "cas_module.classifier.0.weight":
            shape = (*shape, 1)
        weights[name] = torch.from_numpy(golden_inputs.weight(name, shape))
    for stream in (0, 1):
        if f"in/attn_bias_{stream}" in golden:
            weights[f"Attn.attentions.{stream}.5.bias"] = torch.from_numpy(golden[f"in/attn_bias_{stream}"])
    load_official(host, case.recipe.kind, weights)
    return host.eval()


def truth(classes: int) -> Targets:
    """Labels and pairs of the six videos."""
    mask = torch.ones(golden_inputs.BATCH, golden_inputs.SNIPPETS, dtype=torch.bool)
    return Targets(torch.from_numpy(golden_inputs.labels(classes)), mask, torch.tensor([[0, 1], [2, 3], [4, 5]]))


def gradients(host: Host[Any], kind: str, total: Tensor, golden: Golden) -> Figures:
    """Norms of the gradient of every parameter. Those of mu are numerically zero and not compared."""
    names, parameters = zip(*host.named_parameters(), strict=True)
    for ours, gradient in zip(names, torch.autograd.grad(total, parameters), strict=True):
        name = official_name(kind, ours)
        if name != "mu":
            yield "gradient", name, torch.linalg.vector_norm(gradient, dtype=torch.float64), golden[f"gradnorm/{name}"]


def two_stream_figures(host: TwoStreamHost[Any], case: Case, golden: Golden, *, thorough: bool) -> Figures:
    """CO2-Net and its descendants. Unless thorough, the network on the smaller input alone, without its gradients."""
    steps = 1 + max(int(key.split("/")[0].removeprefix("fx_loss_itr")) for key in golden if "fx_loss_itr" in key)
    with torch.no_grad():
        other = torch.from_numpy(golden_inputs.features(f"{case.tag}-x2", 2, 37))
        yield from _two_stream_outputs(host(other, torch.ones(2, 37, dtype=torch.bool)), golden, "out2")
    yield from _fixed_figures(host, case, golden, steps)
    if not thorough:
        return
    targets, features = truth(case.classes), torch.from_numpy(golden_inputs.features(case.features))
    output = host(features, targets.mask)
    yield from _two_stream_outputs(output, golden, "out")
    if isinstance(host, DdgNet):
        for ours, theirs in zip(output.raw, ("ori_vatn", "ori_fatn"), strict=True):
            yield "output", f"mid {theirs}", ours, golden[f"mid/{theirs}"]
        graph = host.graph(features.split(1024, dim=-1), list(output.raw), targets.mask)
        yield "output", "mid adjacency", graph.weights.transpose(1, 2), golden["mid/adjacency"]
    terms = host.loss(output, targets, step=1234, total_steps=steps)
    yield from _two_stream_terms(terms, golden, "loss")
    yield from gradients(host, case.recipe.kind, torch.stack(list(terms.values())).sum(), golden)


def _two_stream_outputs(output: StreamsOutput, golden: Golden, prefix: str) -> Figures:
    yield "output", f"{prefix} cas", output.cas[:2, ::2], golden[f"{prefix}/cas"]
    yield "output", f"{prefix} embedding", output.embedding.norm(dim=-1), golden[f"{prefix}/feat_norm"]
    for ours, theirs in zip((output.attention, *output.streams), ("attn", "v_atn", "f_atn"), strict=True):
        yield "output", f"{prefix} {theirs}", ours, golden[f"{prefix}/{theirs}"]


def _fixed_figures(host: TwoStreamHost[Any], case: Case, golden: Golden, total_steps: int) -> Figures:
    """Losses of made-up outputs, early, amid and late, and their gradients."""
    arrays = golden_inputs.outputs(case.tag, case.classes)
    fixed = {name: torch.from_numpy(array).requires_grad_() for name, array in arrays.items()}
    output: Any = StreamsOutput(fixed["feat"], fixed["cas"], fixed["attn"], (fixed["v_atn"], fixed["f_atn"]))
    if isinstance(host, DdgNet):  # theirs ran without the features' consistency
        zeros = torch.zeros_like(output.attention)
        output = DdgNetOutput(*vars(output).values(), raw=(zeros, zeros), gaps=(zeros, zeros))
    for step in (0, 1234, total_steps - 1):
        terms = host.loss(output, truth(case.classes), step=step, total_steps=total_steps)
        yield from _two_stream_terms(terms, golden, f"fx_loss_itr{step}")
        if step == 1234:
            total = torch.stack(list(terms.values())).sum()
            for name, gradient in zip(fixed, torch.autograd.grad(total, list(fixed.values())), strict=True):
                norm = torch.linalg.vector_norm(gradient, dtype=torch.float64)
                yield "gradient", f"fixed {name}", norm, golden[f"fx_gradnorm/{name}"]


def _two_stream_terms(terms: Mapping[str, Tensor], golden: Golden, prefix: str) -> Figures:
    where = "" if prefix == "loss" else f", fixed outputs, step {prefix.removeprefix('fx_loss_itr')}"
    for name, value in terms.items():
        yield "loss", name + where, value, golden[f"{prefix}/{TERMS[name]}"]
    yield "loss", "total" + where, torch.stack(list(terms.values())).sum(), golden[f"{prefix}/total_loss"]


def um_figures(host: Um, case: Case, golden: Golden) -> Figures:
    """UM. Its public losses come without their weights."""
    targets = truth(case.classes)
    output = host(torch.from_numpy(golden_inputs.features(case.features)), targets.mask)
    background = torch.einsum("bt,btc->bc", output.background, output.cas[..., :-1]).softmax(-1)
    yield "output", "score_act", host.video_scores(output, targets.mask)[:, :-1], golden["out/score_act"]
    yield "output", "score_bkg", background, golden["out/score_bkg"]
    yield "output", "cas_softmax", output.cas.softmax(-1)[..., :-1], golden["out/cas_softmax"]
    yield "output", "embedding", output.embedding.norm(dim=-1), golden["out/feature_norm"]
    for name, chosen in (("norm_act", output.action), ("norm_bkg", output.background)):
        yield "output", name, torch.einsum("bt,bte->be", chosen, output.embedding).norm(dim=-1), golden[f"out/{name}"]
    terms = host.loss(output, targets, step=0, total_steps=1)
    total = torch.stack(list(terms.values())).sum()
    yield "loss", "mil", terms["mil"], golden["loss/loss_cls"]
    yield "loss", "entropy", terms["entropy"] / host.recipe.entropy, golden["loss/loss_be"]
    yield "loss", "uncertainty", terms["uncertainty"] / host.recipe.uncertainty, golden["loss/loss_um"]
    yield "loss", "total", total, golden["loss/loss_total"]
    scaled = replace(output, action=4 * output.action, background=0.2 * output.background)
    term = host.loss(scaled, targets, step=0, total_steps=1)["uncertainty"] / host.recipe.uncertainty
    yield "loss", "uncertainty, scaled features", term, golden["loss_scaled/loss_um"]
    yield from gradients(host, case.recipe.kind, total, golden)


def gaufuse_figures(host: GauFuse, case: Case, golden: Golden) -> Figures:
    """Zhou et al., first stage. Its public losses come without their weights."""
    targets, recipe = truth(case.classes), host.recipe
    output = host(torch.from_numpy(golden_inputs.features(case.features)), targets.mask)
    tokens = output.tokens
    reallocated = host.reallocate(output.embedding, tokens, targets.mask)
    for name, found in (("embedding", output.embedding), ("tokens", tokens), ("reallocated", reallocated)):
        yield "output", name, found.norm(dim=-1), golden[f"out/{name}_norm"]
        if name != "embedding":
            yield "output", f"{name}, first columns", found[..., :4], golden[f"out/{name}_first"]
    yield "output", "token_pred", host.token_scores(tokens), golden["out/token_pred"][..., :-1]
    for name, branch in (("o", output.original), ("m", output.moved)):
        yield "output", f"{name}.ca_pred", branch.attended.softmax(-1), golden[f"out/{name}.ca_pred"]
        yield "output", f"{name}.cw_pred", branch.classwise.softmax(-1), golden[f"out/{name}.cw_pred"]
        yield "output", f"{name}.att", branch.attention, golden[f"out/{name}.att"]
        yield "output", f"{name}.frame_scores", branch.cas[:, ::2], golden[f"out/{name}.frame_scores"]
    terms = host.loss(output, targets, step=0, total_steps=1)
    yield "loss", "mil", terms["mil"], golden["loss/fore"]
    yield "loss", "mil_background", terms["mil_background"] / recipe.background, golden["loss/back"]
    yield "loss", "contrast", terms["contrast"] / recipe.contrast, golden["loss/att"]
    yield "loss", "teach", terms["teach"] / recipe.teach, golden["loss/spl"]
    total = torch.stack(list(terms.values())).sum()
    yield "loss", "total", total, golden["loss/total_unit_spl"]
    yield from gradients(host, case.recipe.kind, total, golden)
