"""Presets train every host as its public code does, alone and with the method, and none by accident otherwise."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from cache.errors import CacheError
from pipelines.asked import asked_fields, asked_settings
from pipelines.experiments.grid import TableRun, cells
from pipelines.presets.base import Preset
from pipelines.presets.known import PRESETS
from pipelines.run_folder.recipe import MethodSettings, TrainRun
from tests.support.data.tiny_world import make_world
from tests.support.data.toy_data import CLASSES, STREAMS, tiny_recipe, toy_dataset, toy_store
from tests.support.paths import ROOT
from training.batches.data import DataRecipe, WtalData
from training.hosts.gaufuse import GauFuseRecipe
from training.hosts.recipes import ACTIVITYNET, HostKind, default_recipe
from training.model.mllm4wtal import Mllm4Wtal
from training.optimizers import LoopRecipe, build_optimizers, rate_factor
from training.recipe import TrainRecipe

REAL: dict[str, Preset] = {
    one.name: one for one in PRESETS if one.name in ("thumos14", "activitynet12", "activitynet13")
}
PUBLIC_RATES = ((80, 5e-5), (200, 4e-5), (245, 2.048e-5), (260, 5.12e-7), (350, 2.56e-7))
"""Of Zhou et al.'s public code: the last epoch (from 1) of each rate."""


def documented() -> Iterator[tuple[str, HostKind, list[str]]]:
    """Preset, host and the other columns of each row of the table of docs/hosts.md."""
    section = (ROOT / "docs/hosts.md").read_text().split("### Schedules")[1].split("###")[0]
    for row in re.findall(r"^\| (`.*) \|$", section, re.M):
        host, preset, *columns = (cell.strip() for cell in row.split(" |"))
        for name in re.findall(r"`(\w+)`", preset):
            for kind in re.findall(r"`(\w+)`", host):
                yield name, kind, columns


DOCUMENTED = list(documented())


@pytest.mark.parametrize(("name", "kind", "columns"), DOCUMENTED, ids=[f"{one}-{host}" for one, host, _ in DOCUMENTED])
def test_each_host_has_its_documented_schedule(name: str, kind: HostKind, columns: list[str]):
    """Every column of the table is what the preset trains with."""
    updates, rate, decay, betas, snippets, batch, batches, falls = columns
    training = REAL[name].train_on(kind).train
    loop, data = training.loop, training.data
    assert training.model.host.kind == kind
    assert (loop.optimizer, loop.warmup, loop.steps) == ("adam", 0, int(updates))
    assert (loop.host_lr, loop.host_weight_decay) == (float(rate), float(decay))
    assert loop.host_betas == tuple(map(float, betas.split(", ")))
    assert (data.num_snippets, data.stretch) == ((None, False) if snippets == "all" else (int(snippets), True))
    assert (data.num_pairs, data.singles) == tuple(map(int, batch.split(" + ")))
    assert loop.accumulate == int(batches)
    told = re.findall(r"([\d.e-]+) at (\d+)/350", falls)
    assert loop.schedule == ("steps" if told else "constant")
    assert len(loop.milestones) == len(told)
    for (share, factor), (value, epoch) in zip(loop.milestones, told, strict=True):
        assert share == pytest.approx(int(epoch) / 350)
        assert factor * loop.host_lr == pytest.approx(float(value))


@pytest.mark.parametrize("name", REAL)
def test_a_preset_knows_the_hosts_of_the_document(name: str):
    """No host has settings that the document does not tell, and none that it tells is missing."""
    assert set(REAL[name].train().known_hosts or ()) == {host for preset, host, _ in DOCUMENTED if preset == name}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kind, _ in DOCUMENTED])
def test_each_host_has_the_losses_of_its_dataset(name: str, kind: HostKind):
    """On ActivityNet those of the public code's variant, in trainings and tables, whatever options change of another
    host."""
    expected = default_recipe(kind) if name == "thumos14" else ACTIVITYNET[kind]
    assert REAL[name].train_on(kind).train.model.host == expected
    table = REAL[name].tables()
    base = table.train.train.changed({"model.host.norm": 0.1})
    if kind != base.model.host.kind:
        with_host = base.changed({"model.host": default_recipe(kind)}).changed(table.hosts[kind])
        assert with_host.model.host == expected


