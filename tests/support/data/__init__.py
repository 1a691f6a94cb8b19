"""Made-up datasets, caches and rows."""
