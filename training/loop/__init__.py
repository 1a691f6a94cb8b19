"""Steps: the trainer, what runs beside it (reviews, teacher, validation), and `fit`, which resumes.

What is trained is in `model/`; what a step is shown in `batches/`.
"""
