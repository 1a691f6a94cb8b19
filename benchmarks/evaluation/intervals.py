"""How often the intervals of the tables hold the truth, beside those of redrawn seeds; and how long they take.

`python -m benchmarks intervals` makes up paired differences of seeds and videos around a truth of 0, with more chance
in the seeds or in the videos, and counts. The time is that of one run of THUMOS14's size: 212 videos, 20 classes.
"""

import time

import numpy as np

from training.evaluation.intervals import BootstrapRecipe, ClassHits, Redraws, resampled_scores

TRIALS, VIDEOS = 600, 40
CHANCES = {"mostly seeds": (1.0, 0.1), "both": (1.0, 5.0), "mostly videos": (0.0, 1.0)}
"""Standard deviations of a seed's part and of a video's part; that of the rest is 0.5."""


def main() -> None:
    """Print shares of trials in which the interval held 0, and seconds."""
    print("| seeds | chance of | interval of the tables | seeds redrawn |\n| --- | --- | --- | --- |")
    for seeds in (2, 3, 5):
        for name, (of_seeds, of_videos) in CHANCES.items():
            tables, redrawn = _coverage(seeds, of_seeds, of_videos)
            print(f"| {seeds} | {name} | {100 * tables:.0f} % | {100 * redrawn:.0f} % |")
    print(f"one run of THUMOS14's size, {BootstrapRecipe().redraws} redraws: {_seconds():.1f} s of one core")


def _coverage(seeds: int, of_seeds: float, of_videos: float) -> tuple[float, float]:
    rng = np.random.default_rng(seeds)
    held = np.zeros(2)
    for trial in range(TRIALS):
        parts = rng.normal(0, of_seeds, (seeds, 1)) + rng.normal(0, of_videos, (1, VIDEOS))
        parts += rng.normal(0, 0.5, (seeds, VIDEOS))
        redraws = Redraws.draw(VIDEOS, BootstrapRecipe(redraws=400, seed=trial))
        runs = np.einsum("sv,rv->sr", parts, redraws.videos) / VIDEOS
        interval = redraws.interval(runs[..., None])
        again = rng.integers(seeds, size=(runs.shape[1] - 1, seeds))
        low, high = np.quantile(np.take_along_axis(runs[:, 1:].T, again, axis=1).mean(axis=1), (0.025, 0.975))
        held += (interval.low[0] <= 0 <= interval.high[0], low <= 0 <= high)
    return float(held[0] / TRIALS), float(held[1] / TRIALS)


def _seconds() -> float:
    """Of 2100 detections and 168 truths a class, a tenth fewer of which are found at each higher threshold."""
    rng = np.random.default_rng(0)
    classes = []
    for label in range(20):
        hits = np.zeros((2100, 7), dtype=bool)
        found = rng.choice(2100, 150, replace=False)
        for threshold in range(7):
            hits[found[: 150 - 15 * threshold], threshold] = True
        classes.append(ClassHits(str(label), rng.integers(212, size=2100), hits, rng.integers(212, size=168)))
    redraws = Redraws.draw(212, BootstrapRecipe())
    start = time.process_time()
    resampled_scores(classes, redraws.videos)
    return time.process_time() - start


if __name__ == "__main__":
    main()
