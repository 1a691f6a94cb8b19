"""Messages count in English: one video has, two videos have."""

import pytest

from cache.annotations import Dataset, VideoEntry
from cache.descriptions.audit import audit
from cache.errors import CacheError
from cache.features import FeatureGrid, FeatureStore
from cache.layouts.found import Quirk
from cache.layouts.report import ImportReport, SubsetCount
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS
from cache.tables.store import PartStore
from cache.wording import amount
from pipelines.caches.import_dataset import print_report
from tests.support.data.rows import Made, described, failed


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (amount(1, "video"), "1 video"),
        (amount(0, "video"), "0 videos"),
        (amount(2, "class", "classes"), "2 classes"),
        (amount(1, "video has", "videos have"), "1 video has"),
    ],
)
def test_numbers_and_their_nouns(told, expected):
    """Singular for one alone."""
    assert told == expected


@pytest.mark.parametrize(("missing", "message"), [("a", "1 video has no usable"), ("ab", "2 videos have no usable")])
def test_videos_without_features(tmp_path, missing, message):
    """The verb agrees, too."""
    grid = FeatureGrid(streams={"rgb": 2}, fps=25, snippet_frames=16, snippet_stride=16)
    with pytest.raises(CacheError, match=f"^{message} features"):
        FeatureStore.create(tmp_path, grid).preflight(missing)


def test_notes_of_an_audit(tmp_path):
    """One description of each kind of trouble."""
    videos = tuple(VideoEntry(name, "training", None, ("Dive",), (), None) for name in "ab")
    store = PartStore.create(tmp_path, Made(), DESCRIPTIONS, key=DESCRIPTION_KEY)
    store.append([described("a", "Dive", "complete"), described("a", "Dive"), failed("b", "Dive"), failed("gone")])
    told = audit(Dataset("d", ("Dive",), videos), "training", store, None).warnings
    assert [note.partition(";")[0].partition(", first")[0] for note in told] == [
        "1 description of 'training' is missing",
        "1 description of 'training' failed",
        "1 row is of 1 video that the annotations do not have",
    ]


def report_of(*quirks: Quirk) -> ImportReport:
    """Of an import of one class and one video."""
    subsets = {"training": SubsetCount(videos=1, labelled=1, instances=1, snippets=0)}
    made = {"source": "x", "layout": "um", "options": {}, "annotations_sha256": "0"}
    return ImportReport.model_validate({**made, "classes": 1, "subsets": subsets, "quirks": quirks})


def test_an_import_without_oddities_has_no_table_of_them(capsys):
    """And one with some counts them in their units."""
    print_report(report_of())
    shown = capsys.readouterr().out
    assert "um: 1 class\n" in shown
    assert "Data issues" not in shown
    units = {"videos": "1 video", "classes": "1 class", "stretches": "1 stretch", "instances": "1 instance"}
    for unit, expected in units.items():
        print_report(report_of(Quirk(name="x", what="odd", done="kept", count=1, unit=unit)))
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert ["odd:", "kept", *expected.split()] in lines
    print_report(report_of(Quirk(name="x", what="odd", done="kept", count=1200)))
    assert "1,200 videos" in capsys.readouterr().out
