"""Contents of runs/NAME that several commands read: file names, the recipe, the metrics."""
