"""Reviews: between two steps a host computes notes on all training videos, which its losses read (`Host.review`)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from training.batches.data import Batch, WtalData
from training.hosts.host import Host

BATCH_SNIPPETS = 8192
"""Batch size of a review, which runs on whole videos: at most this many snippets, padding included; a longer video
alone."""


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
    """Let `host` review every training video at full length, in eval mode. Returns its new notes by video, on the CPU.

    `notes` are those of the previous review. Notes on a video have shape (t, n): n numbers for each of its t snippets.
    """
    host.eval()
    videos = (batch.to(device) for batch in data.whole(BATCH_SNIPPETS))
    new_notes = host.review(videos, notes, step=step, total_steps=total_steps)
    return {video_id: note.cpu() for video_id, note in new_notes.items()}


def with_notes(batch: Batch, notes: Mapping[str, Tensor]) -> Batch:
    """The batch with the notes on its sampled snippets as `Targets.notes`; unchanged if there are no notes."""
    if not notes:
        return batch
    of_videos = [notes[video_id] for video_id in batch.video_ids]
    padded = pad_sequence(of_videos, batch_first=True).to(batch.snippets.device)
    rows = torch.arange(len(padded), device=padded.device).unsqueeze(1)
    on_snippets = padded[rows, batch.snippets] * batch.targets.mask.unsqueeze(-1)
    return replace(batch, targets=replace(batch.targets, notes=on_snippets))
