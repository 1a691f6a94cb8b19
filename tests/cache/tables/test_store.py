"""The store of parts: nothing half written, nothing lost, the last row of a key wins, one run at a time."""

import dataclasses
import errno
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import cache.files.atomic
import cache.tables.store
from cache.errors import CacheError
from cache.files.atomic import atomic_path, remove_unfinished
from cache.files.lock import Shard
from cache.tables.folders import only_fingerprint
from cache.tables.schema import (
    DESCRIPTION_KEY,
    DESCRIPTIONS,
    TOKENS,
    VOCABULARY_KEY,
    TokenRow,
    VocabularyRow,
    vocabulary_schema,
)
from cache.tables.store import PartStore
from tests.support.data.rows import Made, described, failed
from tests.support.paths import ROOT


@pytest.fixture
def store(tmp_path) -> PartStore:
    """An empty store of descriptions."""
    return PartStore.create(tmp_path, Made(), DESCRIPTIONS, key=DESCRIPTION_KEY)


def test_rows_come_back_as_they_went_in(store):
    """Every column of every row, in the schema's types, sorted by key."""
    rows = [described("b"), described("a", kind="complete", text="ü, “quoted”"), failed("a")]
    store.append(rows)
    table = store.table()
    assert table.schema.equals(DESCRIPTIONS)
    expected = [dataclasses.asdict(row) for row in (rows[1], rows[2], rows[0])]
    for row in expected:
        row["frame_seconds"], row["flags"] = list(row["frame_seconds"]), list(row["flags"])
    assert table.to_pylist() == expected


def test_the_last_row_of_a_key_wins_by_time(store):
    """Against a plain dictionary, over many overlapping parts."""
    rng = random.Random(0)
    truth = {}
    for part in range(12):
        keys = rng.sample("abcdefgh", 4)
        rows = [described(key, text=f"part {part}") if rng.random() < 0.6 else failed(key) for key in keys]
        store.append(rows)
        truth.update({row.video_id: row for row in rows})
    found = {row["video_id"]: row["description"] for row in store.table(["video_id", "description"]).to_pylist()}
    assert found == {key: row.description for key, row in truth.items()}
    assert store.done() == {(key, "Dive", "key") for key, row in truth.items() if row.status == "ok"}


def test_done_means_an_ok_row(store):
    """A failed row is not done; a later ok row makes it so; and the reverse."""
    store.append([failed("a"), described("b")])
    assert store.done() == {("b", "Dive", "key")}
    store.append([described("a"), failed("b")])
    assert store.done() == {("a", "Dive", "key")}


def test_the_order_of_parts_survives_a_clock_set_back(store, monkeypatch):
    """The newer part stays the newer one, even if the clock says otherwise."""
    store.append([described("a", text="old")])
    monkeypatch.setattr(cache.tables.store.time, "time_ns", lambda: 1_000)
    store.append([described("a", text="new")])
    assert store.table(["description"]).to_pylist() == [{"description": "new"}]


def test_parts_are_made_for_their_readers(store):
    """256-row groups, zstd, sorted by key, and the recipe and version in the metadata."""
    rows = [described(f"v{number:04}") for number in range(600)]
    random.Random(1).shuffle(rows)
    part = pq.ParquetFile(store.append(rows))
    assert [part.metadata.row_group(group).num_rows for group in range(part.num_row_groups)] == [256, 256, 88]
    assert part.metadata.row_group(0).column(0).compression == "ZSTD"
    assert part.read(columns=["video_id"])["video_id"].to_pylist() == sorted(row.video_id for row in rows)
    metadata = part.schema_arrow.metadata
    assert json.loads(metadata[b"recipe"]) == {"version": 1}
    assert metadata[b"fingerprint"].decode() == store.home.name == Made().fingerprint()
    assert metadata[b"schema_version"] == str(cache.tables.store.SCHEMA_VERSION).encode()


@dataclass(frozen=True)
class _Odd:
    token_id: int
    wrod: str
    vector: np.ndarray


@dataclass(frozen=True)
class _Fits:
    token_id: int | None
    word: object
    vector: np.ndarray


