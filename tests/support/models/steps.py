"""One step of a small model with everything on, for the tests of precision and of devices."""

from typing import Any

import pytest
import torch

from tests.support.data.toy_data import toy_model
from tests.support.models.small_hosts import RECIPES
from training.batches.data import Batch, WtalData
from training.hosts.gaufuse import GauFuse
from training.loop.review import review_videos, with_notes
from training.model.csr import CsrRecipe
from training.model.distillation import Phase
from training.model.mllm4wtal import Mllm4Wtal
from training.model.pseudo_labels import PseudoBatch, PseudoSegments

LATE = {"step": 300, "total_steps": 350}
"""Where a host has all its terms: Zhou et al.'s memory and frame labels, too."""
no_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: torch found none")
DEVICES = ["cpu", pytest.param("cuda", marks=no_cuda)]


def model_of(data: WtalData, kind: str, device: str = "cpu") -> Mllm4Wtal:
    """Everything on, in training, from a fixed seed."""
    csr = CsrRecipe(width=8, heads=2, encoder_layers=1, decoder_layers=1, contrast=0.5, norm=0.1)
    return toy_model(data, host=RECIPES[kind], csr=csr).to(device).train()


def inputs(data: WtalData, model: Mllm4Wtal, device: str = "cpu") -> tuple[Batch, PseudoBatch]:
    """A batch and pseudo segments. For a host with a memory that is filled, and there are frame labels."""
    batch, notes = data.batch(0), {}
    if isinstance(model.host, GauFuse):
        notes = review_videos(model.host, data, {}, **LATE, device=torch.device(device))
        model.train()
    one = PseudoSegments(torch.tensor([2.0]), torch.tensor([6.0]), torch.tensor([0]), torch.tensor([1.0]))
    pseudo = PseudoBatch.pad([one] * len(batch.video_ids), device=device)
    return with_notes(batch.to(device), notes), pseudo


def terms_of(model: Mllm4Wtal, batch: Batch, pseudo: PseudoBatch, phase: Phase, context: Any) -> dict[str, Any]:
    """The loss terms of a step whose draws are always the same."""
    torch.manual_seed(3)
    with context:
        return model(batch, phase=phase, **LATE, pseudo=pseudo)
