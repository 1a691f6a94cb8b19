"""What lies in runs/NAME and is read by several commands: names of files, the recipe, the metrics."""
