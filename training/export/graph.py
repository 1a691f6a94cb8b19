"""The inference part of a trained model as an ONNX graph: host, class queries and head, exported as they are.

Axes: b videos, t snippets, d features, c action classes, k = c + 1, p points of the localization head.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.errors import TrainingError
from training.export.exported import FEATURES, MISSING
from training.localization.localize import VideoScores
from training.model.localization_head import boundaries
from training.model.localizer import Localizer

_EXAMPLE = (2, 40)
"""Videos and snippets that the model is traced on; the graph holds for any number of either."""


class InferenceGraph(nn.Module):
    """What the file computes: features of whole videos, of equal lengths and without padding, to named outputs."""

    factors: Float[Tensor, " d"] | None

    def __init__(
        self, model: Localizer[Any], *, kind: VideoScores, factors: Float[np.ndarray, " d"] | None = None
    ) -> None:
        """`factors` scale the columns of the features, as in training; None: they are taken as they are."""
        super().__init__()
        self.model = model.eval()
        self.kind: VideoScores = kind
        self.register_buffer("factors", None if factors is None else torch.from_numpy(factors))

    def forward(self, features: Float[Tensor, "b t d"]) -> dict[str, Tensor]:
        """`exported.OUTPUTS` says what they are; the last two are there with a localization head alone."""
        mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        scaled = features if self.factors is None else features * self.factors
        found = self.model.localize_forward(scaled, mask, kind=self.kind)
        outputs = {
            "cas": found.cas,
            "attention": found.attention,
            "video_scores": found.video_scores,
            "logits": found.logits,
        }
        if found.head is not None:
            outputs |= {"point_scores": found.head.logits.sigmoid(), "segments": boundaries(found.head)}
        return outputs


@torch.no_grad()
def write_graph(graph: InferenceGraph, path: Path, *, width: int, metadata: Mapping[str, str]) -> None:
    """Write the graph, with its weights and `metadata`, as one ONNX file. Raises `TrainingError` if a package is not
    installed."""
    try:
        import onnxscript  # noqa: F401  torch.onnx imports it, and says less where it is missing
    except ImportError as error:
        raise TrainingError(MISSING) from error
    names = list(graph(torch.zeros(1, 1, width)))
    axes = {0: "videos", 1: "snippets"}
    with _quiet():
        program = torch.onnx.export(
            graph,
            (torch.rand(*_EXAMPLE, width),),
            input_names=[FEATURES],
            output_names=names,
            dynamic_shapes=(axes,),
            dynamo=True,
            verbose=False,
            custom_translation_table={torch.ops.aten._linalg_solve_ex.default: _solve},
        )
        assert program is not None
        program.model.metadata_props.update(metadata)
        program.save(path, external_data=False)


def _solve(a: Any, b: Any, *_: Any) -> tuple[Any, ...]:
    """x of a x = b by Gauss-Jordan elimination, unrolled, since ONNX has no operator for it.

    Without pivoting: the one system that is solved (`hosts.gaufuse`) is I minus a matrix whose rows sum to less than 1,
    where none is needed. Also returns what `torch.linalg.solve_ex` returns besides, which is not read.
    """
    import onnxscript

    op: Any = onnxscript.opset18
    size = int(a.shape[-1])
    rows = op.Concat(a, b, axis=-1)
    for i in range(size):
        place = op.Constant(value_ints=[i])
        pivot = op.Gather(rows, place, axis=1)
        column = op.Gather(rows, place, axis=2)
        unit = op.Constant(value_floats=[float(j == i) for j in range(size)])
        others = op.Sub(column, op.Reshape(unit, op.Constant(value_ints=[1, size, 1])))
        rows = op.Sub(rows, op.Mul(others, op.Div(pivot, op.Gather(pivot, place, axis=2))))
    ends = [op.Constant(value_ints=[value]) for value in (size, torch.iinfo(torch.int64).max, 2)]
    return op.Slice(rows, *ends), *(op.Identity(rows) for _ in range(3))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings, which are about its own code and about tracing that `check` verifies."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
