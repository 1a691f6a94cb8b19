"""What inference costs beside each host alone, for I3D features of THUMOS14: `make bench-footprint`."""

from cache.features import FeatureGrid
from training.checkpoints.checkpoint import State, Trained
from training.checkpoints.footprint import Footprint, footprint
from training.hosts.recipes import HostKind, default_recipe
from training.model.mllm4wtal import ModelRecipe, inference_model
from training.recipe import TrainRecipe

GRID = FeatureGrid(streams={"rgb": 1024, "flow": 1024}, fps=25, snippet_frames=16, snippet_stride=16)
CLASSES = tuple(f"class {number}" for number in range(20))
SNIPPETS = 254
"""Of THUMOS14's median test video."""
HOSTS: tuple[HostKind, ...] = ("co2net", "delu", "ddgnet", "um", "gaufuse")


def cost(kind: HostKind) -> Footprint:
    """Of a host with its default recipe, class queries and localization head."""
    recipe = ModelRecipe(host=default_recipe(kind))
    model = inference_model(recipe, streams=GRID.streams, num_classes=len(CLASSES)).eval()
    state = State(0, TrainRecipe(model=recipe), CLASSES, (), GRID, "", {})
    return footprint(Trained(model, state), snippets=SNIPPETS)


def main() -> None:
    """Print the table."""
    print("| host | parameters alone | with class queries and head | GFLOP alone | with them | ratio |")
    print("|---|---|---|---|---|---|")
    for kind in HOSTS:
        found = cost(kind)
        counts = f"{found.host_parameters:,} | {found.parameters:,}"
        flops = f"{found.host_flops / 1e9:.2f} | {found.flops / 1e9:.2f} | {found.flops / found.host_flops:.3f}"
        print(f"| `{kind}` | {counts} | {flops} |")


if __name__ == "__main__":
    main()
