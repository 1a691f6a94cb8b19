"""Turns of the two branches, and that what one learns never trains the other."""

from pathlib import Path

import pytest
import torch
from toy_data import tiny_recipe, toy_model, toy_training_data

from training.data import WtalData
from training.distillation import DpidRecipe, Phase, updates_of
from training.losses import attention_mse
from training.model import Mllm4Wtal
from training.trainer import Trainer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> WtalData:
    """The toy data."""
    return toy_training_data(tmp_path_factory.mktemp("features"))


def build(data: WtalData, **model: object) -> Mllm4Wtal:
    """The tiny model, without dropout."""
    return toy_model(data, **model).eval()


def gradients(model: Mllm4Wtal, data: WtalData, phase: Phase) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Loss terms of batch 0, and the gradients of their sum."""
    model.zero_grad()
    terms = model(data.batch(0), phase=phase, step=0, total_steps=1)
    torch.stack(list(terms.values())).sum().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {name: value.item() for name, value in terms.items()}, found


def test_turns():
    """Every step updates the host; alternating, CSR then gets as many updates, on the same batches, none left out."""
    turns = [updates_of(step, DpidRecipe(period=2), total_steps=5) for step in range(5)]
    assert turns == [
        [("match", 0)],
        [("match", 1), ("reconstruct", 0), ("reconstruct", 1)],
        [("match", 2)],
        [("match", 3), ("reconstruct", 2), ("reconstruct", 3)],
        [("match", 4), ("reconstruct", 4)],
    ]
    assert updates_of(3, DpidRecipe(), total_steps=9) == [("match", 3), ("reconstruct", 3)]
    assert updates_of(3, DpidRecipe(schedule="joint"), total_steps=9) == [("joint", 3)]


@pytest.mark.parametrize("dpid", [DpidRecipe(), DpidRecipe(period=3), DpidRecipe(schedule="joint")])
def test_every_schedule_gives_host_and_csr_as_many_updates(data: WtalData, tmp_path: Path, dpid: DpidRecipe):
    """8 steps are 8 updates of each optimizer, counted where the optimizer counts them."""
    recipe = tiny_recipe(dpid=dpid)
    trainer = Trainer(data, recipe, run=tmp_path)
    for _ in range(recipe.loop.steps):
        trainer.advance()
    for optimizer in trainer.optimizers.values():
        assert max(int(state["step"]) for state in optimizer.state.values()) == recipe.loop.steps


@pytest.mark.parametrize(
    ("dpid", "moves"),
    [
        (DpidRecipe(period=2), [{"host", "ksm"}, {"host", "ksm", "csr"}]),
        (DpidRecipe(schedule="joint"), [{"host", "ksm", "csr"}] * 2),
    ],
)
def test_the_trainer_takes_these_turns(data: WtalData, tmp_path: Path, dpid: DpidRecipe, moves: list[set[str]]):
    """CSR's weights move in the steps that update it, and in no other."""
    trainer = Trainer(data, tiny_recipe(dpid=dpid), run=tmp_path)
    for expected in moves:
        before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
        trainer.advance()
        moved = {name.split(".")[0] for name, p in trainer.model.named_parameters() if not torch.equal(p, before[name])}
        assert moved - {"head"} == expected


def test_each_phase_trains_its_own_branch(data: WtalData):
    """L_match moves host and KSM, L_rec moves CSR; psi stops everything else (eqs 19 and 20)."""
    model = build(data)
    _, match = gradients(model, data, "match")
    _, reconstruct = gradients(model, data, "reconstruct")
    assert {name.split(".")[0] for name in match} == {"host", "ksm"}
    assert {name.split(".")[0] for name in reconstruct} == {"csr"}


def test_joint_is_both_at_once(data: WtalData):
    """One forward of each branch gives the terms and the gradients of both phases."""
    model = build(data)
    match_terms, match = gradients(model, data, "match")
    other_terms, reconstruct = gradients(model, data, "reconstruct")
    joint_terms, joint = gradients(model, data, "joint")
    assert joint_terms == pytest.approx(match_terms | other_terms)
    for name, expected in (match | reconstruct).items():
        assert torch.allclose(joint[name], expected, atol=1e-6), name


def test_distillation_terms_restated(data: WtalData):
    """lambda times the masked mean squared difference of the two attentions, in both directions."""
    dpid = DpidRecipe(schedule="joint", match_weight=3.0, reconstruct_weight=5.0)
    model, batch = build(data, dpid=dpid), data.batch(0)
    assert model.csr is not None
    mask = batch.targets.mask
    gap = attention_mse(model.host(batch.features, mask).attention, model.csr.attention(batch.features, mask), mask)
    terms, _ = gradients(model, data, "joint")
    assert gap > 0
    assert terms["dpid.match"] == pytest.approx(3 * gap.item(), rel=1e-5)
    assert terms["dpid.reconstruct"] == pytest.approx(5 * gap.item(), rel=1e-5)


def test_distillation_pulls_the_attentions_together(data: WtalData):
    """A step against the gradient of either term alone narrows the gap."""
    for phase, name in (("match", "dpid.match"), ("reconstruct", "dpid.reconstruct")):
        model, batch = build(data), data.batch(0)
        before = model(batch, phase=phase, step=0, total_steps=1)[name]
        before.backward()
        with torch.no_grad():
            for p in model.parameters():
                if p.grad is not None:
                    p -= 0.05 * p.grad
        assert model(batch, phase=phase, step=0, total_steps=1)[name] < before


def test_without_dpid_the_branches_are_apart(data: WtalData):
    """No distillation term in either phase, and the other terms stay what they were."""
    with_terms, _ = gradients(build(data), data, "joint")
    without, _ = gradients(build(data, use_dpid=False), data, "joint")
    assert with_terms.keys() - without.keys() == {"dpid.match", "dpid.reconstruct"}
    assert {name: with_terms[name] for name in without} == pytest.approx(without)
