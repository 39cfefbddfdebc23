"""Text to token ids and back, by the text tokenizer in a model's folder."""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from model.special_tokens import TOKENIZER_FILE, WRITTEN_FORMS, SpecialTokens
from schemas.errors import ModelError
from schemas.ids import digest

NUM_BYTES = 256
HALF_A_CHARACTER = "\N{REPLACEMENT CHARACTER}"
"""What ids decode to that end within a character."""


class TextTokenizer:
    """A text tokenizer whose special tokens are known; written forms in a text become their ids."""

    def __init__(self, tokenizer: Tokenizer, *, where: str = "text tokenizer") -> None:
        """Raises `ModelError` if a special token is missing, or is split when it is encoded."""
        ids = tokenizer.get_vocab(with_added_tokens=True)
        self.special = SpecialTokens.from_mapping(ids, where=where)
        self._tokenizer = tokenizer
        for form, token_id in self.special.to_mapping().items():
            if (found := self.encode(form)) != (token_id,):
                raise ModelError(
                    f"{where}: {form} has the id {token_id} but is encoded as {list(found)}; list "
                    "it among the added tokens"
                )

    @classmethod
    def from_folder(cls, folder: str | Path) -> "TextTokenizer":
        """The tokenizer in `folder/tokenizer.json`. Raises `ModelError`."""
        SpecialTokens.from_folder(folder)
        path = Path(folder) / TOKENIZER_FILE
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:
            raise ModelError(
                f"{path}: not a text tokenizer that can be read ({error}); copy the file again "
                "from where the model came from"
            ) from error
        return cls(tokenizer, where=str(path))

    @classmethod
    def of_bytes(cls) -> "TextTokenizer":
        """UTF-8 bytes as ids 0..255, then the special tokens from 256: needs no file at all."""
        written = _characters_of_bytes()
        tokenizer = Tokenizer(
            models.BPE(vocab={written[byte]: byte for byte in range(NUM_BYTES)}, merges=[])
        )
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens(
            [AddedToken(form, special=True, normalized=False) for form in WRITTEN_FORMS.values()]
        )
        return cls(tokenizer)

    @property
    def digest(self) -> str:
        """Equal for tokenizers that give every text the same ids."""
        return digest("text-tokenizer", self._tokenizer.to_str())

    def save(self, folder: str | Path) -> None:
        """Writes `folder/tokenizer.json`, which `from_folder` opens."""
        self._tokenizer.save(str(Path(folder) / TOKENIZER_FILE))

    @property
    def num_ids(self) -> int:
        """One more than the largest id: the least vocabulary that a model needs."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    def encode(self, text: str) -> tuple[int, ...]:
        """Ids of `text` by itself, nothing put before or after it."""
        try:
            return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)
        except TypeError as error:
            raise ModelError(
                f"text {text[:40]!a}: not Unicode text; take out lone surrogates"
            ) from error

    def decode(self, token_ids: Iterable[int]) -> str:
        """Text of the ids, special tokens in their written form; unknown ids say nothing."""
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=False))


def _characters_of_bytes() -> list[str]:
    """The printable character by which byte-level tokenizers write each byte."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(NUM_BYTES) if byte not in printable]
    return [
        chr(byte if byte in printable else NUM_BYTES + others.index(byte))
        for byte in range(NUM_BYTES)
    ]
