"""The embedded demo world: what it shows, how it is drawn, and the scripts that trained its tiny checkpoints."""
