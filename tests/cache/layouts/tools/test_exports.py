"""Exports of VIA, ELAN and Label Studio, written after the formats' documentation: labels, segments, seconds."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from cache.annotations import Dataset
from cache.errors import CacheError
from cache.layouts.recognise import recognise
from pipelines.caches.import_dataset import ImportDatasetRun, main
from tests.support.videos.videos import write_video

SEGMENTS = {"a": [("Dive", 0.5, 1.5), ("Swim", 1.0, 2.0)], "b": [("Swim", 0.2, 1.2)]}
"""What every export below holds; a lies in a folder `testing`."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two videos of two seconds."""
    folder = tmp_path / "clips"
    (folder / "testing").mkdir(parents=True)
    write_video(folder / "testing" / "a.mp4", 50)
    write_video(folder / "b.mp4", 50)
    return folder


def imported(home: Path, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The segments of each video, and the data issues; the import ends well."""
    out = home.parent / "out"
    assert main(ImportDatasetRun(dataset=out, source=home, **options)) == 0
    videos = {video.video_id: video for video in Dataset.load(out / "annotations.json").videos}
    report = json.loads((out / "import_report.json").read_text())
    return videos, {quirk["name"]: quirk["count"] for quirk in report["quirks"]} | {"layout": report["layout"]}


def check(home: Path, layout: str, **options: Any) -> dict[str, Any]:
    """Segments, labels, subsets and durations are those of `SEGMENTS`; returns the data issues."""
    videos, quirks = imported(home, **options)
    assert quirks.pop("layout") == layout
    for name, segments in SEGMENTS.items():
        found = [(one.label, one.start, one.end) for one in videos[name].segments]
        assert sorted(found) == [(label, pytest.approx(start), pytest.approx(end)) for label, start, end in segments]
        assert videos[name].labels == tuple(sorted({label for label, _, _ in segments}))
        assert videos[name].duration == pytest.approx(2.0, abs=0.1)
        assert videos[name].path == home / ("testing/a.mp4" if name == "a" else "b.mp4")
    assert (videos["a"].subset, videos["b"].subset) == ("testing", "training")
    return quirks


def via(**metadata: Any) -> dict[str, Any]:
    """A project of VIA 3 with an attribute of options."""
    entries = {
        "1_x": {"vid": "1", "flg": 0, "z": [0.5, 1.5], "xy": [], "av": {"1": "d"}},
        "1_y": {"vid": "1", "flg": 0, "z": [1.0, 2.0], "xy": [], "av": {"1": "Swim"}},
        "2_x": {"vid": "2", "flg": 0, "z": [0.2, 1.2], "xy": [], "av": {"1": "Swim"}},
    }
    attribute = {"aname": "ACTION", "anchor_id": "FILE1_Z2_XY0", "type": 4, "desc": "", "options": {"d": "Dive"}}
    return {
        "project": {"pid": "__VIA_PROJECT_ID__", "data_format_version": "3.1.1", "vid_list": ["1", "2"]},
        "config": {},
        "attribute": {"1": {**attribute, "default_option_id": ""}},
        "file": {
            "1": {"fid": 1, "fname": "a.mp4", "type": 4, "loc": 1, "src": ""},
            "2": {"fid": 2, "fname": "https://host/some%20where/b.mp4?key=1", "type": 4, "loc": 2, "src": ""},
        },
        "metadata": {**entries, **metadata},
        "view": {"1": {"fid_list": [1]}, "2": {"fid_list": [2]}},
    }


def via_csv(project: dict[str, Any]) -> str:
    """The CSV that VIA exports of it."""
    text = io.StringIO()
    text.write("# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)\n# Notes:\n")
    text.write('# - metadata of {""1"":""3""} indicates attribute with id "1" set to an attribute option with id "3"\n')
    text.write(f"# ATTRIBUTE = {json.dumps(project['attribute'])}\n")
    text.write("# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata\n")
    rows = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for key, one in project["metadata"].items():
        names = [project["file"][str(fid)]["fname"] for fid in project["view"][one["vid"]]["fid_list"]]
        rows.writerow([key, json.dumps(names), 0, *(json.dumps(one[part]) for part in ("z", "xy", "av"))])
    return text.getvalue()


EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT FORMAT="3.0" VERSION="3.0">
<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/data/{video}" MIME_TYPE="video/mp4" RELATIVE_MEDIA_URL="./{video}"/></HEADER>
<TIME_ORDER>{slots}</TIME_ORDER>
<TIER LINGUISTIC_TYPE_REF="default" TIER_ID="action">{annotations}</TIER>{more}
</ANNOTATION_DOCUMENT>
"""


def eaf(name: str, *, more: str = "") -> str:
    """An .eaf of one video."""
    slots, annotations = "", ""
    for n, (label, *times) in enumerate(SEGMENTS[name]):
        slots += "".join(
            f'<TIME_SLOT TIME_SLOT_ID="t{n}{k}" TIME_VALUE="{1000 * t:.0f}"/>' for k, t in enumerate(times)
        )
        annotations += (
            f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{n}" TIME_SLOT_REF1="t{n}0" TIME_SLOT_REF2="t{n}1">'
            f"<ANNOTATION_VALUE>{label}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
        )
    return EAF.format(video=f"{name}.mp4", slots=slots, annotations=annotations, more=more)


def write_eafs(home: Path, **options: Any) -> None:
    """One for each video."""
    for name in SEGMENTS:
        (home / f"{name}.eaf").write_text(eaf(name, **options), encoding="utf-8")


def label_studio(kind: str) -> list[dict[str, Any]]:
    """Tasks with a timeline in frames of 50 a second, or with stretches in seconds."""
    names = {"a": "/data/upload/3/0123abcd-a.mp4", "b": "/data/local-files/?d=clips%2Fb.mp4"}

    def value(label: str, start: float, end: float) -> dict[str, Any]:
        if kind == "labels":
            return {"start": start, "end": end, "labels": [label], "channel": 0}
        return {"ranges": [{"start": round(start * 50) + 1, "end": round(end * 50)}], "timelinelabels": [label]}

    return [
        {
            "id": n,
            "data": {"title": "clip", "video": names[name]},
            "annotations": [
                {"id": 7, "was_cancelled": True, "result": [{"from_name": "tricks", "type": kind, "value": {}}]},
                {"id": 8, "result": [{"from_name": "tricks", "type": kind, "value": value(*one)} for one in segments]},
            ],
        }
        for n, (name, segments) in enumerate(SEGMENTS.items(), start=1)
    ]


def minimal(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """JSON-MIN of tasks."""
    return [
        {
            "id": one["id"],
            **one["data"],
            "tricks": [item["value"] for item in one["annotations"][1]["result"]],
            "annotator": 1,
            "annotation_id": 8,
            "lead_time": 3.2,
        }
        for one in tasks
    ]


def as_csv(rows: list[dict[str, Any]]) -> str:
    """The CSV that Label Studio exports of the same."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows({key: json.dumps(v) if isinstance(v, list) else v for key, v in row.items()} for row in rows)
    return text.getvalue()


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_via(home: Path, suffix: str) -> None:
    """Options by name or as typed, a file by its name or URL; regions and moments make no segments."""
    project = via(
        r={"vid": "2", "flg": 0, "z": [0.4], "xy": [2, 1, 1, 5, 5], "av": {"1": "d"}},
        p={"vid": "2", "flg": 0, "z": [0.4], "xy": [], "av": {"1": "Swim"}},
        u={"vid": "2", "flg": 0, "z": [0.1, 0.2], "xy": [], "av": {"1": "_DEFAULT"}},
    )
    (home / f"export.{suffix}").write_text(json.dumps(project) if suffix == "json" else via_csv(project))
    quirks = check(home, "via")
    assert (quirks["regions"], quirks["points"]) == (1, 1)


def test_elan(home: Path) -> None:
    """One .eaf a video; an annotation of a dependent tier has the times of its parent."""
    write_eafs(home)
    assert check(home, "elan").get("timeless") is None
    more = (
        '<TIER LINGUISTIC_TYPE_REF="sub" PARENT_REF="action" TIER_ID="detail"><ANNOTATION><REF_ANNOTATION '
        'ANNOTATION_ID="r1" ANNOTATION_REF="a0"><ANNOTATION_VALUE>Twist</ANNOTATION_VALUE></REF_ANNOTATION>'
        "</ANNOTATION></TIER>"
    )
    write_eafs(home, more=more)
    with pytest.raises(CacheError, match=r"tiers: found 'action', 'detail'; say with --tiers which"):
        imported(home)
    videos, _ = imported(home, tiers=("detail",))
    assert [(one.label, one.start, one.end) for one in videos["a"].segments] == [("Twist", 0.5, 1.5)]
    with pytest.raises(CacheError, match=r"found no 'actions', expected some of 'action', 'detail'"):
        imported(home, tiers=("actions",))


@pytest.mark.parametrize("unit", ["hh:mm:ss.ms", "ss.msec", "msec"])
def test_elan_text(home: Path, unit: str) -> None:
    """Units are those of the columns' names; several of a time are one."""

    def cell(seconds: float) -> str:
        return {"hh:mm:ss.ms": f"00:00:0{seconds:.3f}", "ss.msec": f"{seconds:.3f}", "msec": f"{1000 * seconds:.0f}"}[
            unit
        ]

    lines = [f"Tier\tParticipant\tBegin Time - {unit}\tEnd Time - {unit}\tDuration - {unit}\tAnnotation\tFile"]
    lines += [
        f"action\t\t{cell(start)}\t{cell(end)}\t{cell(end - start)}\t{label}\t{name}.mp4"
        for name, segments in SEGMENTS.items()
        for label, start, end in segments
    ]
    (home / "export.txt").write_text("\n".join(lines))
    check(home, "elan")


def test_elan_text_without_names_or_with_a_column_for_each_tier(home: Path) -> None:
    """ELAN's own order; the video is that of the header line."""
    path = home / "export.txt"
    head = '"#file:///C:/data/b.mp4 -- offset: 0"\n\n'
    for text, options in (
        ("action\t\t00:00:00.200\t00:00:01.200\t00:00:01.000\tSwim\n", {"layout": "elan", "annotations": path}),
        ("action\t\t200\t1200\t1000\tSwim\n", {"layout": "elan", "annotations": path}),
        ("Begin Time - msec\tEnd Time - msec\taction\n200\t1200\tSwim\n", {}),
    ):
        path.write_text(head + text)
        videos, _ = imported(home, **options)
        assert [(one.label, one.start, one.end) for one in videos["b"].segments] == [("Swim", 0.2, 1.2)]
    path.write_text("Begin Time - hh:mm:ss:ff\tEnd Time - hh:mm:ss:ff\taction\n00:00:00:05\t00:00:01:05\tSwim\n")
    with pytest.raises(CacheError, match=r"line 2: Begin Time - hh:mm:ss:ff: found frames"):
        imported(home)


@pytest.mark.parametrize("form", ["json", "min", "csv"])
@pytest.mark.parametrize("kind", ["labels", "timelinelabels"])
def test_label_studio(home: Path, form: str, kind: str) -> None:
    """Seconds as they are; frames by the rate that is given. Uploads and local files have their own names."""
    tasks = label_studio(kind)
    text = {"json": json.dumps(tasks), "min": json.dumps(minimal(tasks)), "csv": as_csv(minimal(tasks))}[form]
    (home / f"export.{'csv' if form == 'csv' else 'json'}").write_text(text)
    check(home, "label-studio", annotation_fps=50)


def test_label_studio_needs_the_frame_rate(home: Path) -> None:
    """It is in no export, so none is assumed."""
    (home / "export.json").write_text(json.dumps(label_studio("timelinelabels")))
    with pytest.raises(CacheError, match=r"ranges: found frames .*expected the rate .*--annotation-fps"):
        imported(home)


def test_choices_label_whole_videos(home: Path, capsys: pytest.CaptureFixture) -> None:
    """Flat ones, also as the text of JSON-MIN; a choice within a choice has no single name."""
    path = home / "export.json"
    path.write_text(
        json.dumps([{"id": 1, "video": "b.mp4", "kind": {"choices": ["Swim", "Dive"]}, "annotation_id": 1}])
    )
    videos, _ = imported(home)
    assert (videos["b"].labels, videos["b"].segments) == (("Dive", "Swim"), ())
    path.write_text(json.dumps([{"id": 1, "video": "b.mp4", "kind": "Swim", "annotation_id": 1}]))
    assert imported(home, tiers=("kind",))[0]["b"].labels == ("Swim",)
    with pytest.raises(CacheError, match="controls: found none that hold labels"):
        imported(home)
    nested = {"id": 1, "video": "b.mp4", "kind": {"taxonomy": [["Sport", "Swim"]]}, "annotation_id": 1}
    path.write_text(json.dumps([nested]))
    assert main(ImportDatasetRun(dataset=home.parent / "out", source=home)) == 2
    assert "a choice within a choice" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_a_second_annotator_is_counted(home: Path) -> None:
    """The first one's annotations are used."""
    tasks = label_studio("labels")
    other = {"from_name": "tricks", "type": "labels", "value": {"start": 0, "end": 1, "labels": ["Other"]}}
    tasks[0]["annotations"].append({"id": 9, "result": [other]})
    (home / "export.json").write_text(json.dumps(tasks))
    assert check(home, "label-studio")["annotators"] == 1


@pytest.mark.parametrize(("unit", "told"), [(1000, "milliseconds"), (25, "frames")])
def test_times_in_another_unit(home: Path, unit: float, told: str) -> None:
    """Segments that begin after their videos are over are in another unit."""
    project = via()
    for one in project["metadata"].values():
        one["z"] = [unit * time for time in one["z"]]
    (home / "export.json").write_text(json.dumps(project))
    with pytest.raises(CacheError, match=rf"after the end of 2 of 2 videos, .*expected seconds; they may be {told}"):
        imported(home)


def test_an_unknown_video_is_a_bad_entry(home: Path, capsys: pytest.CaptureFixture) -> None:
    """It is named; the others are imported without it on request."""
    project = via()
    project["file"]["1"]["fname"] = "D:\\clips\\other.mp4"
    (home / "export.json").write_text(json.dumps(project))
    run = ImportDatasetRun(dataset=home.parent / "out", source=home)
    assert main(run) == 2
    assert "other.mp4" in capsys.readouterr().out
    assert main(run.model_copy(update={"skip_invalid": True})) == 1
    assert [video.video_id for video in Dataset.load(home.parent / "out/annotations.json").videos] == ["b"]


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]>'
    "<ANNOTATION_DOCUMENT>&c;</ANNOTATION_DOCUMENT>"
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, r"document type definition \(DTD\)"),
        (BOMB.encode("utf-16"), r"document type definition \(DTD\)"),
        ("<a>", "is no XML"),
        ("<html></html>", "expected ANNOTATION_DOCUMENT"),
        (eaf("b").replace("milliseconds", "PAL-frames"), "TIME_UNITS: found 'PAL-frames', expected milliseconds"),
        (eaf("b").replace('REF1="t00"', 'REF1="gone"'), "found the time slot 'gone', which is not there"),
        (eaf("b").replace('TIME_VALUE="200"', 'TIME_VALUE="0:02"'), "TIME_SLOT t00: found '0:02'"),
    ],
    ids=["entities", "entities in UTF-16", "no end", "no eaf", "frames", "no slot", "no number"],
)
def test_odd_eaf(home: Path, text: str | bytes, told: str) -> None:
    """One message each."""
    (home / "b.eaf").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CacheError, match=told):
        imported(home)


def test_exports_are_no_tables_of_labels(home: Path) -> None:
    """A CSV of a tool is read as the tool's alone, and a table of labels beside it makes a choice."""
    (home / "via.csv").write_text(via_csv(via()))
    assert recognise(home).layout == "via"
    (home / "labels.csv").write_text("video,label\nb.mp4,Swim\n")
    with pytest.raises(CacheError, match=r"could be read in several ways[\s\S]*--layout folder .*[\s\S]*--layout via"):
        recognise(home)
    assert recognise(home, layout="folder").annotations.name == "labels.csv"
