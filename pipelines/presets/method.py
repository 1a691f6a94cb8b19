"""The two settings of the method that `--settings` chooses between; both are changes of a training's recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Changes = Mapping[str, Any]
"""Values, as JSON has them, by dotted names of fields."""

MEASURED: Changes = {
    "model.csr.contrast": 1.0,
    "model.csr.norm": 0.02,
    "model.dpid.schedule": "joint",
    "model.dpid.reconstruct_weight": 0.2,
    "model.head.pseudo_labels.cams": ["host"],
    "model.head.pseudo_labels.curves": ["attention"],
}
"""Settings of the method that were measured to work, on the demo and nowhere else.

A_CSR is contrasted (what it leaves out must not be enough to restore the description), has a small norm against being 1
everywhere, and follows the host's attention less, so it may become more complete than that; pseudo segments are cut
from the attentions, which are complete, not from the T-CAM, which stands out in the cores alone, and KSM's even more,
so it has no vote.
"""

PAPER: Changes = {
    "model.csr.contrast": 0.0,
    "model.csr.norm": 0.0,
    "model.dpid.schedule": "alternate",
    "model.dpid.reconstruct_weight": 1.5,
    "model.head.pseudo_labels.cams": ["host", "ksm"],
    "model.head.pseudo_labels.curves": ["fused"],
}
"""The same as the paper has them; which segments teach the head it does not say, so both T-CAMs vote."""
