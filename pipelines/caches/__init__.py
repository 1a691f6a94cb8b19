"""Commands that make and show what lies in cache/data: import, features, priors, inspect, export."""
