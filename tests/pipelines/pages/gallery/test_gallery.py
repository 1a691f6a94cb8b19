"""The gallery: what is on the page, that texts stay texts, and that nothing is fetched."""

import base64
import hashlib
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.annotations import Dataset
from cache.descriptions.spans import action_spans
from cache.tables.folders import embeddings_of
from cache.tables.schema import FLAGS
from cache.tables.store import PartStore
from pipelines.caches.inspect import InspectRun, main
from pipelines.pages.gallery.page import Frame, GalleryContent, Said, VideoCard, gallery
from pipelines.pages.gallery.source import GallerySource, gather, write_gallery
from pipelines.pages.marked_texts import MarkedText
from tests.support.data.caches import HOSTILE, LABEL, small_cache
from tests.support.videos.videos import write_video

VOID = {"meta", "img", "input"}


class Page(HTMLParser):
    """Elements with their attributes, the text in each, and the texts of the page; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        """Open it."""
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        """Close the last one."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Text, under the element that it stands in."""
        self.inside.setdefault(self.open[-1] if self.open else "", []).append(data)
        if not {"script", "style"} & set(self.open):
            self.texts.append(data)

    def all(self, tag: str, style: str = "") -> list[dict[str, str | None]]:
        """Attributes of all elements with a name and a class."""
        return [found for name, found in self.found if name == tag and style in (found.get("class") or "").split(" ")]


def content(text: str) -> GalleryContent:
    """A page in which every text from data is `text`."""
    row = Said(text, "key", "ok", text, MarkedText(text, ((0, 3),)), FLAGS, (text,))
    gone = Said(text, "complete", "failed", text, MarkedText(text), (), (text,))
    video = VideoCard(text, 2.0, (Frame("data:image/jpeg;base64,aa", 1.0),), text, (row, gone))
    return GalleryContent(text, text, text, text, text, {text: 3}, (video,), text)


def test_texts_stay_texts():
    """Whatever descriptions, ids, classes and reasons hold, it is shown as it is."""
    page = Page(gallery(content(HOSTILE)))
    plain = Page(gallery(content("plain")))
    assert [tag for tag, _ in page.found] == [tag for tag, _ in plain.found]
    assert [set(found) for _, found in page.found] == [set(found) for _, found in plain.found]
    assert page.all("article")[0]["data-video"] == HOSTILE
    assert {row["data-class"] for row in page.all("div", "said")} == {HOSTILE}
    assert HOSTILE in [found.get("value") for found in page.all("option")]
    assert "".join(page.texts).count(HOSTILE) == "".join(plain.texts).count("plain")


def test_nothing_is_fetched_and_no_other_script_runs():
    """Pictures are inside; the policy lets through the page's own script by its hash, and nothing else."""
    page = Page(gallery(content("plain")))
    (script,) = page.inside["script"]
    policy = page.all("meta")[1]["content"] or ""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    addresses = [value for _, found in page.found for name, value in found.items() if name in ("src", "href", "action")]
    assert addresses == ["data:image/jpeg;base64,aa"]
    assert not re.search(r"https?:|@import|url\(", gallery(content("plain")))
    assert not [name for _, found in page.found for name in found if name.startswith("on")]


def test_the_script_knows_the_page():
    """What it looks up is there: fields by name, rows by their data."""
    page = Page(gallery(content("plain")))
    (script,) = page.inside["script"]
    fields = {found["name"] for tag, found in page.found if tag in ("input", "select")}
    assert fields == {"text", "class", "kind", "status", "flag"} == set(re.findall(r"wanted\.(\w+)", script))
    assert {found.get("id") for _, found in page.found} >= set(re.findall(r'getElementById\("(\w+)"\)', script))
    for row in page.all("div", "said"):
        assert {"data-class", "data-kind", "data-status", "data-flags"} <= set(row)


@pytest.fixture
def store(tmp_path: Path) -> PartStore:
    """The small cache."""
    return small_cache(tmp_path)


def gathered(data: Path, store: PartStore, limit: int = 100) -> GalleryContent:
    """The content of the training videos."""
    dataset = Dataset.load(data / "annotations.json")
    words = embeddings_of(data / "embeddings", store.home.name)[0].path
    return gather(GallerySource(dataset, dataset.split("training"), store, words, None, limit))