_VECTOR = np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([_Odd(1, "a", _VECTOR)], "word"),
        ([_Fits(None, "a", _VECTOR)], "column token_id: holds a null"),
        ([_Fits(1, 5, _VECTOR)], "column word"),
        ([_Fits(1, "a", np.ones(4, np.float32))], "column vector"),
        ([_Fits(1, "a", np.ones(3, np.float64))], "column vector"),
        ([_Fits(2**40, "a", _VECTOR)], "column token_id"),
        ([_Fits(1, "a", _VECTOR), _Fits(1, "b", _VECTOR)], "twice"),
        ([], "at least one row"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_before_anything_is_written(tmp_path, rows, told):
    """Unknown columns, nulls, wrong types and widths, double keys."""
    store = PartStore.create(tmp_path, Made(), vocabulary_schema(3), key=VOCABULARY_KEY)
    before = sorted(store.folder.iterdir())
    with pytest.raises(CacheError, match=told):
        store.append(rows)
    assert sorted(store.folder.iterdir()) == before
    store.append([VocabularyRow(token_id=1, word="a", vector=_VECTOR)])
    assert store.table().to_pylist() == [{"token_id": 1, "word": "a", "vector": [1.0, 1.0, 1.0]}]


def test_a_null_inside_a_list_is_refused(tmp_path):
    """A list of tokens holds tokens only."""
    store = PartStore.create(tmp_path, Made(), TOKENS, key=DESCRIPTION_KEY)
    row = TokenRow(
        video_id="a",
        action_class="Dive",
        kind="key",
        description_sha256="00",
        tokens=("a", "b"),
        token_ids=(1, 2),
        known=(True, True),
        is_action_word=(False, False),
    )
    object.__setattr__(row, "tokens", ("a", None))
    with pytest.raises(CacheError, match="column tokens: a list in it holds a null"):
        store.append([row])


def test_rows_must_make_sense():
    """An ok row without text, and a failed one without a reason, are refused when they are made."""
    with pytest.raises(CacheError, match="ok row"):
        dataclasses.replace(described("a"), description=None)
    with pytest.raises(CacheError, match="failed row"):
        dataclasses.replace(failed("a"), error=None)
    row = described("a")
    object.__setattr__(row, "kind", "short")
    with pytest.raises(CacheError, match="no known pair"):
        row.__post_init__()
    with pytest.raises(CacheError, match="differ in length"):
        TokenRow(
            video_id="a",
            action_class="Dive",
            kind="key",
            description_sha256="00",
            tokens=("a",),
            token_ids=(),
            known=(True,),
            is_action_word=(True,),
        )


def test_unfinished_files_are_not_read_and_go_with_their_writer(store):
    """A dot-file is no part; a dead writer's is deleted at the next start, a living one's is not."""
    store.append([described("a")])
    (store.folder / ".unfinished-dead-part-0.parquet").write_bytes(b"half")
    with atomic_path(store.folder / "part-9.txt") as living:
        living.write_text("half")
        again = PartStore.create(store.home.parent, Made(), DESCRIPTIONS, key=DESCRIPTION_KEY)
        assert again.done() == {("a", "Dive", "key")}
        assert not (store.folder / ".unfinished-dead-part-0.parquet").exists()
        assert living.exists()
    assert (store.folder / "part-9.txt").read_text() == "half"


def test_an_atomic_file_is_whole_or_not_there(tmp_path):
    """An error in between leaves the old file, and nothing else."""
    path = tmp_path / "a.json"
    path.write_text("old")

    def write() -> None:
        with atomic_path(path) as unfinished:
            unfinished.write_text("new")
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        write()
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("a.json", "old")]
    assert remove_unfinished(tmp_path) == []


def test_a_full_disk_names_the_file_that_was_to_be_written(tmp_path):
    """The system names none when a write fails, nor does Arrow, which says it in words of its own."""
    full = OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28]")
    told = r"No space left on device: .*a\.parquet'"
    with pytest.raises(OSError, match=told) as error, atomic_path(tmp_path / "a.parquet"):
        raise full
    assert (error.value.errno, error.value.strerror) == (errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError, match="source"), atomic_path(tmp_path / "a.parquet"):
        (tmp_path / "source").read_text()  # an error that names a file keeps its name
    assert list(tmp_path.iterdir()) == []


