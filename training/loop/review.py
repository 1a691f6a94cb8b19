"""Reviews: a host looks at all training videos between two steps, and its losses read what it noted (`Host.review`)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from training.batches.data import Batch, WtalData
from training.hosts.host import Host

BATCH_SNIPPETS = 8192
"""Whole videos go together in a review up to so many snippets with their padding; a longer video goes alone."""


@torch.no_grad()
def review_videos(
    host: Host[Any],
    data: WtalData,
    notes: Mapping[str, Tensor],
    *,
    step: int,
    total_steps: int,
    device: torch.device,
) -> dict[str, Tensor]:
    """Let `host` review every training video at full length, in eval mode: its new notes by video, on the CPU.

    `notes` are those of the review before; a video's are (t, n), n figures for each of its own snippets.
    """
    host.eval()
    videos = (batch.to(device) for batch in data.whole(BATCH_SNIPPETS))
    found = host.review(videos, notes, step=step, total_steps=total_steps)
    return {video_id: note.cpu() for video_id, note in found.items()}


def with_notes(batch: Batch, notes: Mapping[str, Tensor]) -> Batch:
    """The batch with the notes on its very snippets as `Targets.notes`; without notes the batch as it is."""
    if not notes:
        return batch
    own = pad_sequence([notes[video_id] for video_id in batch.video_ids], batch_first=True).to(batch.snippets.device)
    rows = torch.arange(len(own), device=own.device).unsqueeze(1)
    on_snippets = own[rows, batch.snippets] * batch.targets.mask.unsqueeze(-1)
    return replace(batch, targets=replace(batch.targets, notes=on_snippets))
