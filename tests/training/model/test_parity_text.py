"""Parity of what KSM and CSR share with Boosting-WTAL, by the code of `python -m benchmarks parity`.

That command compares the tower of text queries, too, which has 50 million weights; its attention is the one here.
"""

import numpy as np

from benchmarks.parity.parity import GOLDENS, compare_text


def test_shared_parts_equal_the_public_code():
    """Stream attention, gated attention, word likelihood and the contrast, with every gradient of the completion."""
    rows = compare_text("reconstruction")
    assert not [row for row in rows if not row.agrees]
    assert {row.kind for row in rows} == {"output", "loss", "gradient"}
    golden = np.load(GOLDENS / "reconstruction.npz")
    theirs = {key.split("/")[1] for key in golden.files if key.startswith("gradnorm/")}
    assert theirs == {row.quantity for row in rows if row.kind == "gradient"}
