"""A recipe of every host, and of their other forms, for features of two narrow streams."""

from training.hosts.co2net import Co2NetRecipe
from training.hosts.ddgnet import DdgNetRecipe
from training.hosts.delu import DeluRecipe
from training.hosts.gaufuse import GauFuseRecipe
from training.hosts.plain import PlainRecipe
from training.hosts.recipes import HOST_TITLES, HostRecipe, default_recipe
from training.hosts.um import UmRecipe
from training.nn.pooling import PoolingRecipe

STREAMS = {"rgb": 6, "flow": 4}
CLASSES = 3
KINDS = tuple(HOST_TITLES)
"""What a recipe can choose."""
RECIPES: dict[str, HostRecipe] = {kind: default_recipe(kind) for kind in KINDS} | {
    "plain": PlainRecipe(width=8),
    "co2net smoothed": Co2NetRecipe(smoothing=3),
    "delu official": DeluRecipe(official=True, smoothing=3),
    "ddgnet official": DdgNetRecipe(official=True, smoothing=3),
    "um": UmRecipe(width=8),
    "gaufuse": GauFuseRecipe(width=8),
    "plain spread": PlainRecipe(width=8, pooling=PoolingRecipe(kind="spread")),
    "plain auto": PlainRecipe(width=8, pooling=PoolingRecipe(kind="auto")),
    "co2net attention": Co2NetRecipe(pooling=PoolingRecipe(kind="attention")),
    "delu fitted": DeluRecipe(pooling=PoolingRecipe(kind="fitted")),
    "um log_sum_exp": UmRecipe(width=8, pooling=PoolingRecipe(kind="log_sum_exp")),
    "um auto": UmRecipe(width=8, pooling=PoolingRecipe(kind="auto")),
}
