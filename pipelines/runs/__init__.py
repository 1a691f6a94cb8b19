"""Commands that fill and show runs/: train, eval, diagnose, report, compare, import-checkpoint."""
