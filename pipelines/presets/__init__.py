"""Presets: for each dataset, the recipe that every command starts from. One dataset a file.

Commands do not know them; `pipelines/__main__.py` brings both together.
"""
