"""Snippet features: snippets cut from video, optical flow, encoders.

What is known of features without a model (grid, files) is in `cache.features`.
"""
