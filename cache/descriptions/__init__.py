"""What looks at the texts of a cache: flags, audit, statistics, differences, export.

No texts are made here (that is `priors/`), and no terminal or page is drawn (that is `pipelines/`).
"""
