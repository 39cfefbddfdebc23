"""Listing and fetching inputs: every file is one input or counted as left alone."""

import os
from pathlib import Path

import fsspec
import pytest

from pipeline.inputs import fetched, list_inputs
from schemas.errors import ItemError, SpecError
from schemas.job import InputsSpec
from schemas.source import Source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("b.wav", "A.MP3", "sub/c.flac", "notes.txt", "sub/d.rttm"):
        (tmp_path / name).write_text(name)
    return tmp_path


def names(folder: Path, **spec: object) -> list[str]:
    listing = list_inputs(InputsSpec.model_validate({"uri": str(folder), **spec}))
    return [str(Path(source.uri).relative_to(folder)) for source in listing.sources]


def test_audio_names_are_inputs_whatever_their_case_and_the_rest_is_counted(folder: Path) -> None:
    assert names(folder) == ["A.MP3", "b.wav", "sub/c.flac"]
    assert list_inputs(InputsSpec(uri=str(folder))).num_left_alone == 2


def test_patterns_and_limit_choose(folder: Path) -> None:
    assert names(folder, include=["**/*"], exclude=["sub/**"]) == ["A.MP3", "b.wav", "notes.txt"]
    assert names(folder, limit=1) == ["A.MP3"]


def test_a_file_and_a_glob_are_inputs_too(folder: Path) -> None:
    for uri in (folder / "b.wav", folder / "*.wav"):
        (source,) = list_inputs(InputsSpec(uri=str(uri))).sources
        assert source.uri == str(folder / "b.wav")


def test_names_below_the_current_folder_are_shown_as_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert [s.uri for s in list_inputs(InputsSpec(uri=".")).sources][1] == "b.wav"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("{folder}/none", "there is nothing at"),
        ("{folder}/sub/d.rttm/..", "there is nothing at"),
        ("ftp://host/x", "the scheme 'ftp' is not accepted"),
        ("{folder}/*.ogg", "no file matches the glob"),
        ("{folder}/a**b.wav", "cannot be listed: Invalid pattern"),
        ("{folder}/gone [2024]/*.wav", r"a '\[' that belongs to a name is written"),
        ("{folder}/empty", "0 files under .*the folder is empty"),
        ("{folder}/notes", "1 files under .*none matches inputs.include"),
        ("simplecache::s3://bucket/x", "the scheme 'simplecache::s3' is not accepted"),
    ],
)
def test_a_place_without_inputs_is_one_line(folder: Path, uri: str, said: str) -> None:
    (folder / "empty").mkdir()
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").write_text("no audio")
    with pytest.raises(SpecError, match=said) as caught:
        list_inputs(InputsSpec(uri=uri.format(folder=folder)))
    assert "\n" not in str(caught.value)
    with pytest.raises(SpecError) as caught:
        list_inputs(InputsSpec(uri=uri.format(folder=folder)), "AUDIO")
    assert str(caught.value).startswith("AUDIO: ")
    assert "inputs." not in str(caught.value)


def test_a_replaced_file_gets_another_id_and_is_not_taken_for_the_old_one(folder: Path) -> None:
    before = list_inputs(InputsSpec(uri=str(folder / "b.wav"))).sources[0]
    (folder / "b.wav").write_text("other bytes")
    after = list_inputs(InputsSpec(uri=str(folder / "b.wav"))).sources[0]
    assert before.source_id != after.source_id
    with pytest.raises(ItemError, match="changed since it was listed") as caught, fetched(before):
        pass
    assert caught.value.error_class == "CHANGED"


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with (
        pytest.raises(ItemError, match="is no regular file"),
        fetched(Source(str(tmp_path / "a.wav"), 0, "0")),
    ):
        pass


@pytest.mark.parametrize("target", ["gone.wav", "b.wav"])
def test_a_link_that_leads_nowhere_is_one_input_that_is_unreadable(
    tmp_path: Path, target: str
) -> None:
    (tmp_path / "a.wav").write_text("a")
    (tmp_path / "b.wav").symlink_to(target)
    for uri in (tmp_path, tmp_path / "*.wav"):
        good, bad = list_inputs(InputsSpec(uri=str(uri))).sources
        assert (good.size_bytes, bad.size_bytes) == (1, 0)
        assert bad.uri == str(tmp_path / "b.wav")
        with pytest.raises(ItemError, match="cannot be opened") as caught, fetched(bad):
            pass
        assert caught.value.error_class == "UNREADABLE"


def test_a_link_that_was_mended_since_counts_as_changed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").symlink_to("later")
    (source,) = list_inputs(InputsSpec(uri=str(tmp_path))).sources
    (tmp_path / "later").touch()
    with pytest.raises(ItemError) as caught, fetched(source):
        pass
    assert caught.value.error_class == "CHANGED"


