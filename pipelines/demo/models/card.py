"""The model card of a shipped checkpoint: what it is, its training data, and its scores on held-out data."""

from collections.abc import Mapping
from pathlib import Path


def write_card(folder: Path, title: str, about: str, facts: Mapping[str, object]) -> None:
    """Write README.md beside the weights: a sentence and a table. Shares are given to four digits."""
    rows = [
        f"| {name} | {value:.4g} |" if isinstance(value, float) else f"| {name} | {value} |"
        for name, value in facts.items()
    ]
    (folder / "README.md").write_text("\n".join([f"# {title}", "", about, "", "| | |", "| --- | --- |", *rows, ""]))
