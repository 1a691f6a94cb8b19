"""The hosts that a recipe can choose. A new one of this repository is named here and nowhere else; any other is found
by its module and class.
"""

import inspect
import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeGuard, get_args

from pydantic import Field, PlainValidator, SerializeAsAny, StringConstraints, TypeAdapter, create_model

from cache.wording import amount
from training.errors import TrainingError
from training.hosts import co2net, ddgnet, delu
from training.hosts.co2net import Co2NetRecipe
from training.hosts.ddgnet import DdgNetRecipe
from training.hosts.delu import DeluRecipe
from training.hosts.gaufuse import GauFuseRecipe
from training.hosts.host import BaseHostRecipe, Host
from training.hosts.plain import PlainRecipe
from training.hosts.um import UmRecipe

BuiltInRecipe = Annotated[
    PlainRecipe | Co2NetRecipe | DeluRecipe | UmRecipe | DdgNetRecipe | GauFuseRecipe,
    Field(discriminator="kind"),
]
"""The settings of one host of this repository; its field `kind` says which."""

_BUILT_IN = get_args(get_args(BuiltInRecipe)[0])
_ADAPTER: TypeAdapter[Any] = TypeAdapter(BuiltInRecipe)

HOST_TITLES: Mapping[str, str] = {recipe.model_fields["kind"].default: recipe.title for recipe in _BUILT_IN}
"""By kind, what tables call each host, in the order of the union."""

_OUTSIDE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_outside(kind: object) -> TypeGuard[str]:
    """Whether a kind means to name a host outside the repository: it has a colon, as in "my_module:MyRecipe"."""
    return isinstance(kind, str) and ":" in kind


def outside_recipe(kind: str) -> type[BaseHostRecipe]:
    """The recipe class that "module:Class" names, with `kind` as its field `kind`, so that files name it, too.

    Imports the module, from the working folder or PYTHONPATH, and so runs it. Raises `TrainingError` where there is
    none, or no class in it that can be a host's recipe.
    """
    if not _OUTSIDE.fullmatch(kind):
        raise TrainingError(f"host: found {kind!r}, expected MODULE:CLASS such as my_module:MyRecipe")
    module, _, name = kind.partition(":")
    try:
        found = getattr(import_module(module), name, None)
    except Exception as error:  # whatever the module raises
        raise TrainingError(
            f"host {kind}: cannot import {module}: {type(error).__name__}: {error}. A host outside the repository is "
            "imported, and its module run, from the working folder or PYTHONPATH, by training and by whatever reads "
            "its run or checkpoint"
        ) from error
    if not isinstance(found, type) or not issubclass(found, BaseHostRecipe) or inspect.isabstract(found):
        raise TrainingError(
            f"host {kind}: found {'nothing of that name' if found is None else repr(found)} in {module}, expected a "
            "class that derives from training.hosts.host.BaseHostRecipe and defines build"
        )
    required = [field for field, info in found.model_fields.items() if info.is_required() and field != "kind"]
    if required:
        raise TrainingError(f"host {kind}: found no default of {', '.join(required)}, expected one of every field")
    return _with_kind(found, kind)


@cache
def _with_kind(recipe: type[BaseHostRecipe], kind: str) -> type[BaseHostRecipe]:
    doc = inspect.getdoc(recipe)
    field: Any = (Annotated[Literal[kind], Field(description="Which host this is.")], kind)
    return create_model(recipe.__name__, __base__=recipe, __module__=recipe.__module__, __doc__=doc, kind=field)


def _validated(value: Any) -> BaseHostRecipe:
    """A host's recipe, or the fields of one, which `kind` chooses."""
    if isinstance(value, BaseHostRecipe):
        kind = getattr(value, "kind", None)
        if type(value) in _BUILT_IN or is_outside(kind):
            return value
        fields = {name: getattr(value, name) for name in type(value).model_fields if name != "kind"}
        return outside_recipe(f"{type(value).__module__}:{type(value).__qualname__}").model_validate(fields)
    kind = value.get("kind") if isinstance(value, Mapping) else None
    return outside_recipe(kind).model_validate(value) if is_outside(kind) else _ADAPTER.validate_python(value)


if TYPE_CHECKING:
    HostRecipe = BuiltInRecipe
    HostKind = str
    OutsideKind = str
else:
    HostRecipe = Annotated[get_args(BuiltInRecipe)[0] | BaseHostRecipe, PlainValidator(_validated), SerializeAsAny()]
    """The settings of one host, of this repository or not. Type checkers know the former alone, which have a `kind`."""
    HostKind = Literal[tuple(HOST_TITLES)]
    """The kinds of the union: what options and recipes accept."""
    OutsideKind = Annotated[str, StringConstraints(pattern=f"^{_OUTSIDE.pattern}$")]
    """MODULE:CLASS, the kind of a host outside the repository, which they accept, too."""

ACTIVITYNET: dict[str, HostRecipe] = {
    "plain": PlainRecipe(mil_ratio=5),
    "co2net": co2net.ACTIVITYNET,
    "delu": delu.ACTIVITYNET,
    "ddgnet": ddgnet.ACTIVITYNET,
}
"""The settings for ActivityNet, of the hosts that have others there than on THUMOS14."""


def other_host(recipe: HostRecipe, kind: str) -> HostRecipe:
    """The settings of another host for the same dataset: those for ActivityNet where `recipe` is one of them."""
    if recipe == ACTIVITYNET.get(recipe.kind):
        return ACTIVITYNET.get(kind) or default_recipe(kind)
    return default_recipe(kind)


def refuse_streams(recipe: BaseHostRecipe, streams: Mapping[str, int]) -> None:
    """Raise `TrainingError`, naming the hosts that can, if the host cannot read as many streams as these."""
    if recipe.num_streams in (None, len(streams)):
        return
    kinds = {kind: own.num_streams for kind, own in zip(HOST_TITLES, _BUILT_IN, strict=True)}
    others = ", ".join(kind for kind, count in kinds.items() if count in (None, len(streams)))
    raise TrainingError(
        f"host {getattr(recipe, 'kind', type(recipe).__name__)}: found features of {amount(len(streams), 'stream')} "
        f"({', '.join(streams)}), expected {recipe.num_streams}; choose streams of the features (--data.streams rgb "
        f"flow), or a host that reads these (--host): {others}"
    )


def build_host(recipe: BaseHostRecipe, *, streams: Mapping[str, int], num_classes: int) -> Host[Any]:
    """The host, freshly initialized, for features of these streams. Raises `TrainingError` as `refuse_streams`."""
    refuse_streams(recipe, streams)
    return recipe.build(streams=streams, num_classes=num_classes)


def default_recipe(kind: str) -> HostRecipe:
    """The settings that a host has by itself. Raises `TrainingError` where there is none of that kind."""
    if kind not in HOST_TITLES and not is_outside(kind):
        raise TrainingError(f"host: found {kind!r}, expected one of {', '.join(HOST_TITLES)}, or MODULE:CLASS")
    return TypeAdapter(HostRecipe).validate_python({"kind": kind})
