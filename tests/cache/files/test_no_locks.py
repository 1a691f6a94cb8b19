"""File systems without flock: writing leaves nothing behind, and a second writer is refused all the same."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from cache.errors import CacheError
from cache.files import claims
from cache.files.atomic import atomic_path, remove_unfinished
from cache.files.lock import Shard, hold
from cache.files.workers import Dismissed, at_work, dismiss, engage
from tests.support.paths import ROOT

WITHOUT = "import errno, fcntl, os, sys, time\nfrom pathlib import Path\n" + textwrap.dedent("""
    def flock(file, how):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    fcntl.flock = flock
    folder = Path(sys.argv[1])
""")


def fail_with(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system call fail so."""

    def flock(file: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.fixture(autouse=True)
def _no_flock(monkeypatch):
    """As the system call answers on such a file system."""
    fail_with(errno.ENOSYS, monkeypatch)


def another(code: str, folder: Path) -> subprocess.Popen:
    """Another process without locks."""
    command = [sys.executable, "-c", WITHOUT + textwrap.dedent(code), str(folder)]
    root = str(ROOT)
    return subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": root}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


HOLDS = """
    from cache.files.lock import hold
    with hold(folder):
        print("held", flush=True)
        sys.stdin.readline()
"""


def held_by(child: subprocess.Popen) -> None:
    """Wait until it holds the folder."""
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP])
def test_files_are_written_and_nothing_is_left(tmp_path, monkeypatch, number):
    """Neither a dot-file nor a descriptor, whether the writing ends well or not."""
    fail_with(number, monkeypatch)
    before = len(os.listdir("/proc/self/fd"))
    with atomic_path(tmp_path / "a.json") as unfinished:
        unfinished.write_text("x")
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "b.json") as unfinished:
        unfinished.write_text((tmp_path / "source").read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_only_old_unfinished_files_are_removed(tmp_path):
    """A young one may be being written by another process; one of two days has no writer any more."""
    old = tmp_path / ".unfinished-0-old.json"
    old.write_text("half")
    os.utime(old, (0, time.time() - 48 * 3600))
    with atomic_path(tmp_path / "a.json") as unfinished:
        unfinished.write_text("x")
        assert remove_unfinished(tmp_path) == [old]
        assert unfinished.exists()


def test_another_error_of_a_lock_is_raised_and_leaves_nothing(tmp_path, monkeypatch):
    """A failing disk is no file system without locks."""
    fail_with(errno.EIO, monkeypatch)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Input/output"), atomic_path(tmp_path / "a.json"):
        pass
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_second_run_is_refused_and_told_who_holds_the_folder(tmp_path):
    """As with locks; and the folder is free, and without claims, when the first one has ended."""
    with another(HOLDS, tmp_path) as child:
        held_by(child)
        for shard in (None, Shard(0, 2)):
            with pytest.raises(CacheError, match=f"is being written by host .+, pid {child.pid}"):
                hold(tmp_path, shard=shard).__enter__()
        child.communicate("\n")
    with hold(tmp_path):
        assert len(claims.claims(tmp_path)) == 1
    assert list(tmp_path.glob(".claim-*")) == []


def test_of_two_that_begin_together_one_goes_on(tmp_path):
    """Whenever they look at each other's claims."""
    code = """
        from cache.files.lock import hold
        from cache.errors import CacheError
        import cache.files.workers, cache.files.claims
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            with hold(folder):
                print("held", flush=True)
                time.sleep(3)
        except CacheError:
            print("refused", flush=True)
    """
    children = [another(code, tmp_path) for _ in range(2)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    assert sorted(child.stdout.readline() for child in children if child.stdout) == ["held\n", "refused\n"]
    for child in children:
        child.communicate()


def test_what_a_killed_run_leaves_is_taken_over_and_told(tmp_path, caplog):
    """On the same machine at once: its process is no more there."""
    with another(HOLDS, tmp_path) as child:
        held_by(child)
        child.send_signal(signal.SIGKILL)
        child.wait()
    with hold(tmp_path):
        assert f"pid {child.pid}" in caplog.text
        assert "gone: removed" in caplog.text
    assert list(tmp_path.glob(".claim-*")) == []


@pytest.mark.parametrize(("silent", "refused"), [(claims.SILENT / 2, True), (claims.SILENT * 2, False)])
def test_a_claim_of_another_machine_lasts_as_long_as_it_is_renewed(tmp_path, monkeypatch, silent, refused):
    """Its processes cannot be looked for from here."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(claims, "_machine", lambda: "elsewhere")
        other = hold(tmp_path)
        other.__enter__()
    (path,) = tmp_path.glob(".claim-*")
    os.utime(path, (0, time.time() - silent))
    if refused:
        with pytest.raises(CacheError, match="is being written by"):
            hold(tmp_path).__enter__()
    else:
        with hold(tmp_path):
            assert not path.exists()
    other.__exit__(None, None, None)


def test_a_claim_is_renewed(tmp_path, monkeypatch):
    """While the process lives, so that other machines see that it does."""
    monkeypatch.setattr(claims, "_RENEWED", 0.05)
    with hold(tmp_path):
        (path,) = tmp_path.glob(".claim-*")
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert time.time() - path.stat().st_mtime < 60


def test_shards_of_one_count_work_side_by_side(tmp_path):
    """Not with a whole run, not twice the same one, and not with shards that divide the videos otherwise."""
    with hold(tmp_path, shard=Shard(0, 2)), hold(tmp_path, shard=Shard(1, 2)):
        for shard in (None, Shard(0, 2), Shard(0, 3)):
            with pytest.raises(CacheError, match=r"written by host .+shard"):
                hold(tmp_path, shard=shard).__enter__()
    with hold(tmp_path, shard=Shard(0, 3)):
        pass


def test_a_run_waits_for_its_turn_where_it_is_told_to(tmp_path):
    """Instead of being refused."""
    with another(HOLDS, tmp_path) as child:
        held_by(child)
        waiting = another(
            "from cache.files.lock import hold\nwith hold(folder, wait=True):\n    print('held', flush=True)", tmp_path
        )
        time.sleep(1.5)
        assert waiting.poll() is None
        child.communicate("\n")
        held_by(waiting)
        waiting.communicate()


def test_workers_that_outlive_their_run_are_waited_for(tmp_path):
    """A worker at work holds the folder; one that begins after its run has ended is sent away."""
    signature = engage(tmp_path)
    with at_work(tmp_path, signature), pytest.raises(CacheError, match="still writing, after 0 s"):
        dismiss(tmp_path, seconds=0)
    dismiss(tmp_path, seconds=0)
    with pytest.raises(Dismissed), at_work(tmp_path, signature):
        pass
