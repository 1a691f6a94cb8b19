"""The report of a run: its contents and its sections."""
