"""What detections get wrong: kinds of error, truths missed, and how complete the found ones are (numpy only)."""
