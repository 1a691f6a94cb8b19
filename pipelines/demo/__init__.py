"""The embedded demo: its world, its tiny checkpoints, and the full pipeline on them."""
