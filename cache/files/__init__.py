"""How files are written so that a kill, a full disk or a second process costs nothing: atomic writes, locks.

Knows folders and bytes, and nothing of what the project stores in them.
"""
