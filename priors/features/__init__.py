"""Snippet features: snippets of videos, optical flow, encoders.

The grid and the files of features, which need no model, are in `cache.features`.
"""
