"""Ground truth is found beside inputs, and what is malformed is named by file and line."""

from pathlib import Path

import pytest

from pipeline.references import GroundTruthError, ReferenceTurn, find_references, read_rttm

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "audio"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def rttm_line(name: str, start: str, duration: str, speaker: str) -> str:
    return f"SPEAKER {name} 1 {start} {duration} <NA> <NA> {speaker} <NA> <NA>\n"


def test_sidecars_beside_an_input_are_its_reference(tmp_path: Path) -> None:
    write(tmp_path / "talk.txt", "Hello there.\n")
    write(
        tmp_path / "talk.rttm",
        rttm_line("talk", "1.5", "2", "b") + rttm_line("talk", "0", "1", "a"),
    )
    found = find_references(tmp_path, [str(tmp_path / "talk.mp3"), str(tmp_path / "noise.wav")])
    assert list(found) == [str(tmp_path / "talk.mp3")]
    (reference,) = found.values()
    assert reference.transcript == "Hello there."
    assert reference.turns == (ReferenceTurn(0.0, 1.0, "a"), ReferenceTurn(1.5, 3.5, "b"))
    assert reference.language is None


def test_relative_and_file_uris_are_found_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in" / "a b.txt", "one")
    monkeypatch.chdir(tmp_path)
    uris = ["in/a b.wav", (tmp_path / "in" / "a b.flac").as_uri()]
    assert [r.transcript for r in find_references(Path("in"), uris).values()] == ["one", "one"]


def test_a_bucket_takes_the_longest_tail_that_fits(tmp_path: Path) -> None:
    write(tmp_path / "7.txt", "flat")
    write(tmp_path / "calls" / "7.txt", "deep")
    uris = ["s3://b/calls/7.wav", "s3://b/talks/7.wav"]
    found = find_references(tmp_path, uris)
    assert [found[uri].transcript for uri in uris] == ["deep", "flat"]


def test_inside_the_folder_only_the_exact_place_counts(tmp_path: Path) -> None:
    write(tmp_path / "7.txt", "another recording")
    assert find_references(tmp_path, [str(tmp_path / "calls" / "7.wav")]) == {}


def test_a_manifest_states_more_and_beats_sidecars(tmp_path: Path) -> None:
    write(tmp_path / "x" / "a.txt", "from the sidecar")
    write(tmp_path / "truth" / "turns.rttm", rttm_line("a", "0", "1", "s"))
    write(
        tmp_path / "manifest.csv",
        "path,licence,language,transcript,rttm\n"
        'x/a.wav,MIT,EN,"from, the ""manifest""",truth/turns.rttm\n'
        "x/b.wav,MIT,,,\n",
    )
    uris = [str(tmp_path / "x" / name) for name in ("a.wav", "b.wav")]
    found = find_references(tmp_path, uris)
    assert list(found) == uris[:1]
    reference = found[uris[0]]
    assert (reference.transcript, reference.language) == ('from, the "manifest"', "en")
    assert reference.turns == (ReferenceTurn(0.0, 1.0, "s"),)


def test_an_empty_transcript_is_no_reference(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", " \n")
    assert find_references(tmp_path, [str(tmp_path / "a.wav")]) == {}


def test_an_input_is_not_its_own_transcript(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "an input by that name")
    assert find_references(tmp_path, [str(tmp_path / "a.txt")]) == {}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("SPEAKER talk 1 0.0 1.0 <NA>\n", "talk.rttm:3: a SPEAKER line has 6 fields"),
        (rttm_line("talk", "zero", "1", "a"), "talk.rttm:3: the start is 'zero'"),
        (rttm_line("talk", "-1", "1", "a"), "talk.rttm:3: the start is '-1'"),
        (rttm_line("talk", "1", "nan", "a"), "talk.rttm:3: the duration is 'nan'"),
        (rttm_line("talk", "1", "-2", "a"), "talk.rttm:3: the duration is '-2'"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = write(tmp_path / "talk.rttm", ";; made by hand\n\n" + line)
    with pytest.raises(GroundTruthError) as caught:
        read_rttm(path, "talk")
    assert complaint in str(caught.value)


def test_turns_of_other_recordings_only_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.rttm", rttm_line("walk", "0", "1", "a"))
    with pytest.raises(GroundTruthError, match="no turn of 'talk', but turns of walk"):
        read_rttm(path, "talk")


def test_other_lines_and_turns_without_length_are_left_out(tmp_path: Path) -> None:
    text = "SPKR-INFO talk 1 <NA> <NA> <NA> unknown a <NA>\n" + rttm_line("talk", "3", "0", "a")
    assert read_rttm(write(tmp_path / "talk.rttm", text), "talk") == ()


@pytest.mark.parametrize(
    ("manifest", "complaint"),
    [
        ("file,transcript\na.wav,x\n", "manifest.csv:1: the columns are"),
        ("path,transcript\na.wav,x\na.wav,y\n", "manifest.csv:3: a second row for 'a.wav'"),
        ("path,transcript\na.wav,x,z\n", "manifest.csv:2: more cells"),
        ("path,transcript\n,x\n", "manifest.csv:2: the cell `path` is empty"),
        ('path,transcript\na.wav,"x"y\n', "not readable as CSV"),
        ("path,rttm\na.wav,gone.rttm\n", "there is no file 'gone.rttm'"),
    ],
)
def test_a_malformed_manifest_is_named(tmp_path: Path, manifest: str, complaint: str) -> None:
    write(tmp_path / "manifest.csv", manifest)
    with pytest.raises(GroundTruthError) as caught:
        find_references(tmp_path, [str(tmp_path / "a.wav")])
    assert complaint in str(caught.value)


def test_a_transcript_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("déjà".encode("latin-1"))
    with pytest.raises(GroundTruthError, match=r"a\.txt: byte 1 is no UTF-8"):
        find_references(tmp_path, [str(tmp_path / "a.wav")])


def test_a_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match="is no folder"):
        find_references(tmp_path / "absent", [])


@pytest.mark.skipif(not SHARED.is_dir(), reason="the collection of recordings is not here")
def test_the_real_collection_reads() -> None:
    uris = [str(path) for path in SHARED.glob("*/*") if path.suffix not in (".rttm", ".stm")]
    found = find_references(SHARED, uris)
    assert sum(one.transcript is not None for one in found.values()) == 74
    assert sum(one.turns is not None for one in found.values()) == 8
    voices = {
        turn.speaker for turn in found[str(SHARED / "multi-speaker/falcon-3spk.wav")].turns or ()
    }
    assert voices == {"spk1", "spk2", "spk3"}
