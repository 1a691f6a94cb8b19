"""Which warnings fail a test: all, but what other libraries deprecate among themselves."""

import warnings

import pytest

DEPRECATIONS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)
OURS = (
    "cache.tables.store",
    "priors.video.frames",
    "training.hosts.um",
    "pipelines.runs.train",
    "benchmarks.priors.kill",
    "test_loop",
    __name__,
)


def warn(category: type[Warning], module: str) -> None:
    """As a line of that module would."""
    warnings.warn_explicit("planted", category, f"{module}.py", 1, module=module, registry={})


@pytest.mark.parametrize("category", DEPRECATIONS)
@pytest.mark.parametrize("module", OURS)
def test_deprecated_calls_of_ours_fail(category: type[Warning], module: str):
    """A release that deprecates what this project calls is noticed at once."""
    with pytest.raises(category, match="planted"):
        warn(category, module)


@pytest.mark.parametrize("category", DEPRECATIONS)
@pytest.mark.parametrize("module", ["torch.nn.modules", "transformers.utils", "cachetools", "trainings.x"])
def test_deprecated_calls_of_others_are_shown_and_pass(category: type[Warning], module: str):
    """A release of one library that another one is not ready for breaks no test here."""
    with warnings.catch_warnings(record=True) as shown:
        warn(category, module)
    assert len(shown) == 1


@pytest.mark.parametrize("module", ["torch.nn.modules", "training.loop.fit"])
def test_other_warnings_fail_wherever_they_come_from(module: str):
    """Such as a division by zero, or a file left open."""
    for category in (UserWarning, RuntimeWarning, ResourceWarning):
        with pytest.raises(category, match="planted"):
            warn(category, module)


def test_a_deprecated_call_is_laid_to_its_caller():
    """As libraries warn: one level up the stack, which is here."""

    def deprecated() -> None:
        warnings.warn("planted", FutureWarning, stacklevel=2)

    with pytest.raises(FutureWarning, match="planted"):
        deprecated()
