"""Turns of the two branches, and that what one learns never trains the other."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.nn.functional as F

from tests.support.data.toy_data import tiny_recipe, toy_model, toy_training_data
from training.batches.data import WtalData
from training.loop.teacher import copy_for_teaching
from training.loop.trainer import Trainer
from training.model.distillation import DpidRecipe, Phase, lowest_share, updates_of
from training.model.mllm4wtal import Mllm4Wtal
from training.nn.losses import attention_mse


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> WtalData:
    """The toy data."""
    return toy_training_data(tmp_path_factory.mktemp("features"))


def build(data: WtalData, **model: object) -> Mllm4Wtal:
    """The tiny model, without dropout."""
    return toy_model(data, **model).eval()


def averaged(model: Mllm4Wtal) -> Mllm4Wtal:
    """A teacher whose weights are not quite the model's."""
    average = copy_for_teaching(model)
    with torch.no_grad():
        for p in average.parameters():
            p += 0.1
    return average


def gradients(
    model: Mllm4Wtal, data: WtalData, phase: Phase, *, average: Mllm4Wtal | None = None
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Loss terms of batch 0, and the gradients of their sum."""
    model.zero_grad()
    terms = model(data.batch(0), phase=phase, step=0, total_steps=1, average=average)
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


@pytest.mark.parametrize("teacher", ["self", "average"])
def test_each_phase_trains_its_own_branch(data: WtalData, teacher: str):
    """L_match moves host and KSM, L_rec moves CSR; psi stops everything else (eqs 19 and 20), the average included."""
    model = build(data, dpid={"teacher": teacher})
    average = averaged(model).requires_grad_(True)
    _, match = gradients(model, data, "match", average=average)
    _, reconstruct = gradients(model, data, "reconstruct", average=average)
    assert {name.split(".")[0] for name in match} == {"host", "ksm"}
    assert {name.split(".")[0] for name in reconstruct} == {"csr"}
    assert all(p.grad is None for p in average.parameters())


@pytest.mark.parametrize("teacher", ["self", "average"])
def test_joint_is_both_at_once(data: WtalData, teacher: str):
    """One forward of each branch gives the terms and the gradients of both phases."""
    model = build(data, dpid={"teacher": teacher})
    average = averaged(model)
    match_terms, match = gradients(model, data, "match", average=average)
    other_terms, reconstruct = gradients(model, data, "reconstruct", average=average)
    joint_terms, joint = gradients(model, data, "joint", average=average)
    assert joint_terms == pytest.approx(match_terms | other_terms)
    for name, expected in (match | reconstruct).items():
        assert torch.allclose(joint[name], expected, atol=1e-6), name


@pytest.mark.parametrize("choice", ["self", "average"])
def test_distillation_terms_restated(data: WtalData, choice: Literal["self", "average"]):
    """lambda times the masked mean squared difference of each attention to the other's, or to the average's other."""
    dpid = DpidRecipe(schedule="joint", teacher=choice, match_weight=3.0, reconstruct_weight=5.0)
    model, batch = build(data, dpid=dpid), data.batch(0)
    average = averaged(model)
    teacher = model if choice == "self" else average
    assert model.csr is not None
    assert teacher.csr is not None
    features, mask = batch.features, batch.targets.mask
    match = attention_mse(model.host(features, mask).attention, teacher.csr.attention(features, mask), mask)
    reconstruct = attention_mse(model.csr.attention(features, mask), teacher.host(features, mask).attention, mask)
    terms, _ = gradients(model, data, "joint", average=average)
    assert min(match, reconstruct) > 0
    assert (match == reconstruct) == (choice == "self")
    assert terms["dpid.match"] == pytest.approx(3 * match.item(), rel=1e-5)
    assert terms["dpid.reconstruct"] == pytest.approx(5 * reconstruct.item(), rel=1e-5)


@pytest.mark.parametrize(("noisy", "term"), [("csr", "dpid.match"), ("host", "dpid.reconstruct")])
def test_the_average_teaches_without_dropout(data: WtalData, noisy: str, term: str):
    """Where only the teaching branch has dropout, what its own pass teaches is drawn anew; the average's stands still,
    and the own one is not run for it."""
    parts = tiny_recipe().model
    rates = {"csr": parts.csr.model_copy(update={"attention_dropout": 0.5 if noisy == "csr" else 0.0})}
    rates |= {"host": parts.host.model_copy(update={"dropout": 0.5 if noisy == "host" else 0.0})}
    phase: Phase = "match" if noisy == "csr" else "reconstruct"
    for choice, stands in (("self", False), ("average", True)):
        model = toy_model(data, dpid={"teacher": choice}, **rates).train()
        average, drawn = copy_for_teaching(model), []
        for seed in (0, 1):
            torch.manual_seed(seed)
            terms = model(data.batch(0), phase=phase, step=0, total_steps=1, average=average)
            drawn.append(terms[term].item())
        assert (drawn[0] == drawn[1]) == stands


@pytest.mark.parametrize("choice", ["self", "average"])
def test_padding_does_not_change_what_is_distilled(data: WtalData, choice: str):
    """Five more snippets of rubbish behind every video leave both terms as they are."""
    model, batch = build(data, dpid={"schedule": "joint", "teacher": choice}), data.batch(0)
    rubbish = torch.full((*batch.features.shape[:1], 5, batch.features.shape[2]), 9.0)
    longer = replace(
        batch,
        features=torch.cat((batch.features, rubbish), dim=1),
        targets=replace(batch.targets, mask=F.pad(batch.targets.mask, (0, 5))),
        snippets=F.pad(batch.snippets, (0, 5)),
    )
    average = averaged(model)
    first, second = (model(b, phase="joint", step=0, total_steps=1, average=average) for b in (batch, longer))
    for name in ("dpid.match", "dpid.reconstruct"):
        assert second[name].item() == pytest.approx(first[name].item(), rel=1e-4)


def test_the_trainer_keeps_an_average_that_teaches(data: WtalData, tmp_path: Path):
    """Even without a head; a resumed run goes on with it to the last bit."""
    recipe = tiny_recipe(use_head=False, dpid={"teacher": "average"})
    whole = Trainer(data, recipe, run=tmp_path)
    for _ in range(3):
        whole.advance()
    whole.save({})
    resumed = Trainer(data, recipe, run=tmp_path)
    resumed.restore()
    for trainer in (whole, resumed):
        trainer.advance()
        trainer.advance()
    for kept in (whole.model, whole.average), (resumed.model, resumed.average):
        assert kept[1] is not None
        assert not all(torch.equal(a, b) for a, b in zip(kept[0].parameters(), kept[1].parameters(), strict=True))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_an_average_that_is_not_there_can_not_teach(data: WtalData):
    """Rather than the model quietly teaching itself."""
    with pytest.raises(ValueError, match=r"average: found None.*dpid\.teacher"):
        gradients(build(data, dpid={"teacher": "average"}), data, "joint")


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


def test_gated_terms_restated(data: WtalData):
    """Means over the snippets of highest A_CSR (match) and lowest A_KSM (reconstruct) alone, in plain loops."""
    dpid = DpidRecipe(schedule="joint", gate="confident", background=0.45, foreground=0.26)
    model, batch = build(data, dpid=dpid), data.batch(0)
    assert model.csr is not None
    mask = batch.targets.mask
    ksm, csr = model.host(batch.features, mask).attention, model.csr.attention(batch.features, mask)
    match, reconstruct = [], []
    for row, length in enumerate(mask.sum(1).tolist()):
        own, other = ksm[row, :length].tolist(), csr[row, :length].tolist()
        order = sorted(range(length), key=lambda t, other=other: -other[t])
        sure = [t for place, t in enumerate(order) if place + 0.5 <= 0.26 * length]
        match.append(sum((own[t] - other[t]) ** 2 for t in sure) / len(sure))
        order = sorted(range(length), key=lambda t, own=own: own[t])
        sure = [t for place, t in enumerate(order) if place + 0.5 <= 0.45 * length]
        reconstruct.append(sum((own[t] - other[t]) ** 2 for t in sure) / len(sure))
    terms, _ = gradients(model, data, "joint")
    assert terms["dpid.match"] == pytest.approx(1.5 * sum(match) / len(match), rel=1e-4)
    assert terms["dpid.reconstruct"] == pytest.approx(1.5 * sum(reconstruct) / len(reconstruct), rel=1e-4)


def test_flat_attention_has_no_lowest_snippets():
    """Equal values are in together or not at all; padding is never in, nor does it count."""
    values = torch.tensor([[0.5] * 10, [0, 0, 0, 1, 1, 1, 1, 1, 1, 1.0], [0.4, 0.1, 0.2, 0.3, -9, -9, -9, -9, -9, -9]])
    mask = torch.arange(10) < torch.tensor([10, 10, 4])[:, None]
    low = lowest_share(values, mask, 0.4)
    assert not low[0].any()
    assert low[1].tolist() == [True] * 3 + [False] * 7
    assert low[2].tolist() == [False, True, True, *[False] * 7]
    assert not lowest_share(-values, mask, 0.2)[1].any()  # seven snippets share the top: none of them stands out
    assert torch.equal(lowest_share(values, mask, 1.0), mask)


@pytest.mark.parametrize("level", [0.02, 0.98])
def test_a_flat_teacher_teaches_nothing(data: WtalData, level: float):
    """A_CSR that is the same everywhere pulls the host's attention along, unless only confident snippets teach."""
    shares = {}
    for gate in ("none", "confident"):
        model = build(data, dpid={"schedule": "joint", "gate": gate})
        model.csr.attention = lambda features, mask: torch.full(mask.shape, level)  # pyright: ignore
        terms = model(data.batch(0), phase="match", step=0, total_steps=1)
        shares[gate] = terms["dpid.match"].item()
    assert shares["none"] > 0
    assert shares["confident"] == 0