def test_a_folder_named_like_audio_is_searched_and_loops_of_folders_end(tmp_path: Path) -> None:
    (tmp_path / "x.wav").mkdir()
    (tmp_path / "x.wav" / "a.wav").write_text("a")
    (tmp_path / "x.wav" / "again").symlink_to(tmp_path)
    (tmp_path / "y.wav").symlink_to(tmp_path)
    assert names(tmp_path) == ["x.wav/a.wav", "y.wav"]
    assert names(tmp_path / "x.wav") == ["a.wav"]
    listing = list_inputs(InputsSpec(uri=str(tmp_path)))
    assert listing.num_left_alone == 1
    with pytest.raises(ItemError, match="no regular file"), fetched(listing.sources[1]):
        pass


HOSTILE_NAMES = (
    b"\xff.wav",
    b"\\xff.wav",
    b"\\x5cxff.wav",
    b"\\\xff.wav",
    b"\xc3\xa9\xe9.wav",
    "é.wav".encode(),
    b"a::b.wav",
    b"memory::c.wav",
    b"file:d.wav",
    b"~e.wav",
    b"~root.wav",
    b"[f]*?.wav",
    b"new\nline.wav",
    b"-g%41#h.wav",
)


@pytest.mark.parametrize("relative", [False, True])
def test_every_file_name_has_a_uri_of_its_own_that_leads_back_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    monkeypatch.chdir(tmp_path if relative else "/")
    for name in HOSTILE_NAMES:
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(name)
    uri = "." if relative else str(tmp_path)
    listing = list_inputs(InputsSpec(uri=uri))
    assert listing == list_inputs(InputsSpec(uri=uri))
    assert len({source.source_id for source in listing.sources}) == len(HOSTILE_NAMES)
    if relative:
        assert {"\\xff.wav", "\\x5cxff.wav", "é.wav", "a::b.wav", "~e.wav"} <= {
            source.uri for source in listing.sources
        }
    seen = set()
    for source in listing.sources:
        with fetched(source) as path:
            str(path).encode()
            seen.add(path.read_bytes())
    assert seen == set(HOSTILE_NAMES)


def test_a_folder_that_is_not_utf8_is_read_and_its_link_goes_again(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/\xe9t\xe9"))
    folder.mkdir()
    (folder / "a.wav").write_text("bytes")
    (source,) = list_inputs(InputsSpec(uri=str(tmp_path))).sources
    assert source.uri == f"{tmp_path}/\\xe9t\\xe9/a.wav"
    with fetched(source) as path:
        assert path.read_text() == "bytes"
    assert not path.is_symlink()
    assert (folder / "a.wav").read_text() == "bytes"


@pytest.mark.parametrize("name", ["show [2024]", "a*b", "what?", "a::b", "memory::x"])
def test_a_folder_and_a_file_are_taken_by_their_name_before_it_is_a_glob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "[1].wav").write_text("1")
    (folder / "notes.txt").write_text("n")
    listing = list_inputs(InputsSpec(uri=str(folder)))
    assert [s.uri for s in listing.sources] == [f"{folder}/[1].wav"]
    assert listing.num_left_alone == 1
    assert list_inputs(InputsSpec(uri=f"file://{folder}/")) == listing
    assert list_inputs(InputsSpec(uri=f"{folder}/[1].wav")).sources == listing.sources
    monkeypatch.chdir(tmp_path)
    assert [s.uri for s in list_inputs(InputsSpec(uri=name)).sources] == [f"{name}/[1].wav"]
    monkeypatch.chdir(folder)
    assert [s.uri for s in list_inputs(InputsSpec(uri="*.wav")).sources] == ["[1].wav"]


def test_a_remote_input_is_fetched_under_a_name_of_ours_and_removed_again() -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/bucket/../evil name.wav", b"bytes")
    store.pipe("/bucket/good.wav", b"bytes")
    listing = list_inputs(InputsSpec(uri="memory://bucket"))
    (source,) = [s for s in listing.sources if s.uri.endswith("good.wav")]
    with fetched(source) as path:
        assert path.read_bytes() == b"bytes"
        assert path.name == "input"
    assert not path.exists()


def test_a_file_is_looked_at_again_when_its_block_ends(folder: Path) -> None:
    (source,) = list_inputs(InputsSpec(uri=str(folder / "b.wav"))).sources
    with fetched(source) as path:
        path.read_bytes()
    before = path.stat()
    with pytest.raises(ItemError, match="changed since it was listed") as caught, fetched(source):
        path.write_text("B.WAV")
    assert path.stat().st_size == before.st_size
    assert caught.value.error_class == "CHANGED"
    (source,) = list_inputs(InputsSpec(uri=str(folder / "b.wav"))).sources
    with pytest.raises(ZeroDivisionError), fetched(source):
        raise ZeroDivisionError  # what went wrong inside is not hidden
