"""Wording is data: ours, or a list beside a checkpoint."""

import json
from pathlib import Path

import pytest

from model.wording import Wording
from schemas.errors import ModelError


def test_every_request_is_drawn_by_some_seed() -> None:
    wording = Wording.own()
    drawn = {wording.asr(seed) for seed in range(200)}
    assert drawn == {*wording.asr_zh, *wording.asr_en}
    assert wording.asr(3) == wording.asr(3)


@pytest.mark.parametrize(("text", "language"), [("今天 is fine", "zh"), ("Hello", "en")])
def test_a_request_to_speak_is_in_the_language_of_the_text(text: str, language: str) -> None:
    wording = Wording.own()
    drawn = {wording.tts(text, seed) for seed in range(100)}
    assert drawn == set(getattr(wording, f"tts_{language}"))


def test_a_folder_may_bring_its_own_list(tmp_path: Path) -> None:
    assert Wording.beside(tmp_path) == Wording.own()
    (tmp_path / "templates.json").write_text(json.dumps({"asr_en": ["Write."]}), encoding="utf-8")
    wording = Wording.beside(tmp_path)
    assert wording.asr_en == ("Write.",)
    assert wording.asr_zh == Wording.own().asr_zh


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"asr_fr": ["Ecrivez."]}', r"templates\.json: asr_fr: .*wanted the fields asr_zh"),
        ('{"asr_en": []}', r"templates\.json: asr_en: "),
        ('{"asr_en": [""]}', r"templates\.json: asr_en\.0: "),
        ('{"voice": 3}', r"templates\.json: voice: "),
        ("[1]", "holds list, wanted keys"),
        ("{", "neither YAML nor JSON"),
    ],
)
def test_a_damaged_list_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "templates.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        Wording.beside(tmp_path)


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither YAML nor JSON"):
        Wording.from_file(tmp_path / "none.json")
