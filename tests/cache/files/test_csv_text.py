"""Tables as spreadsheets write them."""

from pathlib import Path

import pytest

from cache.files.csv_text import csv_rows


@pytest.mark.parametrize("separator", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_a_first_line_may_say_the_separator(tmp_path: Path, separator: str, end: str):
    """As Excel reads and writes it; a tab is no white space that may be cut off there."""
    name = "a, b; c" if separator == "\t" else "a b"
    lines = [f"sep={separator}", f"video{separator}label", f"{name}{separator}Dive", ""]
    path = tmp_path / "labels.csv"
    path.write_text(end.join(lines), newline="")
    with path.open(newline="") as file:
        assert list(csv_rows(file)) == [(2, ["video", "label"]), (3, [name, "Dive"])]
