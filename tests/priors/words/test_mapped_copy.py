"""Big tables are converted once, by one process at a time, and mapped from then on."""

import errno
import logging
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

import priors.words.mapped_copy
from cache.errors import CacheError
from priors.words.mapped_copy import mapped_copy
from priors.words.word_files import WordFile, WordReader
from tests.priors.words.test_word_files import FLOATS, WORDS, glove_text


@pytest.fixture
def source(tmp_path) -> Path:
    """A table as GloVe's text."""
    (tmp_path / "v.txt").write_bytes(glove_text(WORDS))
    return tmp_path / "v.txt"


def _no_reading(monkeypatch) -> None:
    monkeypatch.setattr(WordReader, "blocks", lambda self: pytest.fail("the source was read again"))


def test_the_source_is_read_once_and_mapped_from_then_on(source, monkeypatch):
    """Same words, vectors and sha256; nothing in the copy is a pickle; no other file is left."""
    shares = []
    monkeypatch.setattr(priors.words.mapped_copy, "_TELL_SECONDS", 0)
    first = mapped_copy(WordFile.find(source), on_share=shares.append)
    assert shares[-1] == 1
    home = source.with_name("v.txt.mapped")
    assert sorted(path.name for path in home.iterdir()) == [".lock", "source.json", "vectors.npy", "words.json"]
    assert np.array_equal(np.load(home / "vectors.npy", allow_pickle=False), FLOATS)
    _no_reading(monkeypatch)
    again = mapped_copy(WordFile.find(source))
    assert isinstance(again.vectors, np.memmap)
    assert (again.words, again.sha256) == (list(WORDS), first.sha256)
    assert np.array_equal(again.vectors, FLOATS)


def test_many_blocks_give_one_array(source, monkeypatch):
    """More rows than a block holds, so that the header is written for a number of rows that was not known."""
    monkeypatch.setattr("priors.words.word_files._BLOCK", 2)
    words = {f"w{i}": [float(i), 1.0] for i in range(1001)}
    source.write_bytes(glove_text(words))
    table = mapped_copy(WordFile.find(source))
    assert np.array_equal(table.vectors, np.array(list(words.values()), np.float32))


def test_a_changed_source_is_converted_again(source):
    """Known by size and time of the source."""
    first = mapped_copy(WordFile.find(source))
    source.write_bytes(glove_text({"new": [9, 9, 9]}))
    changed = mapped_copy(WordFile.find(source))
    assert changed.words == ["new"]
    assert changed.sha256 != first.sha256
    assert np.array_equal(first.vectors, FLOATS)  # who has the old one open keeps it


@pytest.mark.parametrize("lost", ["source.json", "words.json", "vectors.npy"])
@pytest.mark.parametrize("damage", [None, b"half"])
def test_a_copy_that_is_not_whole_is_made_again(source, lost, damage):
    """Whichever of its files is missing or cut short."""
    mapped_copy(WordFile.find(source))
    path = source.with_name("v.txt.mapped") / lost
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    assert np.array_equal(mapped_copy(WordFile.find(source)).vectors, FLOATS)


def test_what_a_killed_process_left_is_cleared_away(source, monkeypatch):
    """A conversion that stops leaves no note, and the next one starts anew."""
    blocks = WordReader.blocks

    def stops(self):
        yield next(blocks(self))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WordReader, "blocks", stops)
        with pytest.raises(KeyboardInterrupt):
            mapped_copy(WordFile.find(source))
    home = source.with_name("v.txt.mapped")
    (home / ".unfinished-killed-vectors.npy").write_bytes(b"half")
    assert np.array_equal(mapped_copy(WordFile.find(source)).vectors, FLOATS)
    assert not list(home.glob(".unfinished*"))


def _convert(source: Path, folder: Path, reads) -> None:
    blocks = WordReader.blocks

    def counted(self):
        with reads.get_lock():
            reads.value += 1
        yield from blocks(self)

    WordReader.blocks = counted
    table = mapped_copy(WordFile.find(source), folder)
    assert np.array_equal(table.vectors, FLOATS)


def test_of_two_processes_one_converts_and_the_other_waits(source, tmp_path):
    """Both get the whole table; the source is read once."""
    context = multiprocessing.get_context("fork")
    reads = context.Value("i", 0)
    both = [context.Process(target=_convert, args=(source, tmp_path / "there", reads)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert reads.value == 1


def test_the_copy_goes_elsewhere_if_its_folder_cannot_be_written(source, tmp_path, monkeypatch, caplog):
    """Said in the log; a copy that is there already is used all the same."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(priors.words.mapped_copy, "_writable", lambda home: False)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(mapped_copy(WordFile.find(source)).vectors, FLOATS)
    assert "cannot be written" in caplog.text
    assert not source.with_name("v.txt.mapped").exists()
    assert (tmp_path / "cache" / "data" / "word_vectors" / "v.txt.mapped" / "vectors.npy").is_file()
    _no_reading(monkeypatch)
    assert mapped_copy(WordFile.find(source)).words == list(WORDS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_noticed(source, tmp_path, monkeypatch):
    """As a shared disk is mounted for its users."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    moved = source.rename(tmp_path / "there" / "v.txt")
    moved.parent.chmod(0o555)
    assert np.array_equal(mapped_copy(WordFile.find(moved)).vectors, FLOATS)
    moved.parent.chmod(0o755)


def test_a_full_disk_is_said_and_leaves_nothing_half(source, tmp_path, monkeypatch):
    """With the option that names another folder."""

    def full(file, **_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(priors.words.mapped_copy, "_write_header", full)
        with pytest.raises(CacheError, match=r"No space left.*--glove\.converted"):
            mapped_copy(WordFile.find(source))
    assert [path.name for path in source.with_name("v.txt.mapped").iterdir()] == [".lock"]
    assert mapped_copy(WordFile.find(source)).words == list(WORDS)


def test_a_conversion_that_stops_half_way_leaves_no_note_of_the_one_before(source, monkeypatch):
    """Else the old source, put back with its time, would go with vectors of the new one."""
    old = source.stat()
    mapped_copy(WordFile.find(source))
    source.write_bytes(glove_text({word: [9.0, 9.0, 9.0] for word in WORDS}))

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(priors.words.mapped_copy.json, "dumps", killed)  # the vectors are written by then
        with pytest.raises(KeyboardInterrupt):
            mapped_copy(WordFile.find(source))
    source.write_bytes(glove_text(WORDS))
    os.utime(source, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert np.array_equal(mapped_copy(WordFile.find(source)).vectors, FLOATS)
