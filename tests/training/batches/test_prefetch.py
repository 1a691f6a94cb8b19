"""Batches made ahead: the same ones in the same order, bounded, and with errors where they belong."""

import threading
from collections.abc import Callable

import pytest
import torch

from tests.support.data.toy_data import toy_training_data
from tests.training.batches.test_data import same
from training.batches.data import Batch, WtalData
from training.batches.prefetch import Prefetcher
from training.errors import TrainingError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> WtalData:
    """The toy data."""
    return toy_training_data(tmp_path_factory.mktemp("features"))


def threads() -> list[threading.Thread]:
    """Those of prefetchers."""
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_batches_are_bitwise_those_of_their_steps(data: WtalData, depth: int) -> None:
    """From any first step, while this thread draws random numbers and goes through whole videos."""
    with Prefetcher(data.batch, first=3, last=12, device=CPU, depth=depth) as ahead:
        for step in range(3, 13):
            torch.manual_seed(step)
            list(data.whole(48))
            assert same(ahead.get(step), data.batch(step))
    assert threads() == []


def test_no_more_than_depth_are_made_ahead(data: WtalData) -> None:
    """Of a slow consumer's ten steps, two beyond those it took."""
    begun, third = [], threading.Event()

    def make(step: int) -> Batch:
        begun.append(step)
        if step == 2:
            third.set()
        return data.batch(step)

    with Prefetcher(make, first=0, last=9, device=CPU, depth=2) as ahead:
        assert not third.wait(0.3)
        assert begun == [0, 1]
        ahead.get(0)
        assert third.wait(10)
        assert begun == [0, 1, 2]


def failing(data: WtalData, error: BaseException) -> Callable[[int], Batch]:
    """Makes the batches of steps 0 and 1."""

    def make(step: int) -> Batch:
        if step == 2:
            raise error
        return data.batch(step)

    return make


@pytest.mark.parametrize("error", [TrainingError("v7.npy: gone"), MemoryError(), SystemExit(3)])
def test_an_error_is_raised_at_its_step(data: WtalData, error: BaseException) -> None:
    """The steps before are served; asked again, it is raised again and nobody waits for ever."""
    with Prefetcher(failing(data, error), first=0, last=9, device=CPU) as ahead:
        assert same(ahead.get(0), data.batch(0))
        assert same(ahead.get(1), data.batch(1))
        for _ in range(2):
            with pytest.raises(type(error)) as raised:
                ahead.get(2)
            assert raised.value is error
    assert threads() == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_the_thread_ends_with_the_block(data: WtalData, stop: type[BaseException]) -> None:
    """Whatever ends it, and with batches that nobody took."""
    ahead = Prefetcher(data.batch, first=0, last=99, device=CPU)

    def steps() -> None:
        with ahead:
            ahead.get(0)
            raise stop

    with pytest.raises(stop):
        steps()
    assert threads() == []
    ahead.close()
    with pytest.raises(ValueError, match="closed"):
        ahead.get(1)


def test_steps_are_asked_for_in_their_order(data: WtalData) -> None:
    """One that was skipped, taken before, or lies behind the last is a mistake of the caller."""
    with Prefetcher(data.batch, first=1, last=2, device=CPU) as ahead:
        for wrong in (0, 2):
            with pytest.raises(ValueError, match=f"step: found {wrong}, expected 1, at most 2"):
                ahead.get(wrong)
        ahead.get(1)
        ahead.get(2)
        with pytest.raises(ValueError, match="found 3"):
            ahead.get(3)
    with Prefetcher(data.batch, first=5, last=4, device=CPU):
        pass  # a run that has no step left
    assert threads() == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_for_cuda_are_pinned_and_equal(data: WtalData) -> None:
    """Copied without waiting, they are the same once the device is done."""
    device = torch.device("cuda")
    assert data.batch(0).pin_memory().features.is_pinned()
    with Prefetcher(data.batch, first=0, last=9, device=device) as ahead:
        for step in range(10):
            batch = ahead.get(step)
            assert batch.features.is_cuda
            assert same(batch.to("cpu"), data.batch(step))
