"""An encoder that is pre-trained on trimmed gestures of another dataset, as Kinetics pre-trains I3D.

SFINGE 3D holds 468 trimmed gestures of 13 classes, recorded at 20 frames a second by the same sensor. For each stream a
small network classifies their snippets; its hidden layer then encodes the snippets of the untrimmed recordings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from benchmarks.gestures.recordings import COLUMNS, FPS
from benchmarks.gestures.streams import GridChoice, frame_vectors, snippet_vectors
from cache.errors import CacheError

Array = np.ndarray
FILE = "dictionary_trimmed_float32.npz"
_RECORDED_AT = 20
_BATCH = 32
_SNIPPETS = 16
"""Snippets that are drawn from a gesture in each batch."""


def read_trimmed(folder: Path) -> list[tuple[Float[Array, "n 140"], int]]:
    """Trimmed gestures at the frame rate of the recordings, with their class numbers from 0.

    Raises CacheError if the folder has no file of them. Its keys are CC_name, CC the class.
    """
    path = folder / FILE
    if not path.exists():
        raise CacheError(f"{path}: no such file; expected the trimmed gestures of SFINGE 3D")
    gestures = []
    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            frames = archive[name]
            if frames.ndim != 2 or frames.shape[1] != COLUMNS:
                raise CacheError(f"{path}, {name}: found shape {frames.shape}, expected (frames, {COLUMNS})")
            gestures.append((_resampled(frames), int(name.partition("_")[0]) - 1))
    return gestures


def _resampled(frames: Float[Array, "n 140"]) -> Float[Array, "m 140"]:
    """Linearly interpolated frames; orientations are made unit quaternions again where they are used."""
    count = max(2, round(len(frames) * FPS / _RECORDED_AT))
    at = np.linspace(0, len(frames) - 1, count)
    before = np.floor(at).astype(int)
    share = (at - before)[:, None]
    after = np.minimum(before + 1, len(frames) - 1)
    first, second = (frames[place].reshape(count, 20, 7) for place in (before, after))
    signs = np.where((first[..., 3:] * second[..., 3:]).sum(-1, keepdims=True) < 0, -1.0, 1.0)
    second = np.concatenate([second[..., :3], second[..., 3:] * signs], axis=-1).reshape(count, COLUMNS)
    return (1 - share) * first.reshape(count, COLUMNS) + share * second


class SnippetNetwork(nn.Module):
    """Two layers over the vector of a snippet; the second is the embedding."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, mean: Float[Array, " e"], scale: Float[Array, " e"], *, width: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean).float())
        self.register_buffer("scale", torch.from_numpy(scale).float())
        self.layers = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(len(mean), 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, width)
        )
        self.classifier = nn.Linear(width, classes)

    def embed(self, vectors: torch.Tensor) -> torch.Tensor:
        """The hidden layer, which the classifier reads."""
        return torch.tanh(self.layers(((vectors - self.mean) / self.scale).clamp(-5, 5)))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Logits of the classes, (..., classes)."""
        return self.classifier(self.embed(vectors))

    @torch.inference_mode()
    def encode(self, vectors: Float[Array, "t e"]) -> Float[Array, "t w"]:
        """Embeddings of snippets."""
        return self.eval().embed(torch.from_numpy(vectors).float()).numpy()


def pretrain(
    gestures: Sequence[tuple[Float[Array, "n 140"], int]],
    choice: GridChoice,
    *,
    width: int,
    steps: int = 300,
    seed: int = 0,
) -> dict[str, SnippetNetwork]:
    """A network for each stream. A gesture's logits are the mean over snippets drawn from it."""
    vectors = [frame_vectors(frames) for frames, _ in gestures]
    classes = max(label for _, label in gestures) + 1
    networks = {}
    for stream in choice.grid.streams:
        snippets = [snippet_vectors(one[stream], choice) for one in vectors]
        rows = np.concatenate(snippets)
        torch.manual_seed(seed)
        network = SnippetNetwork(rows.mean(0), rows.std(0).clip(min=1e-6), width=width, classes=classes)
        _train(network, snippets, [label for _, label in gestures], steps=steps, rng=np.random.default_rng(seed))
        networks[stream] = network
    return networks


def _train(
    network: SnippetNetwork,
    snippets: Sequence[Float[Array, "t e"]],
    labels: Sequence[int],
    *,
    steps: int,
    rng: np.random.Generator,
) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = rng.integers(len(snippets), size=_BATCH)
        drawn = [snippets[one][rng.integers(len(snippets[one]), size=_SNIPPETS)] for one in chosen]
        logits = network(torch.from_numpy(np.stack(drawn)).float()).mean(dim=1)
        loss = nn.functional.cross_entropy(logits, torch.tensor([labels[one] for one in chosen]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
