"""The layouts in which the field passes datasets around, read into ours.

One file a layout, beside what they share. A layout only reads: what is written is written by `convert` and `report`.
"""
