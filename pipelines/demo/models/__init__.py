"""The scripts that trained the demo's tiny checkpoints, and the held-out figures of these."""
