"""A model folder is checked before any work starts."""

from pathlib import Path

import pytest

from schemas.errors import EngineMissingError
from stages.asr.whisper_folder import check_whisper_folder, whisper_digest

FILES = {
    "model.bin": "weights",
    "config.json": "{}",
    "tokenizer.json": "{}",
    "vocabulary.json": "[]",
}


def make_folder(path: Path, **changes: str | None) -> Path:
    path.mkdir()
    renamed = {name.replace("_", "."): text for name, text in changes.items()}
    for name, text in {**FILES, **renamed}.items():
        if text is not None:
            (path / name).write_text(text, encoding="utf-8")
    return path


def test_a_whole_folder_passes(tmp_path: Path) -> None:
    check_whisper_folder(make_folder(tmp_path / "whole"))
    check_whisper_folder(make_folder(tmp_path / "old", vocabulary_json=None, vocabulary_txt="a"))


@pytest.mark.parametrize("name", ["model.bin", "config.json", "tokenizer.json", "vocabulary.json"])
def test_a_missing_file_is_named_with_the_way_to_get_it(tmp_path: Path, name: str) -> None:
    folder = make_folder(tmp_path / "model", **{name.replace(".", "_"): None})
    with pytest.raises(EngineMissingError, match=name) as caught:
        check_whisper_folder(folder)
    assert "ct2-transformers-converter" in str(caught.value)


def test_a_missing_folder_and_a_damaged_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(EngineMissingError, match="is not there"):
        check_whisper_folder(tmp_path / "absent")
    with pytest.raises(EngineMissingError, match=r"config\.json.*is no JSON"):
        check_whisper_folder(make_folder(tmp_path / "damaged", config_json="{"))


def test_digest_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    one, same = make_folder(tmp_path / "one"), make_folder(tmp_path / "two")
    other = make_folder(tmp_path / "three", model_bin="other weights")
    assert whisper_digest(one) == whisper_digest(same)
    assert whisper_digest(one) != whisper_digest(other)
