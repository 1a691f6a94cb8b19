"""Commands that fill and show cache/data: import, features, priors, inspect, export."""
