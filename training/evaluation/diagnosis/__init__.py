"""What detections get wrong: kinds of error, missed ground truth, and how complete detections are (numpy only)."""
