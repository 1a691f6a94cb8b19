"""Measures of detection as their definitions have them, one pair at a time, to hold the vectorised ones against."""


def plain_iou(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Temporal IoU from its definition."""
    shared = max(0.0, min(first[1], second[1]) - max(first[0], second[0]))
    union = (first[1] - first[0]) + (second[1] - second[0]) - shared
    return shared / union if union > 0 else 0.0
