"""The text tokenizer: bytes, special tokens, a folder and back."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from model.special_tokens import WRITTEN_FORMS
from model.text import TextTokenizer
from schemas.errors import ModelError

TEXT = TextTokenizer.of_bytes()


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_is_its_bytes_and_comes_back(text: str) -> None:
    ids = TEXT.encode(text)
    assert bytes(ids).decode() == text
    assert TEXT.decode(ids) == text


def test_special_tokens_are_matched_first() -> None:
    assert TEXT.encode("a<|eot|>b") == (97, TEXT.special.eot, 98)
    assert TEXT.decode([97, TEXT.special.eot, 98]) == "a<|eot|>b"


def test_ids_that_no_text_has_say_nothing() -> None:
    assert TEXT.decode([97, TEXT.num_ids, TEXT.num_ids + 50, 98]) == "ab"
    assert TEXT.num_ids == 256 + len(WRITTEN_FORMS)


def test_a_folder_gives_back_what_was_saved(tmp_path: Path) -> None:
    TEXT.save(tmp_path)
    again = TextTokenizer.from_folder(tmp_path)
    assert again.special == TEXT.special
    assert again.encode("naïve <|sostm|>") == TEXT.encode("naïve <|sostm|>")


def test_a_lone_surrogate_is_an_error_of_ours() -> None:
    with pytest.raises(ModelError, match="lone surrogates"):
        TEXT.encode("a\ud800")


def test_a_file_that_only_looks_right_is_refused(tmp_path: Path) -> None:
    added = [{"id": number, "content": form} for number, form in enumerate(WRITTEN_FORMS.values())]
    document = {"added_tokens": added, "model": {"vocab": {}, "type": "unheard of"}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ModelError, match="not a text tokenizer that can be read"):
        TextTokenizer.from_folder(tmp_path)


def test_a_special_token_that_would_be_split_is_refused() -> None:
    vocabulary = {form: number for number, form in enumerate(WRITTEN_FORMS.values())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    with pytest.raises(ModelError, match=r"<\|endoftext\|> has the id 0 but is encoded as"):
        TextTokenizer(tokenizer)
