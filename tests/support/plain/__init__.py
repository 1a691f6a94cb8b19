"""Plain second implementations that results are compared with."""
