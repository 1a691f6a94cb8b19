"""One run of the captioning stage: its recipe, the plan of missing texts, batches, the session, its log, Ray.

How a single prompt is answered is in `describers/`; what is done with the texts afterwards in `words/`.
"""
