"""Pretrained models as files: which folder or hub id, which revision, and what must be importable to load one.

What a model does with its inputs belongs in `describers/` and `features/`.
"""
