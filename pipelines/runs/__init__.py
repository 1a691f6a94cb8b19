"""Commands that make and show what lies in runs/: train, eval, diagnose, report, compare, weights of public code."""
