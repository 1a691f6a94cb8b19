"""Parity of the hosts with their public code, by the code of `python -m benchmarks parity`."""

import numpy as np
import pytest
import torch

from benchmarks.parity import parity
from benchmarks.parity.figures import Case
from benchmarks.parity.parity import CASES, Row, compare, markdown, relative_difference, summary
from training.compat.names import OFFICIAL_NAMES, load_official, official_name
from training.errors import TrainingError
from training.hosts.host import Host

THOROUGH = ("delu", "ddgnet", "um", "gaufuse")
"""CO2-Net is DELU's network, and the ActivityNet variants differ in their ends alone."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_host_equals_its_public_code(case: Case):
    """Outputs, every loss term and every gradient are within the tolerances, and none of the terms is left out."""
    rows = compare(case, thorough=case.file in THOROUGH)
    assert not [row for row in rows if not row.agrees]
    golden = np.load(parity.GOLDENS / f"{case.file}.npz")
    assert {row.kind for row in rows} == {"output", "loss", "gradient"}
    # terms and their total; DDG-Net has the figure of one term without its weight, too
    theirs = [key for key in golden.files if key.startswith("loss/") and key != "loss/fc_raw"]
    ours = {row.quantity for row in summary(rows) if row.kind == "loss"}
    assert len(ours) == len(theirs)


def test_every_gradient_is_compared():
    """Each parameter of the public code that its losses reach has a counterpart of ours, but for mu (zero there)."""
    for case in CASES:
        golden = np.load(parity.GOLDENS / f"{case.file}.npz")
        theirs = {key.removeprefix("gradnorm/") for key in golden.files if key.startswith("gradnorm/")}
        host = tiny(case)
        assert {official_name(case.recipe.kind, name) for name, _ in host.named_parameters()} == theirs, case.file


def tiny(case: Case) -> Host:
    """A narrow host of the case's kind."""
    recipe = type(case.recipe).model_validate({"width": 4})
    return recipe.build(streams={"rgb": 3, "flow": 2}, num_classes=3)


def test_differences():
    """Relative to the largest figure; absolute where all are zero; other shapes are no comparison."""
    assert relative_difference(torch.tensor([1.0, 4.5]), np.array([1.0, 4.0])) == pytest.approx(0.125)
    assert relative_difference(torch.tensor([0.25]), np.array([0.0])) == pytest.approx(0.25)
    with pytest.raises(ValueError, match=r"found shape \(1,\), expected \(2,\)"):
        relative_difference(torch.tensor([1.0]), np.array([1.0, 1.0]))


def test_summary_keeps_the_worst():
    """A loss on any inputs is one row; NaN and what is beyond its tolerance miss."""
    rows = [
        Row("um", "THUMOS14", "loss", "mil", 1e-7),
        Row("um", "THUMOS14", "loss", "mil, scaled", 2e-5),
        Row("um", "THUMOS14", "gradient", "a", float("nan")),
        Row("um", "THUMOS14", "gradient", "b", 1e-9),
    ]
    loss, gradients = summary(rows)
    assert (loss.quantity, loss.difference, loss.agrees) == ("mil", 2e-5, False)
    assert (gradients.quantity, gradients.agrees) == ("all gradients", False)
    assert markdown([loss]).splitlines()[-1] == "| um | THUMOS14 | mil | 2.0e-05 | 1e-05 | MISSES |"


def test_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path):
    """1 where one comparison misses, which is then named; the table goes to the file, too."""
    found = [Row("um", "THUMOS14", "loss", "mil", 1e-7)]
    monkeypatch.setattr(parity, "CASES", CASES[:1])
    monkeypatch.setattr(parity, "TEXT", {})
    monkeypatch.setattr(parity, "compare", lambda case: found)
    assert parity.main(["--out", str(tmp_path / "parity.md")]) == 0
    assert "agrees" in (tmp_path / "parity.md").read_text()
    found.append(Row("um", "THUMOS14", "output", "cas", 1.0))
    assert parity.main([]) == 1
    assert "um THUMOS14 output cas: 1.0e+00" in capsys.readouterr().out


@pytest.mark.parametrize("case", [CASES[0], CASES[4], CASES[6], CASES[7]], ids=lambda case: case.file)
def test_public_weights_are_checked(case: Case):
    """What is missing or of another shape is named; what our host has no use for is passed over."""
    host, kind = tiny(case), case.recipe.kind
    weights = {official_name(kind, name): value for name, value in host.state_dict().items()}
    load_official(host, kind, weights | {"feat_encoder.0.weight": torch.zeros(2, 2, 3)})
    name = next(iter(weights))
    with pytest.raises(TrainingError, match=f"weights of {kind}: found no {name}"):
        load_official(host, kind, {key: value for key, value in weights.items() if key != name})
    with pytest.raises(TrainingError, match=rf"weights of {kind}, {name}: found \(1, 1\)"):
        load_official(host, kind, weights | {name: torch.zeros(1, 1)})
    assert kind in OFFICIAL_NAMES