def test_an_atomic_file_is_synced_before_it_is_renamed(tmp_path, monkeypatch):
    """Otherwise a power cut could leave a whole name on half a file."""
    order = []
    monkeypatch.setattr(cache.files.atomic, "sync", lambda path: order.append(path.name.startswith(".")))
    replace = os.replace
    monkeypatch.setattr(cache.files.atomic.os, "replace", lambda *paths: (order.append("rename"), replace(*paths)))
    with atomic_path(tmp_path / "a") as unfinished:
        unfinished.write_text("x")
    assert order == [True, "rename", False]


@pytest.mark.parametrize("damage", [b"", b"PAR1 no parquet", None])
def test_an_unreadable_part_is_named(store, damage):
    """Empty, garbled or truncated: the message names the file and what mends it."""
    part = store.append([described("a")])
    part.write_bytes(part.read_bytes()[:-20] if damage is None else damage)
    for read in (store.table, store.done):
        with pytest.raises(CacheError, match=f"{part.name}.*move it away"):
            read()
    with pytest.raises(CacheError, match=part.name):
        PartStore.open(store.home, DESCRIPTIONS, key=DESCRIPTION_KEY)


def test_another_recipe_is_refused(store):
    """A folder whose recipe.json was changed names the field, what was found and expected."""
    (store.home / "recipe.json").write_text('{"version": 2}')
    with pytest.raises(CacheError, match="version: found 2, expected 1"):
        PartStore.create(store.home.parent, Made(), DESCRIPTIONS, key=DESCRIPTION_KEY)


def test_parts_of_another_version_recipe_or_table_are_refused(store, monkeypatch):
    """Each is named, with what was found and expected."""
    part = store.append([described("a")])
    monkeypatch.setattr(cache.tables.store, "SCHEMA_VERSION", 99)
    with pytest.raises(CacheError, match="schema_version: found 2, expected 99"):
        PartStore.create(store.home.parent, Made(), DESCRIPTIONS, key=DESCRIPTION_KEY)
    monkeypatch.undo()
    with pytest.raises(CacheError, match="columns are not those of this table"):
        PartStore.open(store.home, TOKENS, key=DESCRIPTION_KEY)
    other = PartStore.create(store.home.parent, Made(version=2), DESCRIPTIONS, key=DESCRIPTION_KEY)
    part.rename(other.folder / part.name)
    with pytest.raises(CacheError, match="fingerprint: found"):
        PartStore.open(other.home, DESCRIPTIONS, key=DESCRIPTION_KEY)


def test_opening_nothing_names_the_command(tmp_path):
    """The reader is told what makes the table."""
    with pytest.raises(CacheError, match="make priors"):
        PartStore.open(tmp_path / "nowhere", DESCRIPTIONS, key=DESCRIPTION_KEY)


def test_a_second_run_is_told_who_holds_the_store(store):
    """Host, pid and start; and the lock is free again afterwards."""
    again = PartStore.create(store.home.parent, Made(), DESCRIPTIONS, key=DESCRIPTION_KEY)
    with store.lock(), pytest.raises(CacheError, match=rf"host .+, pid {os.getpid()}, started 20"), again.lock():
        pass
    with again.lock():
        pass


def _python(code: str, *arguments: str) -> subprocess.Popen:
    root = str(ROOT)
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    path = os.pathsep.join([root, str(Path(root) / "tests")])
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)


_OPEN = """
    import sys, time
    from pathlib import Path
    from tests.support.data.rows import Made, described
    from cache.tables.schema import DESCRIPTIONS, DESCRIPTION_KEY
    from cache.tables.store import PartStore
    store = PartStore.create(Path(sys.argv[1]), Made(), DESCRIPTIONS, key=DESCRIPTION_KEY)
"""


