"""All HTML pages: report, gallery and comparison, with their charts and tables.

Pages only show figures; they are computed in `training/evaluation`.
"""
