"""The report of a run: what it shows, and the sections that it is made of."""
