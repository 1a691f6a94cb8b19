"""The training loop: trainer, host reviews, teacher, validation, and `fit`, which also resumes a run.

The model is in `model/`, the batches are made in `batches/`.
"""
