"""Checkpoints: what is in one, where it lies, how large it is, and weights of public code turned into one."""
