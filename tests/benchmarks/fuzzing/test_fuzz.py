"""A few hundred mutated inputs for every reader, and that the benchmark finds what is wrong."""

import pytest

from benchmarks.fuzzing.fuzz import jobs, table
from benchmarks.fuzzing.known import FORMATS, find
from benchmarks.fuzzing.trials import Input, Unreadable, Verdict, drawn, tried
from benchmarks.fuzzing.workers import Job, Limits, run
from tests.benchmarks.fuzzing.misbehaving import FORMAT, WAYS, Misbehaving

COUNTS = {"videos": 12, "checkpoints": 20, "descriptions": 25}
"""Of inputs that take longer."""
WRONG = {
    "hang": "hang: no end within",
    "died": "died: exit code -9",
    "memory": "memory",
    "traceback": "traceback: KeyError",
    "another value": "another value: found 8, expected 7",
    "no file": "names no file",
    "same refused": "refused, though it means the same",
    "silent": "read without a word about line 3",
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # torch's, of a pickle in the place of its file
@pytest.mark.parametrize("name", FORMATS)
def test_mutated_inputs_are_read_right_or_refused(name: str):
    """Whatever the mutation; `make bench-fuzz` runs ten thousand."""
    form = find(name)
    verdicts = [tried(form, 1, number) for number in range(COUNTS.get(name, 50))]
    assert [one for one in verdicts if one.outcome == "wrong"] == []
    assert {one.outcome for one in verdicts} == {"right", "refused"}


@pytest.mark.parametrize("name", FORMATS)
def test_an_input_is_known_by_its_number(name: str):
    """And the next number, or another seed, gives another."""
    form = find(name)
    first = [drawn(form, 3, number).files for number in range(8)]
    assert first == [drawn(form, 3, number).files for number in range(8)]
    assert first != [drawn(form, 4, number).files for number in range(8)]


def numbers() -> dict[str, int]:
    """For each way to misbehave, the number of an input of it."""
    found: dict[str, int] = {}
    for number in range(200):
        found.setdefault(drawn(FORMAT, 0, number).mutation, number)
    return found


def test_what_is_wrong_is_found_and_kept(tmp_path):
    """Processes that hang, die or take all memory are ended and counted; the other inputs are read all the same."""
    known = numbers()
    todo = [Job(FORMAT.name, known[way]) for way in WAYS]
    limits = Limits(seconds=1.0, memory=1 << 30)
    verdicts = {one.mutation: one for one in run(todo, seed=0, workers=2, limits=limits, keep=tmp_path)}
    assert set(verdicts) == set(WAYS)
    assert verdicts["right"].outcome == "right"
    assert verdicts["refused"].outcome == "refused"
    for way, why in WRONG.items():
        assert verdicts[way].outcome == "wrong"
        assert why in verdicts[way].why
        assert (tmp_path / f"{FORMAT.name}-0-{known[way]}" / "a.txt").read_text() == way


def test_a_value_where_the_plain_reader_finds_none_is_wrong():
    """Nothing is read out of a file that says nothing."""

    class Lenient(Misbehaving):
        def draw(self, rng) -> Input:
            return self.of("right")

        def plain(self, folder) -> int:
            raise Unreadable("nothing there")

    verdict = tried(Lenient(), 0, 0)
    assert (verdict.outcome, verdict.why) == ("wrong", "expected a refusal (nothing there), read as 7")


def test_inputs_are_shared_and_counted():
    """At least as many as asked for, some of each; sums below."""
    todo = jobs(FORMATS, 10_000)
    assert len(todo) >= 10_000
    assert len(set(todo)) == len(todo)
    assert {job.format for job in todo} == set(FORMATS)
    verdicts = [Verdict("words", 0, "x", "right", ""), Verdict("words", 1, "x", "wrong", "y")]
    assert [line.split() for line in table(verdicts, ["words"]).splitlines()[1:]] == [
        ["words", "2", "1", "0", "1"],
        ["in", "all", "2", "1", "0", "1"],
    ]
