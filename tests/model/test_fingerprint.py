"""Codes of another audio tokenizer are refused with what differs."""

import json

import pytest

from model.fingerprint import require_same_tokenizer
from schemas.errors import ModelError

FACTS = {"weights_sha256": "aa", "dtype": "float32", "codebook_sizes": [64, 16]}


def written(**changes: object) -> str:
    return json.dumps(FACTS | changes, sort_keys=True, separators=(",", ":"))


def test_the_same_tokenizer_passes() -> None:
    require_same_tokenizer(written(), written(), where="shard-0")


def test_what_differs_is_named_and_nothing_else() -> None:
    with pytest.raises(ModelError, match=r"shard-0: .*another audio tokenizer") as caught:
        require_same_tokenizer(written(weights_sha256="bb", new=1), written(), where="shard-0")
    message = str(caught.value)
    assert "weights_sha256 'bb' instead of 'aa'" in message
    assert "new 1 instead of None" in message
    assert "dtype" not in message


@pytest.mark.parametrize("damaged", ["", "no json", "[1]"])
def test_a_damaged_fingerprint_is_said_to_be_one(damaged: str) -> None:
    with pytest.raises(ModelError, match=r"shard-0: tokenizer fingerprint .* not a JSON object"):
        require_same_tokenizer(damaged, written(), where="shard-0")
