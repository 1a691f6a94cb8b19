"""Frames at true timestamps: containers, readers, sampling, and the processes that decode ahead.

No model sees anything here.
"""
