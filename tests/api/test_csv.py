"""CSV files, as spreadsheets and scripts read them."""

import csv
import io
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.http import FileResponse
from msgspec import UNSET

from cpm.api import csv_files


def content(answer: FileResponse) -> bytes:
    """What is in the file, which is closed then, as a server does it."""
    assert answer.file_to_stream is not None
    with closing(answer.file_to_stream):
        return answer.getvalue()


def test_a_file_says_its_name_and_its_length() -> None:
    answer = csv_files.answer("cpm_x_report.csv", ("A", "B"), [])
    assert content(answer) == b"A,B\r\n"
    assert answer.headers["Content-Length"] == "5"
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    disposition = 'attachment; filename="cpm_x_report.csv"'
    assert answer.headers["Content-Disposition"] == disposition


def test_what_is_written_can_be_read_back() -> None:
    texts = ['with "quotes"', "with, comma", "two\nlines", "two\r\nlines", "äöü 漢字", " blanks "]
    lines = [[text, number] for number, text in enumerate(texts)]
    written = content(csv_files.answer("x.csv", ("A", "B"), lines))
    rows = list(csv.reader(io.StringIO(written.decode(), newline="")))
    assert rows[1:] == [[text, str(number)] for number, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (UNSET, ""),
        (True, "Yes"),
        (False, "No"),
        (-17, "-17"),
        (0.5, "0.5"),
        (datetime(2030, 1, 2, 3, 4, 5, 999, UTC), "2030-01-02T03:04:05Z"),
        (datetime(2030, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=2))), "2030-01-02T01:04:00Z"),
        (["a", 1, True], "a; 1; Yes"),
        ([], ""),
        ("=1+1", "'=1+1"),
        ("+cmd|x", "'+cmd|x"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        (["=1", "b"], "'=1; b"),
        ("-12.50", "-12.50"),
        ("+49", "+49"),
        ("a=b", "a=b"),
    ],
)
def test_cells_are_words_and_never_formulas(value: object, shown: str) -> None:
    assert csv_files.cell(value) == shown


def test_what_goes_wrong_on_the_way_is_no_shorter_file() -> None:
    def rows() -> Iterator[tuple[str, str]]:
        yield ("a", "b")
        raise RuntimeError("the database went away")

    with pytest.raises(RuntimeError):
        csv_files.answer("x.csv", ("A", "B"), rows())
