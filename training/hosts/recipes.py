"""The hosts that a recipe can choose. A new one is named here and nowhere else."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from training.hosts.co2net import Co2NetRecipe
from training.hosts.ddgnet import DdgNetRecipe
from training.hosts.delu import DeluRecipe
from training.hosts.gaufuse import GauFuseRecipe
from training.hosts.plain import PlainRecipe
from training.hosts.um import UmRecipe

HostRecipe = Annotated[
    PlainRecipe | Co2NetRecipe | DeluRecipe | DdgNetRecipe | UmRecipe | GauFuseRecipe,
    Field(discriminator="kind"),
]
"""The settings of one host; its field `kind` says which."""

HostKind = Literal["plain", "co2net", "delu", "ddgnet", "um", "gaufuse"]


def default_recipe(kind: HostKind) -> HostRecipe:
    """The settings that a host has by itself."""
    return TypeAdapter(HostRecipe).validate_python({"kind": kind})
