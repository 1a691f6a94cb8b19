"""From a video file to segments with a trained run: predictions, their files and pages, and runs on the Hub."""
