"""Our hosts, and parts of KSM and CSR, beside public code: outputs, losses, gradients, on the same inputs and weights.

`python -m benchmarks parity [--out parity.md]` prints a table and exits with 1 if a figure misses its tolerance. The
public code's figures lie in tests/goldens; inputs and weights are rebuilt from names (`golden_inputs`).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.parity.figures import Case, Figures, gaufuse_figures, official_host, two_stream_figures, um_figures
from benchmarks.parity.text import query_figures, reconstruction_figures, stream_figures
from training.hosts import co2net, ddgnet, delu
from training.hosts.co2net import Co2NetRecipe
from training.hosts.ddgnet import DdgNetRecipe
from training.hosts.delu import DeluRecipe
from training.hosts.gaufuse import GauFuse, GauFuseRecipe
from training.hosts.two_stream import TwoStreamHost, TwoStreamRecipe
from training.hosts.um import Um, UmRecipe

GOLDENS = Path(__file__).parents[2] / "tests" / "goldens"
TOLERANCES = {"output": 1e-5, "loss": 1e-5, "gradient": 1e-4}
"""Relative; outputs to the largest of their tensor. On two threads the public code differs from itself by a tenth of
this."""


@dataclass(frozen=True)
class Row:
    """One comparison."""

    host: str
    variant: str
    kind: str
    """Of TOLERANCES."""
    quantity: str
    difference: float
    """The worst, relative."""

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the tolerance; NaN is not."""
        return self.difference <= TOLERANCES[self.kind]


def _official(recipe: TwoStreamRecipe) -> Any:
    return recipe.model_copy(update={"official": True})


CASES = (
    Case("co2net", "THUMOS14", Co2NetRecipe(official=True), "co2", "co2-x"),
    Case("co2net_activitynet", "ActivityNet", _official(co2net.ACTIVITYNET), "ant_co2", "ant_co2-x", 100),
    Case("delu", "THUMOS14", DeluRecipe(official=True), "delu", "delu-x"),
    Case("delu_activitynet", "ActivityNet", _official(delu.ACTIVITYNET), "delu_act", "delu_act-x", 100),
    Case("ddgnet", "THUMOS14", DdgNetRecipe(official=True), "ddg", "ddg-x#26"),
    Case("ddgnet_activitynet", "ActivityNet", _official(ddgnet.ACTIVITYNET), "ddg_act", "ddg_act-x#8", 100),
    Case("um", "THUMOS14", UmRecipe(), "um", "um-x"),
    Case("gaufuse", "THUMOS14", GauFuseRecipe(), "gaufuse", "gaufuse-x"),
)


TEXT = {
    "stream attention": ("text_queries", stream_figures),
    "text queries": ("text_queries", query_figures),
    "reconstruction": ("reconstruction", reconstruction_figures),
}
"""What KSM and CSR share with Boosting-WTAL: the file of the figures, and what is compared."""


def compare(case: Case, *, thorough: bool = True) -> list[Row]:
    """Every comparison of one host; unless thorough, of the two-stream ones those that are quick."""
    golden = np.load(GOLDENS / f"{case.file}.npz")
    host = official_host(case, golden)
    match host:
        case TwoStreamHost():
            figures = two_stream_figures(host, case, golden, thorough=thorough)
        case Um():
            figures = um_figures(host, case, golden)
        case GauFuse():
            figures = gaufuse_figures(host, case, golden)
        case _:
            raise ValueError(f"{case.file}: no comparison is known")
    return rows_of(case.recipe.kind, case.variant, figures)


def compare_text(part: str) -> list[Row]:
    """Every comparison of one of TEXT."""
    file, figures = TEXT[part]
    return rows_of(part, "Boosting-WTAL", figures(np.load(GOLDENS / f"{file}.npz")))


def rows_of(host: str, variant: str, figures: Figures) -> list[Row]:
    """The differences of all pairs."""
    return [
        Row(host, variant, kind, quantity, relative_difference(ours, theirs))
        for kind, quantity, ours, theirs in figures
    ]


def relative_difference(ours: Tensor, theirs: np.ndarray) -> float:
    """The largest difference, as a share of the largest figure of theirs (where that is not zero)."""
    if ours.shape != theirs.shape:
        raise ValueError(f"found shape {tuple(ours.shape)}, expected {theirs.shape}")
    difference = np.abs(ours.detach().double().numpy() - theirs).max()
    return float(difference / (np.abs(theirs).max() or 1.0))


def summary(rows: Sequence[Row]) -> list[Row]:
    """One row a loss term, one for all outputs of a host and one for all its gradients: the worst of each."""
    worst: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        name = row.quantity.split(",")[0] if row.kind == "loss" else f"all {row.kind}s"
        key = (row.host, row.variant, name)
        if key not in worst or (worst[key].agrees, -worst[key].difference) > (row.agrees, -row.difference):
            worst[key] = replace(row, quantity=name)
    return list(worst.values())


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table."""
    lines = ["| host | variant | quantity | worst difference | tolerance | |", "|---|---|---|---|---|---|"]
    for row in rows:
        verdict = "agrees" if row.agrees else "MISSES"
        figures = f"{row.difference:.1e} | {TOLERANCES[row.kind]:.0e}"
        lines.append(f"| {row.host} | {row.variant} | {row.quantity} | {figures} | {verdict} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, and say with the exit code whether all agrees."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks parity", description="Our hosts beside their public code."
    )
    parser.add_argument("--out", type=Path, help="write the table here as Markdown, too")
    chosen = parser.parse_args(arguments)
    rows = [row for case in CASES for row in compare(case)] + [row for part in TEXT for row in compare_text(part)]
    table = markdown(summary(rows))
    missed = [row for row in rows if not row.agrees]
    print(table)
    print(f"{len(rows)} comparisons, {len(missed)} missed")
    for row in missed:
        print(f"  {row.host} {row.variant} {row.kind} {row.quantity}: {row.difference:.1e}")
    if chosen.out is not None:
        chosen.out.write_text(table, encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
