"""A loaded Whisper model: languages, text and word times of a batch of windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.asr.whisper_language import Probabilities, probabilities
from stages.asr.whisper_windows import Features

_MAX_LENGTH = 448  # positions of Whisper's decoder, the prompt among them
_PREPENDED_PUNCTUATION = "\"'“¿([{-"
_APPENDED_PUNCTUATION = "\"'.。,，!！?？:：”)]}、"


@dataclass(frozen=True, slots=True)
class DecoderSettings:
    """How one pass decodes."""

    timestamps: bool = False
    """Let the model cut the window into phrases with times, which breaks some loops."""
    no_repeat_ngram_size: int = 0
    repetition_penalty: float = 1.0


@dataclass(frozen=True, slots=True)
class Decoding:
    """What one window came out as."""

    tokens: tuple[int, ...]
    """Text tokens, without timestamps and special tokens."""
    text: str
    avg_logprob: float
    no_speech_prob: float


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word with its times in seconds from the start of the window."""

    word: str
    start_s: float
    end_s: float
    probability: float


class WhisperDecoder:
    """Batched calls into CTranslate2. A row's result does not depend on the other rows."""

    def __init__(self, whisper: Any, beam_size: int) -> None:
        self._whisper = whisper
        self._beam_size = beam_size

    @property
    def is_multilingual(self) -> bool:
        multilingual: bool = self._whisper.model.is_multilingual
        return multilingual

    def knows_language(self, code: str) -> bool:
        if not self.is_multilingual:
            return code == "en"
        return self._whisper.hf_tokenizer.token_to_id(f"<|{code}|>") is not None

    @property
    def extractor(self) -> Any:
        return self._whisper.feature_extractor

    def encode(self, features: Features) -> Any:
        """Encoder output of features of shape `[batch, num_mels, 3000]`, on the device."""
        return self._whisper.encode(features)

    def languages(self, encoded: Any) -> list[Probabilities]:
        return [probabilities(ranked) for ranked in self._whisper.model.detect_language(encoded)]

    def decode(
        self, encoded: Any, codes: Sequence[str], settings: DecoderSettings
    ) -> list[Decoding]:
        """One decoding per row; `codes` are the languages to transcribe in."""
        tokenizers = [self._tokenizer(code) for code in codes]
        prompts = [list(tokenizer.sot_sequence) for tokenizer in tokenizers]
        if not settings.timestamps:
            for prompt, tokenizer in zip(prompts, tokenizers, strict=True):
                prompt.append(tokenizer.no_timestamps)
        results = self._whisper.model.generate(
            encoded,
            prompts,
            beam_size=self._beam_size,
            max_length=_MAX_LENGTH,
            no_repeat_ngram_size=settings.no_repeat_ngram_size,
            repetition_penalty=settings.repetition_penalty,
            return_scores=True,
            return_no_speech_prob=True,
        )
        decodings = []
        for result, tokenizer in zip(results, tokenizers, strict=True):
            (tokens,) = result.sequences_ids[:1]
            text_tokens = tuple(token for token in tokens if token < tokenizer.eot)
            decodings.append(
                Decoding(
                    tokens=text_tokens,
                    text=tokenizer.decode(list(text_tokens)).strip(),
                    # The score is a mean over the tokens; the end token counts as one, as in
                    # Whisper's own figure, which the threshold was made for.
                    avg_logprob=result.scores[0] * len(tokens) / (len(tokens) + 1),
                    no_speech_prob=result.no_speech_prob,
                )
            )
        return decodings

    def words(
        self, encoded: Any, code: str, decodings: Sequence[Decoding], num_hops: Sequence[int]
    ) -> list[list[TimedWord]]:
        """Words of each row with times, from the decoder's attention to the encoder."""
        from faster_whisper.transcribe import merge_punctuations

        tokens = [list(decoding.tokens) for decoding in decodings]
        if not any(tokens):
            return [[] for _ in decodings]
        alignments = self._whisper.find_alignment(
            self._tokenizer(code), tokens, encoded, list(num_hops)
        )
        rows = []
        for alignment in alignments:
            merge_punctuations(alignment, _PREPENDED_PUNCTUATION, _APPENDED_PUNCTUATION)
            rows.append(
                [
                    TimedWord(
                        word["word"].strip(),
                        float(word["start"]),
                        float(word["end"]),
                        float(word["probability"]),
                    )
                    for word in alignment
                    if word["word"].strip()
                ]
            )
        return rows

    def _tokenizer(self, code: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        return Tokenizer(
            self._whisper.hf_tokenizer, self.is_multilingual, task="transcribe", language=code
        )
