"""Inputs and weights behind the figures in tests/goldens, rebuilt from names alone (NumPy freezes RandomState streams).

The figures are what the public reference implementation computed from them on a CPU in float32, dropout off.
"""

import functools
import zlib

import numpy as np

BATCH, SNIPPETS, WIDTH = 6, 64, 2048
POSITIVES = [(0,), (0, 3), (4, 7), (7,), (12,), (12, 19, 1)]
"""Classes of the six videos; (0, 1), (2, 3) and (4, 5) are pairs."""

PEAKY = {"classifier.4.weight": 6.0, "cas_module.classifier.0.weight": 3.0}
"""Larger weights of classifiers, so that a softmax over time is not flat."""


def _rng(tag: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(tag.encode()) & 0xFFFFFFFF)


@functools.cache
def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The parameter that the reference implementation calls `name`; kept, as several networks share names."""
    if name.endswith(("drop_path_attn.scale", "drop_path_mlp.scale")):
        return np.full(shape, 0.1, np.float32)
    values = _rng(name).standard_normal(shape)
    if name.endswith("running_var"):  # of batch norms, as are the next
        return (1 + np.abs(0.02 * values)).astype(np.float32)
    if name.endswith("bn.weight"):
        return (1 + 0.02 * values).astype(np.float32)
    scale = 0.02 if len(shape) == 1 else float(np.sqrt(2.0 / int(np.prod(shape[1:]))))
    values = (values * scale * PEAKY.get(name, 1.0)).astype(np.float32)
    return 1 + values if "layer_norm" in name and name.endswith("weight") else values


def features(tag: str, batch: int = BATCH, snippets: int = SNIPPETS) -> np.ndarray:
    """(batch, snippets, 2048) float32, non-negative and correlated over time, as I3D features are."""
    rng = _rng(tag)
    base = np.abs(rng.standard_normal((batch, 1, WIDTH)))
    x = np.empty((batch, snippets, WIDTH))
    level = base[:, 0] * 0.5
    for t in range(snippets):
        if t % 16 == 0:
            level = 0.5 * base[:, 0] + 0.5 * np.abs(rng.standard_normal((batch, WIDTH)))
        x[:, t] = 0.5 * level + 0.15 * np.abs(rng.standard_normal((batch, WIDTH)))
    return x.astype(np.float32)


def clip(stream: str, frames: int) -> np.ndarray:
    """(1, 3 or 2, frames, 224, 224) float32 in [-1, 1], for Inception-3D."""
    channels = {"rgb": 3, "flow": 2}[stream]
    return _rng(f"i3d-{stream}-{frames}").uniform(-1, 1, (1, channels, frames, 224, 224)).astype(np.float32)


def labels(classes: int) -> np.ndarray:
    """(6, classes) multi-hot."""
    y = np.zeros((BATCH, classes), np.float32)
    for row, positives in enumerate(POSITIVES):
        y[row, list(positives)] = 1
    return y


def outputs(tag: str, classes: int) -> dict[str, np.ndarray]:
    """Made-up network outputs of large spread: they exercise every loss term away from its flat regions."""
    rng = _rng(tag + "-fx")
    rng.standard_normal((BATCH, 1, WIDTH))
    prototypes = rng.standard_normal((classes + 1, WIDTH))
    cas = rng.standard_normal((BATCH, SNIPPETS, classes + 1)) * 3
    feat = np.einsum("btc,cd->btd", np.maximum(cas, 0) * 0.3, prototypes) + rng.standard_normal(
        (BATCH, SNIPPETS, WIDTH)
    )
    v, f = (1 / (1 + np.exp(-2 * rng.standard_normal((BATCH, SNIPPETS)))) for _ in range(2))
    v, f = v.astype(np.float32), f.astype(np.float32)
    arrays = {"feat": feat, "cas": cas, "attn": (v + f) / 2, "v_atn": v, "f_atn": f}
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}
