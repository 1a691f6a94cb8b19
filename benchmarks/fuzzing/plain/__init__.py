"""Second readers, written from the documented rules alone: slow, short, and without the project's code."""
