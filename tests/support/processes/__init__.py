"""Programs that tests start, stop and kill."""
