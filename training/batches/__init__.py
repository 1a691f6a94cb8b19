"""Batches for training: sampled videos with their weak labels and texts; whole videos at full length.

Drawing, padding and masks are here; losses are in `model/` and `hosts/`.
"""
