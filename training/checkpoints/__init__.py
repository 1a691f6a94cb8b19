"""Checkpoints: their contents, their folder, the size of the model, and import of weights of public code."""
