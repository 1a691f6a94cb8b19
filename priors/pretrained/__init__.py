"""Pretrained models as files: folder or hub id, revision, and the imports that loading needs.

How a model is used is in `describers/` and `features/`.
"""
