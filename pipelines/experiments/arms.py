"""The rows of every table: what each row changes in the full model, and which row it is compared with.

A change sets a field of the training's recipe (config) by its dotted name. All other fields are the preset's. A row
that is equal to the full model shares its trainings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from cache.errors import CacheError
from training.hosts.recipes import HOST_TITLES, HostKind

TableName = Literal["table3", "table4", "table5", "ablations"]
Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Arm:
    """One row of a table."""

    name: str
    """Name in files and on the command line."""
    title: str
    """Name in tables and plots."""
    changes: Changes = field(default_factory=dict)
    """Changes of the training's recipe."""
    localize: Changes = field(default_factory=dict)
    """Changes of the post-processing; rows that differ only in these share a training."""
    host: HostKind | None = None
    """Host, if it is not the preset's."""
    group: str = ""
    """Rows of the same group are plotted together."""
    baseline: str | None = None
    """Name of the row that this one is compared with."""


@dataclass(frozen=True)
class Plan:
    """One table."""

    title: str
    arms: tuple[Arm, ...]
    further: tuple[tuple[str, str], ...] = ()
    """Further pairs of rows whose difference is reported."""

    def arm(self, name: str) -> Arm:
        """The row of that name."""
        return next(arm for arm in self.arms if arm.name == name)


def _parts(*, ksm: bool = False, csr: bool = False, head: bool = False) -> Changes:
    """Switches of the components. CSR acts on the host through distillation (DPID), so both are switched together."""
    switches = {"use_ksm": ksm, "use_csr": csr, "use_dpid": csr, "use_head": head}
    return {f"model.{name}": value for name, value in switches.items()}


_WHOLE = _parts(ksm=True, csr=True, head=True)


def _table3() -> Plan:
    """Rows with KSM or CSR also have the localization head, which reads what these teach the host; "host + head" shows
    the effect of the head alone."""
    arms = (
        Arm("host", "host alone", _parts()),
        Arm("head", "host + head", _parts(head=True), baseline="host"),
        Arm("ksm", "+ KSM", _parts(ksm=True, head=True), baseline="host"),
        Arm("csr", "+ CSR", _parts(csr=True, head=True), baseline="host"),
        Arm("both", "+ both (MLLM4WTAL)", _WHOLE, baseline="host"),
    )
    return Plan("Table 3: components of the model", arms, further=(("both", "head"), ("both", "ksm"), ("both", "csr")))


def _table4() -> Plan:
    arms = []
    for host, title in HOST_TITLES.items():
        arms.append(Arm(f"{host}-alone", title, _parts(), host=host, group=title))
        whole = Arm(f"{host}-whole", f"{title} + MLLM4WTAL", _WHOLE, host=host, group=title, baseline=f"{host}-alone")
        arms.append(whole)
    return Plan("Table 4: hosts", tuple(arms))


def _table5() -> Plan:
    def texts(queries: str, sentences: str) -> Changes:
        return {**_WHOLE, "model.ksm.queries": queries, "model.csr.texts": sentences}

    arms = (
        Arm("host", "host alone", _parts()),
        Arm("class_name", "class names", texts("class_name", "class_name"), baseline="host"),
        Arm("template", "template", texts("template", "template"), baseline="host"),
        Arm("mllm", "MLLM (key and complete)", texts("class_pool", "complete"), baseline="host"),
    )
    return Plan("Table 5: priors", arms, further=(("mllm", "class_name"), ("mllm", "template")))


def _options(group: str, name: str, values: Sequence[Any]) -> list[Arm]:
    """One row for each value of a field."""
    shown = [" + ".join(value) if isinstance(value, tuple) else str(value) for value in values]
    return [
        Arm(f"{group}-{text.replace(' ', '')}", f"{name.removeprefix('model.')} {text}", {name: value}, group=group)
        for text, value in zip(shown, values, strict=True)
    ]


