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
        ("{folder}/*.ogg", "none matches inputs.include"),
    ],
)
def test_a_place_without_inputs_is_one_line(folder: Path, uri: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        list_inputs(InputsSpec(uri=uri.format(folder=folder)))


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
