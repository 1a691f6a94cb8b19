"""What KSM and CSR share with Boosting-WTAL (Li et al., CVPR 2023), composed of our modules as that code composes them.

There the classes' names ask (compare KSM) and a sentence is completed (compare CSR). Ours differ from both on purpose,
so no module of training/ is compared as a whole: stream attention, convolutions, text attention, gated attention, word
likelihood and losses are, one by one, in its arrangement of them.
"""

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.parity import golden_inputs
from benchmarks.parity.figures import Figures, Golden, truth
from training.batches.data import Sentences
from training.hosts.co2net import Co2NetRecipe
from training.hosts.two_stream import SLOPE, AttentionHead
from training.model.csr import word_nll
from training.model.ksm import KeySemanticMatching, KsmRecipe
from training.nn.layers import SnippetConv
from training.nn.losses import attention_mse, guide_loss, mil_loss, norm_loss, pair_loss, suppress
from training.nn.transformer import Attention


class Weights:
    """Makes our modules with the public code's weights, and remembers which hold which."""

    def __init__(self) -> None:
        self.holders: dict[str, list[Tensor]] = {}

    def fill(self, name: str, shape: tuple[int, ...], *holders: Tensor) -> None:
        """Put the public code's `name` into ours, which may be several rows of it."""
        values = torch.from_numpy(golden_inputs.weight(name, shape))
        if len(shape) == 3:  # taps become columns
            values = values.transpose(1, 2).flatten(1)
        for holder, part in zip(holders, values.split([len(holder) for holder in holders]), strict=True):
            holder.data = part.clone()
        self.holders[name] = list(holders)

    def linear(self, name: str, width_in: int, width_out: int, *, convolution: bool = False) -> nn.Linear:
        """A linear layer, or what the public code has as a convolution of one tap."""
        layer = nn.Linear(width_in, width_out, device="meta").to_empty(device="cpu")
        self.fill(f"{name}.weight", (width_out, width_in, 1) if convolution else (width_out, width_in), layer.weight)
        self.fill(f"{name}.bias", (width_out,), layer.bias)
        return layer

    def conv(self, name: str, width_in: int, width_out: int, *, into: SnippetConv | None = None) -> SnippetConv:
        """A convolution of three taps, new or given (then of its own taps)."""
        if into is None:
            with torch.device("meta"):
                into = SnippetConv(width_in, width_out)
            into = into.to_empty(device="cpu")
        self.fill(f"{name}.weight", (width_out, width_in, into.kernel), into.linear.weight)
        self.fill(f"{name}.bias", (width_out,), into.linear.bias)
        return into

    def norm(self, name: str, width: int) -> nn.LayerNorm:
        """A layer norm."""
        layer = nn.LayerNorm(width)
        self.fill(f"{name}.weight", (width,), layer.weight)
        self.fill(f"{name}.bias", (width,), layer.bias)
        return layer

    def attention(self, name: str, width: int, *, heads: int) -> Attention:
        """Multi-head attention with one matrix for query, key and value."""
        layer = Attention(width, heads=heads)
        query, both = layer.query, layer.key_value
        self.fill(f"{name}.in_proj_weight", (3 * width, width), query.weight, both.weight)
        self.fill(f"{name}.in_proj_bias", (3 * width,), query.bias, both.bias)
        self.fill(f"{name}.out_proj.weight", (width, width), layer.out.weight)
        self.fill(f"{name}.out_proj.bias", (width,), layer.out.bias)
        return layer

    def gradients(self, total: Tensor, golden: Golden) -> Figures:
        """Norms of the gradients of all weights that the figures know."""
        names = [name for name in self.holders if f"gradnorm/{name}" in golden]
        parts = [holder for name in names for holder in self.holders[name]]
        found = iter(torch.autograd.grad(total, parts))
        for name in names:
            norms = torch.stack([next(found).double().norm() for _ in self.holders[name]])
            yield "gradient", name, norms.norm(), golden[f"gradnorm/{name}"]


