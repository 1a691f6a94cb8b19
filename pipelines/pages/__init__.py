"""Everything that becomes HTML: charts, tables, the report, the gallery, the comparison.

Pages are given finished figures; what computes them is in `training/evaluation`.
"""
