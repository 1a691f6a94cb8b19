"""Scripts that trained the demo's tiny checkpoints, and their scores on held-out data."""
