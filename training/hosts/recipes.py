"""The hosts that a recipe can choose. A new one is named here and nowhere else."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import Field, TypeAdapter

from training.hosts import co2net, ddgnet, delu
from training.hosts.co2net import Co2NetRecipe
from training.hosts.ddgnet import DdgNetRecipe
from training.hosts.delu import DeluRecipe
from training.hosts.gaufuse import GauFuseRecipe
from training.hosts.plain import PlainRecipe
from training.hosts.um import UmRecipe

HostRecipe = Annotated[
    PlainRecipe | Co2NetRecipe | DeluRecipe | UmRecipe | DdgNetRecipe | GauFuseRecipe,
    Field(discriminator="kind"),
]
"""The settings of one host; its field `kind` says which."""

HOST_TITLES: Mapping[str, str] = {
    recipe.model_fields["kind"].default: recipe.title for recipe in get_args(get_args(HostRecipe)[0])
}
"""By kind, what tables call each host, in the order of the union."""

if TYPE_CHECKING:
    HostKind = str
else:
    HostKind = Literal[tuple(HOST_TITLES)]
    """The kinds of the union: what options and recipes accept."""

ACTIVITYNET: dict[str, HostRecipe] = {
    "plain": PlainRecipe(mil_ratio=5),
    "co2net": co2net.ACTIVITYNET,
    "delu": delu.ACTIVITYNET,
    "ddgnet": ddgnet.ACTIVITYNET,
}
"""The settings for ActivityNet, of the hosts that have others there than on THUMOS14."""


def other_host(recipe: HostRecipe, kind: HostKind) -> HostRecipe:
    """The settings of another host for the same dataset: those for ActivityNet where `recipe` is one of them."""
    if recipe == ACTIVITYNET.get(recipe.kind):
        return ACTIVITYNET.get(kind) or default_recipe(kind)
    return default_recipe(kind)


def default_recipe(kind: HostKind) -> HostRecipe:
    """The settings that a host has by itself."""
    return TypeAdapter(HostRecipe).validate_python({"kind": kind})