def test_page_of_a_cache(tmp_path, store):
    """Frames with the times that the model saw, texts with marks, flags, reasons; a video without rows is named."""
    found = gathered(tmp_path, store)
    videos = {video.video_id: video for video in found.videos}
    assert list(videos) == ["v", "odd'\"&<b>", "bad"]
    assert [frame.seconds for frame in videos["v"].frames] == [0.48, 1.48]
    assert videos["v"].problem == ""
    key, complete = videos["v"].rows
    assert key.text.pieces[1::2] == ["kicks", "high"]
    assert complete.flags == ("loops", "cut")
    assert videos["odd'\"&<b>"].problem == "the annotations name no file for this video"
    assert videos["bad"].problem == "no frame could be decoded when the video was described"
    assert [row.text.text for row in videos["bad"].rows] == [f"no video {HOSTILE}"] * 2
    assert found.counts == {"videos": 3, "descriptions": 3, "failed": 2, "flagged": 2}
    assert found.left_out == "1 of 4 videos have no description yet; run `make priors`."
    page = Page(gallery(found))
    assert len(page.all("img")) == 2
    assert [text for text in page.inside["mark"] if text] == ["kicks", "high", *["kick"] * 4]
    assert "older" not in "".join(page.texts)


def test_frames_of_another_file_are_not_shown(tmp_path, store):
    """A video that was replaced, or is not there, says so instead."""
    path = tmp_path / "videos/v.mp4"
    whole = path.read_bytes()
    write_video(path, 100)
    assert gathered(tmp_path, store).videos[0].problem == "v.mp4 is not the file that was described"
    path.unlink()
    assert "v.mp4" in gathered(tmp_path, store).videos[0].problem
    path.write_bytes(whole)
    assert gathered(tmp_path, store).videos[0].problem == ""


def test_limit_says_what_is_left_out(tmp_path, store):
    """The first videos with rows; the page says how many are not on it, and how to get at them."""
    found = gathered(tmp_path, store, limit=1)
    assert [video.video_id for video in found.videos] == ["v"]
    assert found.left_out.startswith("The first 1 of 3 videos are shown; choose others with --limit")
    assert found.counts["videos"] == 3
    assert found.left_out in "".join(Page(gallery(found)).texts)


def test_of_one_class_and_of_none(tmp_path, store):
    """Rows of other classes are not on the page; a page without rows says so."""
    dataset = Dataset.load(tmp_path / "annotations.json")
    source = GallerySource(dataset, dataset.split("testing"), store, None, "Swim", 9)
    said = write_gallery(tmp_path / "g.html", source)
    assert "1 of 1 videos have no description yet" in said
    assert "There is nothing to show." in (tmp_path / "g.html").read_text()


def test_from_the_command_line(tmp_path, store, capsys):
    """One file, and what is on it in the last line."""
    main(InspectRun(dataset=tmp_path, html=tmp_path / "g.html", limit=2))
    assert re.search(r"page: .*g\.html \(The first 2 of 3 videos", capsys.readouterr().out)
    page = Page((tmp_path / "g.html").read_text())
    assert [found["data-video"] for found in page.all("article")] == ["v", "odd'\"&<b>"]
    assert {found["data-class"] for found in page.all("div", "said")} == {LABEL}


@given(st.lists(st.tuples(st.sampled_from(["High", "kick", "’s", "the", "ﬁn", "İt", "跳"]), st.booleans()), max_size=8))
def test_marks_stand_at_their_words(words):
    """Marked words come back from the text by their places; neighbours that touch are one."""
    text = " ".join(word for word, _ in words)
    tokens = [unicodedata.normalize("NFKC", word).lower().replace("’", "'") for word, _ in words]
    spans = action_spans(text, tokens, [marked for _, marked in words])
    assert [text[start:end] for start, end in spans] == [word for word, marked in words if marked]


def test_marks_of_words_cut_from_one():
    """The name HighKick was cut in two; a hyphen between two marks stays bare; unknown tokens are passed over."""
    assert action_spans("A HighKick.", ["a", "high", "kick", "."], [False, True, True, False]) == [(2, 10)]
    assert action_spans("high-kick", ["high", "kick"], [True, True]) == [(0, 4), (5, 9)]
    assert action_spans("a kick", ["b", "kick"], [True, True]) == [(2, 6)]
