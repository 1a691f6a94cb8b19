"""The two settings of the method that `--settings` chooses between, as changes of the training's recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Changes = Mapping[str, Any]
"""Dotted name of a field -> its value in JSON."""

MEASURED: Changes = {
    "model.csr.contrast": 1.0,
    "model.csr.norm": 0.02,
    "model.dpid.schedule": "joint",
    "model.dpid.reconstruct_weight": 0.2,
    "model.head.pseudo_labels.cams": ["host"],
    "model.head.pseudo_labels.curves": ["attention"],
}
"""Settings of the method that were chosen by experiments, on the demo only.

The attention of CSR (A_CSR) has a contrastive loss (the snippets that it leaves out must not suffice to reconstruct the
description), a small norm penalty, which keeps it from being 1 everywhere, and a lower weight towards the host's
attention, so that it can become more complete than that. Pseudo segments are cut from the attentions, which cover whole
actions, and not from the T-CAM, which is high only in the discriminative core. KSM's T-CAM is even narrower, so it does
not vote.
"""

PAPER: Changes = {
    "model.csr.contrast": 0.0,
    "model.csr.norm": 0.0,
    "model.dpid.schedule": "alternate",
    "model.dpid.reconstruct_weight": 1.5,
    "model.head.pseudo_labels.cams": ["host", "ksm"],
    "model.head.pseudo_labels.curves": ["fused"],
}
"""The settings of the paper. It does not say which pseudo segments train the head, so both T-CAMs vote."""
