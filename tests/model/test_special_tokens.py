"""Special tokens are found by name, and a missing one is named."""

import json
from pathlib import Path

import pytest

from model.special_tokens import WRITTEN_FORMS, SpecialTokens
from schemas.errors import ModelError

IDS = {form: 300 + index for index, form in enumerate(WRITTEN_FORMS.values())}


def write_tokenizer(folder: Path, ids: dict[str, int], vocabulary: object) -> Path:
    added = [{"id": token_id, "content": form} for form, token_id in ids.items()]
    document = {"added_tokens": added, "model": {"vocab": vocabulary}}
    (folder / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def test_a_mapping_is_read_and_given_back() -> None:
    special = SpecialTokens.from_mapping(IDS | {"hello": 5})
    assert special.empty == IDS["<|empty|>"]
    assert special.to_mapping() == IDS


@pytest.mark.parametrize("form", WRITTEN_FORMS.values())
def test_a_missing_token_is_named(form: str) -> None:
    without = {key: value for key, value in IDS.items() if key != form}
    with pytest.raises(ModelError, match="without ") as caught:
        SpecialTokens.from_mapping(without, where="here")
    assert str(caught.value).startswith(f"here: without {form};")


def test_two_tokens_cannot_share_an_id() -> None:
    with pytest.raises(ModelError, match=r"<\|sosp\|> and <\|eot\|> share the id 303"):
        SpecialTokens.from_mapping(IDS | {"<|eot|>": 303})


def test_an_id_is_not_negative() -> None:
    with pytest.raises(ModelError, match=r"<\|eot\|>: id -1 is negative"):
        SpecialTokens.from_mapping(IDS | {"<|eot|>": -1})


@pytest.mark.parametrize("vocabulary", [{"a": 0}, [["a", -1.0]]])
def test_a_folder_is_read(tmp_path: Path, vocabulary: object) -> None:
    folder = write_tokenizer(tmp_path, IDS, vocabulary)
    assert SpecialTokens.from_folder(folder).to_mapping() == IDS


def test_a_token_of_the_plain_vocabulary_counts(tmp_path: Path) -> None:
    added = {form: token_id for form, token_id in IDS.items() if form != "<|eot|>"}
    folder = write_tokenizer(tmp_path, added, {"<|eot|>": 9})
    assert SpecialTokens.from_folder(folder).eot == 9


def test_a_folder_without_a_token_names_file_and_token(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path, {"<|im_start|>": 1}, {})
    with pytest.raises(ModelError, match=r"tokenizer\.json: without <\|endoftext\|>, <\|im_end\|>"):
        SpecialTokens.from_folder(folder)


def test_a_folder_without_a_tokenizer_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json: not there"):
        SpecialTokens.from_folder(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"model": {}}', '{"model": {"vocab": 1}}'])
def test_a_damaged_file_is_not_a_traceback(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match="not a text tokenizer"):
        SpecialTokens.from_folder(tmp_path)
