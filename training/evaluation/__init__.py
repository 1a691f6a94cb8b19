"""Scores of detections: average precision, protocols, intervals, diagnosis (numpy only, no torch)."""
