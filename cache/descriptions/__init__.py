"""Analysis of the texts in a cache: flags, audit, statistics, differences, export.

No texts are generated here (see `priors/`), and nothing is printed or drawn (see `pipelines/`).
"""
