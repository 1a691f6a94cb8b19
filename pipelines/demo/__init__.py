"""The embedded demo: its rendered world, its tiny checkpoints, and the full pipeline on them."""
