"""From curves to segments: proposals, the outer-inner score, suppression, detections in seconds (numpy only).

The corrected way; that of public code is in `compat/`.
"""
