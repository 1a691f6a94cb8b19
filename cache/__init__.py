"""The data layer: formats of all files between the priors stage and training, and how they are written safely.

No model is used here: no torch, no decoding, no training. Analysis of texts is in `descriptions/`, import of public
datasets in `layouts/`.
"""
