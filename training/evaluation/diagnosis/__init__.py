"""Diagnosis of detections: error types, false negatives, completeness (numpy only)."""
