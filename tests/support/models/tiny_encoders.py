"""Tiny random video encoders of a real architecture."""

from __future__ import annotations

from pathlib import Path


def save_tiny_encoders(folder: Path, *, seed: int = 0) -> Path:
    """Two VideoMAE of 4 frames of 28 pixels and width 12 in `folder`: `rgb_encoder` and `flow_encoder`."""
    from priors.pretrained.torchvision_cpu import make_torchvision_importable

    make_torchvision_importable()
    import torch
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEImageProcessor

    torch.manual_seed(seed)
    for name, channels in (("rgb_encoder", 3), ("flow_encoder", 2)):
        config = VideoMAEConfig(
            image_size=28, patch_size=14, num_channels=channels, num_frames=4, tubelet_size=2, hidden_size=12,
            intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        )  # fmt: skip
        VideoMAEForVideoClassification(config).save_pretrained(folder / name)
    VideoMAEImageProcessor(size={"height": 28, "width": 28}).save_pretrained(folder / "rgb_encoder")
    return folder