def test_zhou_s_rates_are_those_of_the_public_code():
    """At each of the 7000 updates, 20 an epoch."""
    loop = REAL["thumos14"].train_on("gaufuse").train.loop
    public = []
    for epoch in range(1, 351):
        public += [next(rate for last, rate in PUBLIC_RATES if epoch <= last)] * 20
    assert [rate_factor(step, loop) * loop.host_lr for step in range(loop.steps)] == pytest.approx(public, rel=1e-9)


@pytest.mark.parametrize("steps", [7000, 700, 333])
def test_growth_labels_meet_small_rates_alone(steps: int):
    """Where the loss of Zhou et al. has no lower bound, the rate is as small as in the public code, in runs of any
    length."""
    training = REAL["thumos14"].train_on("gaufuse").train
    assert isinstance(training.model.host, GauFuseRecipe)
    loop, labels = training.loop.model_copy(update={"steps": steps}), training.model.host.frame_labels
    growing = [step for step in range(steps) if labels.growth(step, steps) is not None]
    assert len(growing) > 0.2 * steps
    assert max(rate_factor(step, loop) for step in growing) * loop.host_lr <= 5.13e-7


def test_milestones_after_a_warm_up():
    """Shares are of all steps, each holds from its first step on, and the last one reached counts."""
    loop = LoopRecipe(steps=10, warmup=2, schedule="steps", milestones=((0.5, 0.1), (0.75, 0.01)))
    rates = [rate_factor(step, loop) for step in range(10)]
    assert rates == [0.5, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schedule": "steps"}, "milestones: found none"),
        ({"milestones": ((0.5, 0.1), (0.25, 0.01))}, "expected rising"),
        ({"milestones": ((0.5, 0.1), (0.5, 0.01))}, "expected rising"),
        ({"milestones": ((1.0, 0.1),)}, "less than 1"),
        ({"accumulate": 0}, "greater than 0"),
        ({"host_betas": (0.9, 1.0)}, "less than 1"),
    ],
)
def test_schedules_that_cannot_be_are_refused(fields: dict[str, object], message: str):
    """Before anything is trained, naming the field."""
    with pytest.raises(ValidationError, match=message):
        LoopRecipe.model_validate(fields)


def small_model(recipe: TrainRecipe) -> Mllm4Wtal:
    """Its model on the toy features."""
    return Mllm4Wtal(recipe.model, streams=STREAMS, num_classes=len(CLASSES), word_vectors=torch.ones(5, 8))


def test_host_and_new_modules_have_optimizers_settings_of_their_own():
    """Rate, decay and betas of the host reach the host alone; without them the host has the others'."""
    own = {"loop.host_lr": 1e-5, "loop.host_weight_decay": 0.0, "loop.host_betas": (0.8, 0.99)}
    for changes, expected in ((own, (1e-5, 0.0, (0.8, 0.99))), ({"loop.host_lr": 1e-5}, (1e-5, 0.1, (0.9, 0.95)))):
        recipe = tiny_recipe().changed({"loop.lr": 1e-3, "loop.weight_decay": 0.1, "loop.betas": (0.9, 0.95)} | changes)
        model = small_model(recipe)
        found = {}
        for optimizer in build_optimizers(model, recipe.loop).values():
            for group in optimizer.param_groups:
                found |= {id(p): (group["lr"], group["weight_decay"], group["betas"]) for p in group["params"]}
        for name, parameter in model.named_parameters():
            assert found[id(parameter)] == (expected if name.startswith("host.") else (1e-3, 0.1, (0.9, 0.95)))


def test_averaged_gradients_with_zhou_s_decay_are_the_public_sums():
    """Ten summed gradients with a decay of 5e-4 move the weights as their average does with the preset's decay."""
    loop = REAL["thumos14"].train_on("gaufuse").train.loop
    torch.manual_seed(0)  # of some weights the float32 updates differ by more than is asked below
    model = small_model(tiny_recipe(use_ksm=False, use_csr=False, use_dpid=False, use_head=False))
    (optimizer,) = build_optimizers(model, loop).values()
    ours = [p for group in optimizer.param_groups for p in group["params"]]
    public = [p.detach().clone() for p in ours]
    reference = torch.optim.Adam(public, lr=5e-5, betas=(0.9, 0.99), weight_decay=5e-4)
    torch.manual_seed(0)
    for _ in range(20):
        for parameter, other in zip(ours, public, strict=True):
            gradients = 1e-3 * torch.randn(10, *parameter.shape)
            parameter.grad, other.grad = gradients.mean(0), gradients.sum(0)
        optimizer.step()
        reference.step()
    for parameter, other in zip(ours, public, strict=True):
        assert torch.allclose(parameter, other, rtol=0, atol=2e-6)


