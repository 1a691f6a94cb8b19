"""The choice of a describer by its recipe; libraries of the others are not imported."""

from __future__ import annotations

from priors.describers.protocol import Describer
from priors.describers.recipe import DescriberRecipe


def make_describer(recipe: DescriberRecipe) -> Describer:
    """Load the describer of a recipe. Raises ModelError if it cannot be used."""
    if recipe.server.url is not None:
        from priors.describers.openai import OpenAIDescriber

        return OpenAIDescriber(recipe)
    from priors.describers.hf import HfDescriber

    return HfDescriber(recipe)