class Stream(nn.Module):
    """One stream, filtered by the other, which is trained to restore it."""

    def __init__(self, name: str, weights: Weights) -> None:
        super().__init__()
        self.encode = weights.conv(f"{name}.AE_e.0", 1024, 512)
        self.decode = weights.conv(f"{name}.AE_d.0", 512, 1024)
        self.channel = weights.conv(f"{name}.channel_conv.0", 1024, 1024)
        self.local = weights.conv(f"{name}.bit_wise_attn.0", 512, 1024)
        self.attention = AttentionHead(1024, recipe=Co2NetRecipe(official=True))
        first, second, last, *_ = self.attention
        for convolution, place, shape in ((first, 0, (1024, 512)), (second, 3, (512, 512)), (last, 5, (512, 1))):
            assert isinstance(convolution, SnippetConv)
            weights.conv(f"{name}.attention.{place}", *shape, into=convolution)

    def forward(self, main: Tensor, auxiliary: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Filtered and restored main stream, and its attention."""
        encoded = F.leaky_relu(self.encode(auxiliary, mask), SLOPE)
        restored = F.leaky_relu(self.decode(encoded, mask), SLOPE)
        channel = F.leaky_relu(self.channel(main.mean(1, keepdim=True), mask[:, :1]), SLOPE)
        local = F.leaky_relu(self.local(encoded, mask), SLOPE)
        agreement = F.cosine_similarity(channel, local, dim=-1).unsqueeze(-1)
        filtered = (local * agreement).sigmoid() * main
        return filtered, restored, self.attention(filtered, mask)


def both_streams(features: Tensor, mask: Tensor, weights: Weights) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Filtered features, restored features, attentions."""
    rgb, flow = features.split(1024, dim=-1)
    first = Stream("vAttn", weights).eval()(rgb, flow, mask)
    second = Stream("fAttn", weights).eval()(flow, rgb, mask)
    return torch.cat((first[0], second[0]), -1), torch.cat((first[1], second[1]), -1), (first[2], second[2])


def stream_figures(golden: Golden) -> Figures:
    """Attention of the streams and their restoration; losses on made-up outputs."""
    targets, weights = truth(20), Weights()
    features = torch.from_numpy(golden_inputs.features("tsm-x"))
    _, restored, attentions = both_streams(features, targets.mask, weights)
    mean = torch.stack(attentions).mean(0)
    for name, found in (("v_atn", attentions[0]), ("f_atn", attentions[1]), ("attn", mean)):
        yield "output", name, found, golden[f"out/{name}"]
    for name, found in zip(("n_rfeat", "n_ffeat"), restored.split(1024, dim=-1), strict=True):
        yield "output", name, found.norm(dim=-1), golden[f"out/{name}_norm"]
    gap = sum(F.mse_loss(a, b) for a, b in zip(restored.split(1024, -1), features.split(1024, -1), strict=True))
    yield "loss", "restoration", torch.as_tensor(1.5 * gap), golden["loss/cross_ae"]
    other = torch.from_numpy(golden["in/rec_attn"])
    yield "loss", "distillation", 1.5 * attention_mse(mean, other, targets.mask), golden["loss/mutual"]
    yield from _criterion(golden)


@torch.no_grad()
def query_figures(golden: Golden) -> Figures:
    """Text queries of classes 0 and 7 and of the background, matched with the first two videos."""
    mask, weights = truth(20).mask[:2], Weights()
    features = torch.from_numpy(golden_inputs.features("tsm-x"))[:2]
    filtered, _, _ = both_streams(features, mask, weights)
    fused = F.leaky_relu(weights.conv("fusion.0", 2048, 2048)(filtered, mask), SLOPE)
    final = F.leaky_relu(weights.conv("fusion2.0", 2048, 2048)(fused, mask), SLOPE)
    recipe = KsmRecipe(scale=False, width=8)
    matching = KeySemanticMatching(recipe, word_width=1, embedding_width=2048, num_classes=2)
    cas = matching.match(final, text_queries(torch.from_numpy(golden["in/names"]), weights))
    yield "output", "feat", fused.norm(dim=-1), golden["out/feat_norm"]
    yield "output", "feat_final", final.norm(dim=-1), golden["out/feat_final_norm"]
    yield "output", "cas", cas, golden["out/cas"]


def text_queries(names: Tensor, weights: Weights, classes: Iterable[int] = (0, 7, 20)) -> Tensor:
    """Queries of some classes: nine tokens of its own before the words of each, position 0 of one transformer layer."""
    rows, width = list(classes), 2048
    own = torch.from_numpy(golden_inputs.weight("weight", (21, 300, 9))).transpose(1, 2)[rows]
    background = torch.from_numpy(golden_inputs.weight("b_enc", (1, 2, 300)))
    tokens = torch.cat((own, torch.cat((names, background))), dim=1)
    x = F.leaky_relu(weights.linear("txt_emb.0", 300, width, convolution=True)(tokens), SLOPE)
    x = x + torch.from_numpy(golden_inputs.weight("add_weight", (21, width, 11))).transpose(1, 2)[rows] + _places(width)
    attention = Attention(width, heads=8)
    for name, parts in (("query", [attention.query]), ("proj", [attention.out])):
        weights.fill(f"MHA.{name}.weight", (width, width, 1), *(part.weight for part in parts))
        weights.fill(f"MHA.{name}.bias", (width,), *(part.bias for part in parts))
    key, value = (weights.linear(f"MHA.{name}", width, width, convolution=True) for name in ("key", "value"))
    attention.key_value.weight.data = torch.cat((key.weight, value.weight))
    attention.key_value.bias.data = torch.cat((key.bias, value.bias))
    x = x + 0.1 * attention(x, x, mask=torch.ones(x.shape[:2], dtype=torch.bool))
    first = weights.linear("mlp.0", width, 4 * width, convolution=True)
    second = weights.linear("mlp.3", 4 * width, width, convolution=True)
    return (x + 0.1 * second(F.gelu(first(x))))[:, 0]


def _places(width: int) -> Tensor:
    """Fixed positions as fairseq has them, none at 0."""
    rates = torch.exp(torch.arange(width // 2) * (-np.log(10_000) / (width // 2 - 1)))
    angles = torch.arange(11).unsqueeze(1) * rates
    return torch.cat((angles.sin(), angles.cos()), dim=1) * (torch.arange(11) > 0).unsqueeze(1)


def _criterion(golden: Golden) -> Figures:
    """The sum of the losses that it shares with CO2-Net, and its gradients, on made-up outputs."""
    targets = truth(20)
    mask, labels = targets.mask, targets.labels
    fixed = {n: torch.from_numpy(a).requires_grad_() for n, a in golden_inputs.outputs("tsm", 20).items()}
    suppressed = suppress(fixed["cas"], fixed["attn"])
    attentions = [fixed[name] for name in ("attn", "v_atn", "f_atn")]
    total = (
        mil_loss(fixed["cas"], mask, labels, background=1, ratio=7)
        + mil_loss(suppressed, mask, labels, background=0, ratio=7)
        + pair_loss(fixed["feat"], suppressed, mask, labels, targets.pairs)
        + 0.8 * norm_loss(attentions, mask)
        + 0.8 * guide_loss(fixed["cas"], attentions, mask)
    )
    yield "loss", "criterion, fixed outputs", total, golden["fx_loss/criterion"]
    for name, gradient in zip(fixed, torch.autograd.grad(total, list(fixed.values())), strict=True):
        yield "gradient", f"fixed {name}", gradient.double().norm(), golden[f"fx_gradnorm/{name}"]


class Completion(nn.Module):
    """The public code's sentence completion: post-norm layers over snippets, then over words, all causal."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.frames, self.words = weights.linear("frame_fc", 2048, 512), weights.linear("word_fc", 300, 512)
        self.classify = weights.linear("fc_rec", 512, 8001)
        self.encoder = nn.ModuleList([PostNormLayer(f"trans.decoder1.decoder_layers.{i}", weights) for i in range(3)])
        self.decoder = nn.ModuleList(
            [PostNormLayer(f"trans.decoder2.decoder_layers.{i}", weights, cross=True) for i in range(3)]
        )

    def forward(self, features: Tensor, gate: Tensor | None, words: Tensor, word_mask: Tensor) -> Tensor:
        """Logits of the words."""
        memory, x = self.frames(features), self.words(words)
        mask = torch.ones(memory.shape[:2], dtype=torch.bool)
        for layer in self.encoder:
            memory = layer(memory, mask, gate)
        for layer in self.decoder:
            x = layer(x, word_mask, None, memory, mask, gate)
        return self.classify(x)


class PostNormLayer(nn.Module):
    """Causal self-attention, attention to a second sequence if `cross`, feed-forward; a layer norm after each."""

    def __init__(self, name: str, weights: Weights, *, cross: bool = False) -> None:
        super().__init__()
        parts = ("self_attn", "encoder_attn") if cross else ("self_attn",)
        self.attentions = nn.ModuleList([weights.attention(f"{name}.{part}", 512, heads=4) for part in parts])
        norms = (*(f"{part}_layer_norm" for part in parts), "final_layer_norm")
        self.norms = nn.ModuleList([weights.norm(f"{name}.{norm}", 512) for norm in norms])
        self.feed = nn.Sequential(
            weights.linear(f"{name}.fc1", 512, 1024), nn.ReLU(), weights.linear(f"{name}.fc2", 1024, 512)
        )

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        gate: Tensor | None,
        source: Tensor | None = None,
        source_mask: Tensor | None = None,
        source_gate: Tensor | None = None,
    ) -> Tensor:
        """The gates weigh x and the second sequence as sources."""
        x = self.norms[0](x + self.attentions[0](x, x, mask=mask, gate=gate, causal=True))
        if source is not None:
            x = self.norms[1](x + self.attentions[1](x, source, mask=source_mask, gate=source_gate))
        return self.norms[-1](x + self.feed(x))


def reconstruction_figures(golden: Golden) -> Figures:
    """Sentences completed from what the attention shows, from the whole video, and from the rest."""
    weights = Weights()
    with torch.no_grad():
        features = torch.from_numpy(golden_inputs.features("vlc-x"))
        filtered, _, attentions = both_streams(features, torch.ones(6, 64, dtype=torch.bool), weights)
        attention = torch.stack(attentions).mean(0)
    yield "output", "attention", attention, golden["out/gauss_weight"]
    start = nn.Parameter(torch.empty(300))
    weights.fill("start_vec", (300,), start)
    lengths = torch.from_numpy(golden["in/words_len"]).unsqueeze(1)
    given = torch.arange(11) <= lengths  # [START] and the words
    words = torch.cat((start.expand(6, 1, -1), torch.from_numpy(golden["in/words_feat"])), dim=1)
    sentences = Sentences(torch.from_numpy(golden["in/words_id"]), given, torch.zeros_like(given))
    complete, nll = Completion(weights), {}
    for prefix, gate in (("", attention), ("hard_neg_", None), ("easy_neg_", 1 - attention)):
        logits = complete(filtered, gate, words, given)
        norms, first = golden[f"out/{prefix}words_logit_norm"], golden[f"out/{prefix}words_logit_first"]
        yield "output", f"{prefix}words_logit", logits.norm(dim=-1)[given], norms[given.numpy()]
        yield "output", f"{prefix}words_logit, first columns", logits[..., :4][given], first[given.numpy()]
        nll[prefix] = word_nll(logits, sentences, smoothing=0.1)
    yield "loss", "nll", nll[""].mean(), golden["loss/nll_loss"]
    yield "loss", "nll of the whole video", nll["hard_neg_"].mean(), golden["loss/neg_nll_loss"]
    total = nll[""].mean() + nll["hard_neg_"].mean()
    yield "loss", "reconstruction", total, golden["loss/rec_loss"]
    hard = F.relu(nll[""] - nll["hard_neg_"] + 0.1).mean()
    easy = F.relu(nll[""] - nll["easy_neg_"] + 0.15).mean()
    yield "loss", "contrast to the whole video", hard, golden["loss/hard_neg_loss"]
    yield "loss", "contrast to the rest", easy, golden["loss/easy_neg_loss"]
    yield from weights.gradients(total, golden)
