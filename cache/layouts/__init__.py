"""Import of datasets in the layouts of public code.

One file per layout, and shared code. A layout only reads; files are written by `convert` and `report`.
"""
