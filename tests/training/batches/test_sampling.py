"""Which snippets stand for a video, beside the public samplers' figures."""

import re

import numpy as np
import pytest

from tests.support.paths import GOLDENS
from training.batches.sampling import stratified, uniform

PUBLIC = np.load(GOLDENS / "postprocessing.npz")
CASES = sorted(
    tuple(map(int, found.groups()))
    for key in PUBLIC.files
    if (found := re.fullmatch(r"sampler/uniform/N(\d+)_T(\d+)", key))
)


@pytest.mark.parametrize(("count", "length"), CASES)
def test_uniform_is_the_public_one(count: int, length: int) -> None:
    """CO2-Net's uniform sampling, longer and shorter videos."""
    np.testing.assert_array_equal(uniform(length, count), PUBLIC[f"sampler/uniform/N{count}_T{length}"])


def public_perturbation(length: int, count: int, seed: int) -> np.ndarray:
    """CO2-Net's random sampling restated: a draw from floor(g_i) to floor(g_i+1), both among the choices; a video of
    the wanted length stays as it is."""
    if length == count:
        return np.arange(length)
    rng = np.random.RandomState(seed)
    grid = (np.arange(count) * length / count).astype(int)
    drawn = []
    for place, first in enumerate(grid.tolist()):
        last = grid[place + 1] if place < count - 1 else length - 1
        drawn.append(rng.choice(range(first, last + 1)) if last > first else first)
    return np.array(drawn)


@pytest.mark.parametrize(("count", "length"), CASES)
def test_stratified_draws_from_the_public_bins(count: int, length: int) -> None:
    """The public draw may take the first snippet of the next bin, too; but for that the bins are ours."""
    theirs = public_perturbation(length, count, seed=length)
    np.testing.assert_array_equal(theirs, PUBLIC[f"sampler/perturb/N{count}_T{length}_seed{length}"])
    first, following = uniform(length, count), np.append(uniform(length, count)[1:], length)
    ours = np.stack([stratified(length, count, np.random.default_rng(seed)) for seed in range(40)])
    assert (ours >= first).all()
    assert (ours < np.maximum(following, first + 1)).all()
    assert (theirs >= first).all()
    assert (theirs <= np.minimum(following, length - 1)).all()
    if length >= 4 * count:
        assert (ours.min(axis=0) < ours.max(axis=0)).all()