def test_a_killed_run_leaves_no_lock(store):
    """The lock is the process's, so SIGKILL frees it."""
    code = _OPEN + "    with store.lock():\n        print('held', flush=True)\n        time.sleep(60)\n"
    with _python(code, str(store.home.parent)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(CacheError, match=f"pid {child.pid}"), store.lock():
            pass
        child.send_signal(signal.SIGKILL)
        child.wait()
        with store.lock():
            pass


def test_several_writers_share_a_folder(store):
    """Parts of two processes that append at once are all there."""
    code = _OPEN + "    for n in range(15):\n        store.append([described(f'{sys.argv[2]}{n}')])\n"
    children = [_python(code, str(store.home.parent), name) for name in "xy"]
    for child in children:
        with child:
            assert child.wait() == 0
    assert store.done() == {(f"{name}{n}", "Dive", "key") for name in "xy" for n in range(15)}


def test_the_only_fingerprint_is_chosen_and_several_are_not(tmp_path):
    """None: the command that makes one. Several: each with its rows and maker, and the option that chooses."""
    with pytest.raises(CacheError, match="run `make priors`"):
        only_fingerprint(tmp_path, made_by="make priors")
    first = PartStore.create(tmp_path, Made(), DESCRIPTIONS, key=DESCRIPTION_KEY)
    assert only_fingerprint(tmp_path, made_by="make priors") == first.home
    second = PartStore.create(tmp_path, Made(version=2), DESCRIPTIONS, key=DESCRIPTION_KEY)
    with pytest.raises(CacheError) as error:
        only_fingerprint(tmp_path, made_by="make priors", chosen_by="--descriptions")
    told = str(error.value)
    assert all(part in told for part in (first.home.name, second.home.name, " 0 rows ", "--descriptions"))


def _random_parts(store: PartStore, parts: int) -> dict[str, str | None]:
    """Append overlapping parts of ok and failed rows; returns what the last row of each key says."""
    rng = random.Random(3)
    truth = {}
    for part in range(parts):
        keys = rng.sample([f"v{number:02}" for number in range(40)], 12)
        rows = [described(key, text=f"part {part}") if rng.random() < 0.7 else failed(key) for key in keys]
        store.append(rows)
        truth.update({row.video_id: row.description for row in rows})
    return truth


def test_rows_are_streamed_as_the_table_has_them(store):
    """The same winning rows, one by one."""
    truth = _random_parts(store, 15)
    streamed = list(store.rows(["video_id", "description"]))
    assert {row["video_id"]: row["description"] for row in streamed} == truth
    assert len(streamed) == len(truth)


@pytest.mark.parametrize("most", [1000, 30, 5])
def test_merged_parts_say_the_same(store, monkeypatch, most):
    """In few parts or in several, with later rows on top, and with a kill after the merged part was written."""
    monkeypatch.setattr(cache.tables.store, "_MERGED_ROWS", most)
    truth = _random_parts(store, 15)
    before = store.table()
    fewer = store.compact()
    assert len(list(store.folder.glob("part-*.parquet"))) == 15 - fewer
    assert (fewer > 0) == (most > 24)
    assert store.table() == before
    store.append([described("v00", text="later")])
    assert {r["video_id"]: r["description"] for r in store.rows()} == {**truth, "v00": "later"}


def test_a_kill_while_merging_changes_no_table(store, monkeypatch):
    """The merged part is there, and so are those that it is made of."""
    _random_parts(store, 6)
    before = store.table()
    monkeypatch.setattr(Path, "unlink", _killed)
    with pytest.raises(KeyboardInterrupt):
        store.compact()
    monkeypatch.undo()
    assert len(list(store.folder.glob("part-*.parquet"))) == 7
    assert store.table() == before


def _killed(path: Path, missing_ok: bool = False) -> None:
    if path.name.startswith("part-"):
        raise KeyboardInterrupt
    os.unlink(path) if path.exists() else None


def test_shards_write_side_by_side(store):
    """Not with a whole run, not twice the same one, and not with shards that divide the videos otherwise."""
    first, second, other = (PartStore(store.home, DESCRIPTIONS, key=DESCRIPTION_KEY) for _ in range(3))
    with first.lock(shard=Shard(0, 2)), second.lock(shard=Shard(1, 2)):
        for shard in (None, Shard(0, 2), Shard(0, 3)):
            with (
                pytest.raises(CacheError, match=rf"written by host .+pid {os.getpid()}.+shard"),
                other.lock(shard=shard),
            ):
                pass
    with other.lock(), pytest.raises(CacheError, match=f"pid {os.getpid()}"), first.lock(shard=Shard(0, 2)):
        pass
    with other.lock(shard=Shard(0, 3)):
        pass


@pytest.mark.parametrize(("index", "count"), [(2, 2), (-1, 2), (0, 0)])
def test_a_shard_is_one_of_its_count(index, count):
    """Counted from 0."""
    with pytest.raises(CacheError, match="shard_index"):
        Shard(index, count)
