"""What presets say beside their datasets: the schedule of each host's public code, and the settings of the method.

All are changes of a training's recipe by dotted names, with values as JSON has them. Where the schedules come from, and
what is left out of them, stands in docs/hosts.md ("The hosts, one by one").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

Changes = Mapping[str, Any]
MethodSettings = Literal["measured", "paper"]


def _schedule(
    *,
    steps: int,
    lr: float,
    decay: float,
    snippets: int | None,
    pairs: int,
    singles: int,
    betas: tuple[float, float] = (0.9, 0.999),
    accumulate: int = 1,
    milestones: Sequence[tuple[float, float]] = (),
) -> Changes:
    """Every field of a schedule, so that nothing of another host's remains. All public code uses Adam without warm-up,
    and whoever resamples long videos repeats the snippets of short ones, too."""
    return {
        "data.num_snippets": snippets,
        "data.stretch": snippets is not None,
        "data.num_pairs": pairs,
        "data.singles": singles,
        "loop.steps": steps,
        "loop.accumulate": accumulate,
        "loop.optimizer": "adam",
        "loop.host_lr": lr,
        "loop.host_weight_decay": decay,
        "loop.host_betas": list(betas),
        "loop.warmup": 0,
        "loop.schedule": "steps" if milestones else "constant",
        "loop.milestones": [list(milestone) for milestone in milestones],
    }


# main.py's options and run.sh of CO2-Net; those of DELU and DDG-Net differ in the length alone.
_CO2NET = _schedule(steps=5000, lr=5e-5, decay=1e-3, snippets=500, pairs=3, singles=4)
_DELU = _schedule(steps=5000, lr=5e-5, decay=1e-3, snippets=320, pairs=3, singles=4)
# options.py, main.py and config.py of UM.
_UM = _schedule(steps=10_000, lr=1e-4, decay=5e-4, snippets=750, pairs=0, singles=16)
# options.py and method.py (Step_change_lr) of Zhou et al.: 350 epochs of 200 videos, an update every 10, are 7000
# updates. Rates are 5e-5, and 4e-5, 2.048e-5, 5.12e-7, 2.56e-7 behind epochs 80, 200, 245, 260. Adam is blind to the
# scale of gradients but for the decay that it adds to them: 5e-4 beside the sum of ten is 5e-5 beside their average.
_GAUFUSE = _schedule(
    steps=7000,
    lr=5e-5,
    decay=5e-5,
    betas=(0.9, 0.99),
    snippets=None,
    pairs=0,
    singles=1,
    accumulate=10,
    milestones=((80 / 350, 0.8), (200 / 350, 0.4096), (245 / 350, 0.01024), (260 / 350, 0.00512)),
)

THUMOS14_HOSTS: Mapping[str, Changes] = {
    "plain": _CO2NET,
    "co2net": _CO2NET,
    "delu": _DELU,
    "ddgnet": _DELU,
    "um": _UM,
    "gaufuse": _GAUFUSE,
}
"""The schedule of each host's public code on THUMOS14. The plain host is this project's own and has CO2-Net's, whose
losses it shares."""

_ACTIVITYNET = _schedule(steps=22_000, lr=3e-5, decay=5e-4, snippets=60, pairs=3, singles=4)
ACTIVITYNET_HOSTS: Mapping[str, Changes] = dict.fromkeys(("plain", "co2net", "delu", "ddgnet"), _ACTIVITYNET)
"""The same on ActivityNet, of the hosts whose public code has a variant for it (v1.2), and of the plain host."""

DEMO_HOSTS: Mapping[str, Changes] = {
    "plain": {"model.host.width": 128, "model.host.norm": 0.2, "loop.host_lr": 5e-4, "loop.warmup": 40},
    "delu": {
        "model.host.width": 128,
        "model.host.attention_width": 48,
        "model.host.norm": 0.2,
        "model.host.dropout": 0.5,
        "loop.host_lr": 1e-3,
        "loop.warmup": 40,
    },
    "um": {
        "model.host.width": 128,
        "model.host.margin": 10.0,
        "model.host.uncertainty": 0.01,
        "loop.host_lr": 1e-3,
        "loop.warmup": 40,
    },
    "ddgnet": {
        "model.host.width": 128,
        "model.host.attention_width": 48,
        "model.host.norm": 0.05,
        "model.host.dropout": 0.5,
        "model.host.attention_dropout": 0.1,
        "model.host.similarity": 0.95,
        "model.host.consistency": 0.1,
        "model.host.complementary": 0.1,
        "loop.host_lr": 5e-4,
    },
    "gaufuse": {
        "model.host.width": 128,
        "model.host.scale": 4.0,
        "model.host.dropout": 0.3,
        "model.host.use_frame_labels": False,
        "loop.host_lr": 1e-3,
        "loop.warmup": 40,
    },
}
"""What the demo's training changes on each host but its own; the rest of a host's settings are its defaults. Chosen for
the host alone, by its score on the validation videos."""

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


def asked_settings(arguments: Sequence[str]) -> MethodSettings:
    """What `--settings` names, found before the options are read, so that those can change single fields of it."""
    said = dict(zip(arguments, [*arguments[1:], ""], strict=True))
    said |= dict(argument.split("=", 1) for argument in arguments if argument.startswith("--settings="))
    return "paper" if said.get("--settings") == "paper" else "measured"


def asked_fields(arguments: Sequence[str]) -> frozenset[str]:
    """Dotted names of the fields that options such as `--loop.host-lr 1e-4` or `--data.no-stretch` name."""
    names = [argument[2:].partition("=")[0].replace("-", "_") for argument in arguments if argument.startswith("--")]
    return frozenset(names) | {".".join(_without_no(name.split("."))) for name in names}


def _without_no(parts: Sequence[str]) -> list[str]:
    return [*parts[:-1], parts[-1].removeprefix("no_")]
