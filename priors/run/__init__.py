"""One run of the descriptions: its recipe, what is missing, batches, the session, its log, Ray.

How a single question is answered is in `describers/`; what is done with the texts afterwards in `words/`.
"""