def test_whole_videos_one_by_one(tmp_path: Path):
    """Without num_snippets every video keeps its length, and a batch may be one video without a pair."""
    dataset, recipe = toy_dataset(), DataRecipe(num_snippets=None, num_pairs=0, singles=1)
    data = WtalData(dataset, toy_store(tmp_path, dataset), None, recipe=recipe, seed=0)
    lengths = dict(zip(data.video_ids, data.lengths(), strict=True))
    batches = [data.batch(step) for step in range(20)]
    for batch in batches:
        (video,) = batch.video_ids
        assert batch.targets.mask.shape == (1, lengths[video])
        assert batch.targets.mask.all()
        assert (batch.targets.pairs.shape, float(batch.scale)) == ((0, 2), 1.0)
    assert len({batch.video_ids for batch in batches}) > 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"num_pairs": 0, "singles": 0}, "at least one video"), ({"num_snippets": None, "stretch": True}, "num_snippets")],
)
def test_batches_that_cannot_be_are_refused(fields: dict[str, object], message: str):
    """Before anything is trained, naming the field."""
    with pytest.raises(ValidationError, match=message):
        DataRecipe.model_validate(fields)


def on_tiny_data(table: TableRun, folder: Path) -> TableRun:
    """The table with a small dataset in place of the preset's."""
    return table.model_copy(update={"train": table.train.model_copy(update={"dataset": folder}), "seeds": 1})


@pytest.mark.parametrize("chosen", ["measured", "paper"])
@pytest.mark.parametrize("name", REAL)
def test_a_host_alone_is_trained_as_the_host_of_the_whole_model(name: str, chosen: MethodSettings, tmp_path):
    """Both rows of Table 4 have the same schedule and batches, those of `make train --host`, with either settings."""
    table = on_tiny_data(REAL[name].tables(chosen), make_world(tmp_path / "tiny"))
    known: list[HostKind] = [host for host in get_args(HostKind) if host in (table.train.known_hosts or ())]
    table = table.model_copy(update={"table": "table4", "arms": tuple(f"{host}-whole" for host in known)})
    rows = {cell.arm.name: cell.run.train.train for cell in cells(table)}
    for host in known:
        alone, whole = rows[f"{host}-alone"], rows[f"{host}-whole"]
        assert (alone.loop, alone.data, alone.model.host) == (whole.loop, whole.data, whole.model.host)
        assert whole == REAL[name].train_on(host, chosen).train
        assert (alone.model.use_ksm, whole.model.use_ksm) == (False, True)


def test_options_stand_above_the_settings_of_every_host(tmp_path: Path):
    """A table with `--loop.steps 5000` trains UM for 5000 steps too, though that is the number of the preset's own
    host; whatever no option names is the host's."""
    arguments = ["table4", "thumos14", "--loop.steps", "5000", "--data.no-stretch", "--loop.host_lr=1"]
    asked = asked_fields(arguments)
    assert {"loop.steps", "data.stretch", "loop.host_lr"} <= asked
    table = on_tiny_data(REAL["thumos14"].tables().with_options(asked), make_world(tmp_path / "tiny"))
    options = {"loop.steps": 5000, "data.stretch": False, "loop.host_lr": 1.0}
    training = table.train.model_copy(update={"train": table.train.train.changed(options)})
    table = table.model_copy(update={"table": "table4", "arms": ("um-alone",), "train": training})
    (cell,) = cells(table)
    loop, data = cell.run.train.train.loop, cell.run.train.train.data
    assert (loop.steps, loop.host_lr, data.stretch) == (5000, 1.0, False)
    assert (loop.host_weight_decay, data.num_snippets, data.singles) == (5e-4, 750, 16)


@pytest.mark.parametrize(("name", "kind"), [("activitynet12", "um"), ("activitynet13", "gaufuse")])
def test_a_host_without_settings_is_refused(name: str, kind: HostKind):
    """Unless it is said that it shall be trained; and a recipe that was made so is never asked again."""
    refused = REAL[name].train_on(kind).model_copy(update={"host": kind})
    with pytest.raises(CacheError, match=f"host {kind}: .*no settings.*--unpublished-settings"):
        refused.resolved()
    resolved = refused.model_copy(update={"unpublished_settings": True}).resolved()
    assert resolved.train.model.host == default_recipe(kind)
    given_back = TrainRun.model_validate_json(resolved.model_dump_json())
    assert given_back.model_copy(update={"unpublished_settings": False}).resolved().train == resolved.train


