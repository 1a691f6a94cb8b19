"""Makes tests/goldens/evaluation: a small drawn dataset, detections in it, and the figures of the plain evaluation.

`python -m benchmarks evaluation_goldens` writes annotations.json, detections.json and figures.json;
`--check` writes nothing and exits with 1 where the files say something else. The set has whatever evaluators stumble
over: equal scores and overlaps, repeated and overlapping instances, instants, overlaps of exactly a threshold,
undecided stretches, videos without instances or without detections, detections in videos of another subset or of none,
and classes without ground truth.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

from benchmarks.evaluation.plain_diagnosis import diagnose
from benchmarks.evaluation.plain_evaluation import ABSENT, BROKEN, PROTOCOLS, evaluate

FOLDER = Path(__file__).parents[2] / "tests" / "goldens" / "evaluation"
TESTING = (ABSENT, *BROKEN, *(f"video_test_000000{number}" for number in range(1, 10)))
VALIDATION = tuple(f"held_out_{number}" for number in range(4))
TRAINING = ("learnt_0", "learnt_1")
LABELS = ("Climb", "Dive", "Jump", "Run")
WITHOUT_TRUTH = ("Stroll", "Vault")
"""Stroll occurs in training videos alone, Vault nowhere."""
DIAGNOSED = ("seconds", "thumos14-co2", "activitynet13")


def draw() -> tuple[dict, dict]:
    """Annotations and results. Most times are multiples of 1/4 s, so that overlaps are often equal or exact."""
    rng = random.Random(20)
    database: dict[str, dict] = {}
    for subset, videos in (("testing", TESTING), ("validation", VALIDATION), ("training", TRAINING)):
        for number, video in enumerate(videos):
            database[video] = {"subset": subset, "duration": 40.0, "annotations": _instances(rng, number)}
    database[TESTING[3]]["annotations"] = []
    database[TRAINING[0]]["annotations"].append({"label": "Stroll", "segment": [1.0, 9.0]})
    repeated = database[TESTING[4]]["annotations"]
    repeated += [repeated[0], {"label": "Jump", "segment": [7.5, 7.5]}]
    for video, stretch in ((TESTING[0], [5.0, 9.5]), (TESTING[5], [12.3, 13.9]), (TESTING[6], [0.0, 6.3])):
        database[video]["ambiguous"] = [stretch]
    annotations = {"name": "goldens", "classes": [*LABELS, *WITHOUT_TRUTH], "database": database}
    results = {video: _detections(rng, entry["annotations"]) for video, entry in database.items()}
    results["nowhere"] = _detections(rng, database[TESTING[0]]["annotations"])
    results[TESTING[4]].append({"label": "Jump", "score": 0.9, "segment": [7.5, 7.5]})
    # after the undecided stretch, but in its last snippet
    results[TESTING[5]].append({"label": "Dive", "score": 0.85, "segment": [14.0, 16.0]})
    results[TESTING[7]] = []
    return annotations, {"version": "VERSION 1.3", "results": results, "external_data": {"used": False}}


def _quarters(rng: random.Random, first: float, last: float) -> float:
    return rng.randint(round(first * 4), round(last * 4)) / 4


def _instances(rng: random.Random, number: int) -> list[dict]:
    rows = []
    for _ in range(rng.randint(1, 5)):
        start = _quarters(rng, 0, 30) if rng.random() < 0.8 else round(rng.uniform(0, 30), 2)
        label = LABELS[number % 4] if rng.random() < 0.75 else rng.choice(LABELS)
        rows.append({"label": label, "segment": [start, start + _quarters(rng, 0.5, 9)]})
    return rows


def _detections(rng: random.Random, instances: list[dict]) -> list[dict]:
    """Shifted and stretched instances, some of them repeated or under another label, and some spans of chance."""
    rows = []
    for _ in range(rng.randint(5, 12)):
        if instances and rng.random() < 0.75:
            like = rng.choice(instances)
            start, end = like["segment"]
            start = max(0.0, start + _quarters(rng, -1.5, 1.5))
            end = max(start, end + _quarters(rng, -1.5, 1.5))
            label = like["label"] if rng.random() < 0.85 else rng.choice((*LABELS, *WITHOUT_TRUTH))
        else:
            start = _quarters(rng, 0, 30)
            end = start + _quarters(rng, 0, 9)
            label = rng.choice((*LABELS, *WITHOUT_TRUTH))
        rows.append({"label": label, "score": rng.randint(1, 20) / 20, "segment": [start, end]})
    return rows


def figures(annotations: dict, results: dict) -> dict:
    """By protocol; the diagnosis of some."""
    return {
        "evaluation": {name: evaluate(annotations, results, protocol) for name, protocol in PROTOCOLS.items()},
        "diagnosis": {name: diagnose(annotations, results, PROTOCOLS[name]) for name in DIAGNOSED},
    }


def documents() -> dict[str, str]:
    """What the three files hold."""
    annotations, results = draw()
    content = {
        "annotations.json": annotations,
        "detections.json": results,
        "figures.json": figures(annotations, results),
    }
    return {name: _in_lines(document, depth=2) + "\n" for name, document in content.items()}


def _in_lines(value: object, *, depth: int) -> str:
    """JSON with a line for every entry of the outer objects."""
    if depth == 0 or not isinstance(value, dict):
        return json.dumps(value)
    entries = (f"{json.dumps(name)}: {_in_lines(entry, depth=depth - 1)}" for name, entry in value.items())
    return "{\n" + ",\n".join(entries) + "\n}"


def main(*, check: bool) -> int:
    """Write the files; with `check`, 1 where one differs."""
    stale = []
    for name, text in documents().items():
        path = FOLDER / name
        if check and (not path.is_file() or path.read_text() != text):
            stale.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    print(f"{FOLDER}: {', '.join(stale) + ' differ' if stale else 'as drawn'}")
    return int(bool(stale))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    sys.exit(main(check=parser.parse_args().check))