def _ablations() -> Plan:
    alternating = {"model.dpid.schedule": "alternate"}
    votes = "model.head.pseudo_labels"
    single = [
        *_options("gating", "model.csr.gating", ("outside", "inside")),
        *_options("mask", "model.csr.mask", ("action_words", "content_words", "uniform")),
        *_options("contrast", "model.csr.contrast", (0.0, 1.0)),
        *_options("hinges", "model.csr.contrast_trains", ("all", "attention")),
        *_options("norm", "model.csr.norm", (0.0, 0.02, 0.05)),
        *_options("scale", "model.ksm.scale", (True, False)),
        *_options("suppression", "model.ksm.suppression", ("product", "suppress")),
        *_options("dpid", "model.dpid.schedule", ("alternate", "joint")),
        Arm("dpid-off", "without DPID", {"model.use_dpid": False}, group="dpid"),
        *_options("gate", "model.dpid.gate", ("none", "confident")),
        *_options("teacher", "model.dpid.teacher", ("self", "average")),
        *(
            Arm(f"period-{steps}", f"dpid.period {steps}", {**alternating, "model.dpid.period": steps}, group="period")
            for steps in (1, 5, 25)
        ),
        *_options("queries", "model.ksm.queries", ("class_pool", "class_name", "template")),
        *_options("texts", "model.csr.texts", ("complete", "class_name", "template")),
        *_options("attentions", f"{votes}.attentions", (("ksm",), ("csr",), ("ksm", "csr"))),
        *_options("cams", f"{votes}.cams", (("host",), ("ksm",), ("host", "ksm"))),
        *_options("curves", f"{votes}.curves", (("fused",), ("attention",), ("cas",))),
        *_options("merge", f"{votes}.merge", ("fuse", "nms", "ricker")),
        *_options("agreement", f"{votes}.agreement", (0.0, 1.0, 2.0)),
        *_options("levels", "model.head.levels", (3, 5, 8)),
        *(
            Arm(f"source-{source}", f"detections from {source}", localize={"source": source}, group="source")
            for source in ("head", "cam", "head+cam")
        ),
        *(
            Arm(f"resolution-{name}", title, localize={"snippets": snippets}, group="resolution")
            for name, title, snippets in (
                ("full", "localized on all snippets", None),
                ("training", "localized on as many snippets as in training", "training"),
            )
        ),
    ]
    full = Arm("full", "full model", _WHOLE)
    arms = [replace(arm, changes={**_WHOLE, **arm.changes}, baseline="full") for arm in single]
    return Plan("Ablations: single options", (full, *arms))


def plan_of(table: TableName, *, arms: Sequence[str] = (), groups: Sequence[str] = ()) -> Plan:
    """The rows of a table, or only those of these names and groups, with the rows that they are compared with.

    Raises CacheError, naming the rows or groups that exist, if one does not.
    """
    plan = {"table3": _table3, "table4": _table4, "table5": _table5, "ablations": _ablations}[table]()
    _refuse_unknown("rows", arms, [arm.name for arm in plan.arms])
    _refuse_unknown("groups", groups, list(dict.fromkeys(arm.group for arm in plan.arms if arm.group)))
    kept = [arm for arm in plan.arms if (not arms or arm.name in arms) and (not groups or arm.group in (*groups, ""))]
    needed = {arm.baseline for arm in kept} | {arm.name for arm in kept}
    chosen = tuple(arm for arm in plan.arms if arm.name in needed)
    names = {arm.name for arm in chosen}
    return replace(plan, arms=chosen, further=tuple(pair for pair in plan.further if names.issuperset(pair)))


def _refuse_unknown(option: str, asked: Sequence[str], known: Sequence[str]) -> None:
    if unknown := [name for name in asked if name not in known]:
        expected = f"expected some of {', '.join(known)}" if known else "but this table has none"
        raise CacheError(f"{option}: found {', '.join(unknown)}, {expected}")


TABLES: tuple[TableName, ...] = get_args(TableName)