def test_a_written_recipe_keeps_its_host_and_settings():
    """Another host or other settings of a recipe that was given back would leave its schedule: both are refused."""
    written = TrainRun.model_validate_json(REAL["thumos14"].train_on("um", "paper").resolved().model_dump_json())
    assert written.resolved() == written.model_copy(update={"settings": "paper"}).resolved().model_copy(
        update={"settings": None}
    )
    with pytest.raises(CacheError, match="host delu: found a saved recipe of um"):
        written.model_copy(update={"host": "delu"}).resolved()
    with pytest.raises(CacheError, match="settings: found 'measured', but the recipe was made with 'paper'"):
        written.model_copy(update={"settings": "measured"}).resolved()
    table = REAL["thumos14"].tables()
    with pytest.raises(CacheError, match="settings: found 'paper'"):
        cells(table.model_copy(update={"train": table.train.model_copy(update={"settings": "paper"})}))


def test_a_table_on_a_host_without_settings_is_refused():
    """All its rows are named; so are those of Table 4 that are left when others are chosen; the flag lets them be."""
    on_gaufuse = REAL["activitynet13"].tables()
    on_gaufuse = on_gaufuse.model_copy(update={"train": on_gaufuse.train.model_copy(update={"host": "gaufuse"})})
    with pytest.raises(CacheError, match="table3, rows host, head, ksm, csr, both: host gaufuse"):
        cells(on_gaufuse)
    hosts = REAL["activitynet13"].tables().model_copy(update={"table": "table4", "arms": ("um-whole", "delu-whole")})
    with pytest.raises(CacheError, match=r"rows um-alone, um-whole: host um: .*--rows delu-alone delu-whole$"):
        cells(hosts)
    chosen = hosts.model_copy(update={"train": hosts.train.model_copy(update={"unpublished_settings": True})})
    with pytest.raises(CacheError, match=r"annotations\.json"):
        cells(chosen)


def test_a_derived_host_is_refused_until_it_has_settings():
    """The settings of the host that it was made from do not reach it, so no preset trains it silently."""
    for preset in PRESETS:
        assert preset.train().lacks_settings("my_delu")
        assert not preset.train().lacks_settings("delu")
    without_preset = TrainRun(dataset=Path("d"), run=Path("r"))
    assert not without_preset.lacks_settings("my_delu")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train", "activitynet12", "--host", "um"], "host um: this preset has no settings"),
        (
            ["table4", "activitynet12"],
            "rows um-alone, um-whole, gaufuse-alone, gaufuse-whole: host um, gaufuse: this preset has no settings",
        ),
    ],
)
def test_commands_refuse_before_any_work(command: list[str], message: str, tmp_path: Path):
    """Exit code 2 and one message, though there is not even a dataset to look at; nothing is written."""
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_settings_of_the_method(preset: Preset):
    """Presets give what was measured; `--settings paper` gives the defaults, which are the equations, and leaves host
    and schedule alone (but for the paper's 50,000 steps on ActivityNet)."""
    measured, paper = preset.train().train, preset.train_on(None, "paper").train
    of_measured, of_paper = preset.method["measured"], preset.method["paper"]
    assert measured == measured.changed(of_measured)
    for part in ("csr", "dpid"):
        fields = [name.rpartition(".")[2] for name in of_paper if name.startswith(f"model.{part}.")]
        chosen, default = getattr(paper.model, part), getattr(TrainRecipe().model, part)
        assert {field: getattr(chosen, field) for field in fields} == {f: getattr(default, f) for f in fields}
    assert of_paper.keys() - {"loop.steps"} == of_measured.keys()
    steps = 50_000 if preset.name.startswith("activitynet") else measured.loop.steps
    assert paper == measured.changed({**of_paper, "loop.steps": steps})


def test_settings_are_found_before_the_options_are_read():
    """However they are written; anything else is left to the parser to refuse."""
    assert asked_settings(["train", "thumos14", "--settings", "paper"]) == "paper"
    assert asked_settings(["train", "thumos14", "--settings=paper", "--seed", "1"]) == "paper"
    assert asked_settings(["train", "thumos14"]) == "measured"


def test_presets_evaluate_under_the_protocol_of_their_dataset():
    """The name of a preset chooses it, in tables too."""
    expected = {"thumos14": "thumos14-212", "activitynet12": "activitynet12", "activitynet13": "activitynet13"}
    for preset in PRESETS:
        protocol = expected.get(preset.name, "seconds")
        assert preset.evaluate().protocol == preset.tables().evaluate.protocol == protocol
