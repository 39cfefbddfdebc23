"""Transcripts in a hundred languages, from Whisper models run by faster-whisper and CTranslate2."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from schemas.errors import EngineMissingError, SpecError
from schemas.verdict import Keep, Verdict
from stages.asr.hallucination import compression_ratio, hallucination_signs, spoken_units
from stages.asr.whisper_decoder import DecoderSettings, Decoding, TimedWord, WhisperDecoder
from stages.asr.whisper_folder import check_whisper_folder, whisper_digest
from stages.asr.whisper_language import (
    SURE_PROBABILITY,
    DetectedLanguage,
    Probabilities,
    decide_language,
)
from stages.asr.whisper_windows import (
    WINDOW_S,
    Window,
    speech_windows,
    whisper_features,
    windows_of,
)
from stages.base import Recording, Resources, Segment, SegmentStage, StageSpec

_MIB = 1 << 20
_CONTEXTS_KEPT = 64  # recordings whose language was looked at; a few hundred floats each
_FIRST_PASS = DecoderSettings()
_SECOND_PASSES = (
    DecoderSettings(timestamps=True),
    DecoderSettings(no_repeat_ngram_size=5, repetition_penalty=1.1),
)
"""What is tried on windows that tripped a guard. All of these search, none draws lots: CTranslate2
seeds its generator once per thread, so that sampling at a temperature, Whisper's own remedy, would
make a text depend on what was decoded before it."""


class FasterWhisperAsrSpec(StageSpec):
    """Model, hardware and guards. The thresholds are Whisper's own defaults."""

    model: str = Field(min_length=1)
    """Local folder with a Whisper model in CTranslate2's format; nothing is ever downloaded."""
    device: Literal["cpu", "cuda"] = "cpu"
    compute_type: str = Field(default="default", pattern="^[a-z0-9_]+$")
    """CTranslate2's name of the arithmetic; `default` takes what the folder holds."""
    language: str | None = Field(default=None, pattern="^[a-z]{2,3}$")
    """Code to transcribe in; null: detect it for each segment."""
    language_windows: int = Field(default=3, ge=0, le=16)
    """Windows of 30 s of the recording's speech that unsure segments are judged together with."""
    beam_size: int = Field(default=5, ge=1, le=64)
    batch_padded_s: int = Field(default=240, ge=WINDOW_S, le=36_000)
    """Windows of 30 s decoded together, in seconds."""
    max_compression_ratio: float = Field(default=2.4, gt=0)
    """Text that compresses better than this repeats itself."""
    min_avg_logprob: float = Field(default=-1.0, le=0)
    """Mean log-probability per token below which a transcript counts as a failed one."""
    max_no_speech_prob: float = Field(default=0.6, ge=0, le=1)
    """Above this, a transcript with a low log-probability counts as silence."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What became of one window of a segment."""

    window: Window
    code: str
    detected: DetectedLanguage | None
    decoding: Decoding
    words: list[TimedWord]
    signs: list[str]


class FasterWhisperAsr(SegmentStage):
    """Whisper on batches of segments, each in a 30-s window of its own, in two passes.

    The first pass detects the language and decodes everything by beam search. What trips a guard
    (repetition, low log-probability, a sign of hallucination) is decoded again with other settings;
    the best by log-probability stays, those without a sign first. `asr_flags` names the signs that
    the chosen text still shows: nothing is dropped here. `asr_confidence` is the geometric mean of
    the token probabilities. `language` is null where the spec fixes one: nobody measured it then.
    """

    name: ClassVar[str] = "asr"
    engine: ClassVar[str] = "faster-whisper"
    Spec: ClassVar[type[StageSpec]] = FasterWhisperAsrSpec
    reads: ClassVar[frozenset[str]] = frozenset({"speech"})
    writes: ClassVar[frozenset[str]] = frozenset(
        {
            "text",
            "words",
            "num_words",
            "asr_confidence",
            "asr_language",
            "language",
            "language_probability",
            "asr_avg_logprob",
            "asr_no_speech_prob",
            "asr_compression_ratio",
            "asr_flags",
        }
    )
    speed_x_real_time: ClassVar[float] = 46.0
    """Reported, not measured here: large-v2 in float16, beam 5, 8 windows a batch on an RTX 3070 Ti
    (faster-whisper's README: 13 minutes in 17 s)."""

    spec: FasterWhisperAsrSpec

    def __init__(self, spec: FasterWhisperAsrSpec) -> None:
        super().__init__(spec)
        if find_spec("faster_whisper") is None:
            raise EngineMissingError(
                "stages.asr: engine 'faster-whisper' needs the package 'faster-whisper', which is "
                "not installed; install it, or use the engine 'pocketsphinx' (English only)"
            )
        self._folder = Path(spec.model)
        check_whisper_folder(self._folder)
        self._decoder: WhisperDecoder | None = None
        self._contexts: dict[str, list[Probabilities]] = {}

    @cached_property
    def _digest(self) -> str:
        return whisper_digest(self._folder)

    def describe(self) -> str:
        return (
            f"faster-whisper {version('faster-whisper')} ctranslate2 {version('ctranslate2')} "
            f"{self._folder.name} {self._digest}"
        )

    def resources(self) -> Resources:
        weights_mb = (self._folder / "model.bin").stat().st_size // _MIB
        num_gpus = 1.0 if self.spec.device == "cuda" else 0.0
        return Resources(num_cpus=1.0, num_gpus=num_gpus, memory_mb=1000 + 2 * weights_mb)

    def open(self) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before faster-whisper imports the hub
        import ctranslate2
        from faster_whisper import WhisperModel
        from faster_whisper.feature_extractor import FeatureExtractor

        if self.spec.device == "cuda" and ctranslate2.get_cuda_device_count() == 0:
            raise EngineMissingError(
                "stages.asr: device 'cuda' was asked for, but CTranslate2 sees no GPU here; set "
                "stages.asr.device=cpu, or run on a machine with one"
            )
        whisper = WhisperModel(
            str(self._folder),
            device=self.spec.device,
            compute_type=self.spec.compute_type,
            cpu_threads=1,
            local_files_only=True,
        )
        # Older folders do not say how many mel bands they want; the weights do.
        whisper.feature_extractor = FeatureExtractor(feature_size=whisper.model.n_mels)
        decoder = WhisperDecoder(whisper, self.spec.beam_size)
        if self.spec.language is not None and not decoder.knows_language(self.spec.language):
            raise SpecError(
                f"stages.asr.language: the model {self._folder.name!r} has no language "
                f"{self.spec.language!r}; give a code that Whisper knows, or null to detect it"
            )
        self._decoder = decoder

    def close(self) -> None:
        self._decoder = None
        self._contexts.clear()

    def process(self, batch: Sequence[Segment]) -> list[Verdict]:
        windows = [
            window for index, segment in enumerate(batch) for window in windows_of(index, segment)
        ]
        size = self.spec.batch_padded_s // WINDOW_S
        parts: list[list[_Part]] = [[] for _ in batch]
        for start in range(0, len(windows), size):
            chunk = windows[start : start + size]
            recordings = [batch[window.segment_index].recording for window in chunk]
            for part in self._transcribe(chunk, recordings):
                parts[part.window.segment_index].append(part)
        return [_join(segment, own) for segment, own in zip(batch, parts, strict=True)]

    def _transcribe(self, windows: list[Window], recordings: list[Recording]) -> list[_Part]:
        decoder = self._opened()
        features = np.stack(
            [whisper_features(window.samples, decoder.extractor) for window in windows]
        )
        encoded = decoder.encode(features)
        detected: list[DetectedLanguage | None] = [None] * len(windows)
        if self.spec.language is None and decoder.is_multilingual:
            detected = [
                self._decide(own, recording)
                for own, recording in zip(decoder.languages(encoded), recordings, strict=True)
            ]
        codes = [found.code if found else self.spec.language or "en" for found in detected]

        candidates = [[first] for first in decoder.decode(encoded, codes, _FIRST_PASS)]
        tripped = [
            row
            for row, (first,) in enumerate(candidates)
            if "no_speech" not in (signs := self._signs(first, windows[row])) and signs
        ]
        if tripped:
            again = decoder.encode(features[tripped])
            for settings in _SECOND_PASSES:
                second = decoder.decode(again, [codes[row] for row in tripped], settings)
                for row, decoding in zip(tripped, second, strict=True):
                    candidates[row].append(decoding)
        chosen = [self._best(own, window) for own, window in zip(candidates, windows, strict=True)]

        words: list[list[TimedWord]] = [[] for _ in windows]
        for code in sorted(set(codes)):  # CTranslate2 aligns one language a call
            rows = [row for row, own in enumerate(codes) if own == code]
            own_encoded = encoded if len(rows) == len(codes) else decoder.encode(features[rows])
            aligned = decoder.words(
                own_encoded,
                code,
                [chosen[row] for row in rows],
                [windows[row].num_hops for row in rows],
            )
            for row, own_words in zip(rows, aligned, strict=True):
                words[row] = own_words
        return [
            _Part(
                windows[row],
                codes[row],
                detected[row],
                chosen[row],
                words[row],
                self._signs(chosen[row], windows[row]),
            )
            for row in range(len(windows))
        ]

    def _signs(self, decoding: Decoding, window: Window) -> list[str]:
        signs = set(hallucination_signs(decoding.text, window.duration_s))
        if compression_ratio(decoding.text) > self.spec.max_compression_ratio:
            signs.add("repetitive")
        if decoding.avg_logprob < self.spec.min_avg_logprob:
            signs.add("low_logprob")
            if decoding.no_speech_prob > self.spec.max_no_speech_prob:
                signs.add("no_speech")
        return sorted(signs)

    def _best(self, candidates: Sequence[Decoding], window: Window) -> Decoding:
        """Texts without a sign come first, then those that do not loop, then the likelier one."""

        def badness(decoding: Decoding) -> tuple[bool, bool, float]:
            signs = self._signs(decoding, window)
            return bool(signs), "repetitive" in signs, -decoding.avg_logprob

        return min(candidates, key=badness)

    def _decide(self, own: Probabilities, recording: Recording) -> DetectedLanguage:
        if max(own.values()) >= SURE_PROBABILITY or self.spec.language_windows == 0:
            return decide_language(own, [])
        return decide_language(own, self._context(recording))

    def _context(self, recording: Recording) -> list[Probabilities]:
        """Languages of windows of the recording's speech; remembered, as its segments share it."""
        if recording.recording_id not in self._contexts:
            decoder = self._opened()
            if len(self._contexts) >= _CONTEXTS_KEPT:
                self._contexts.clear()
            self._contexts[recording.recording_id] = [
                decoder.languages(
                    decoder.encode(whisper_features(samples, decoder.extractor)[None])
                )[0]
                for samples in speech_windows(recording, self.spec.language_windows)
            ]
        return self._contexts[recording.recording_id]

    def _opened(self) -> WhisperDecoder:
        if self._decoder is None:
            raise RuntimeError("FasterWhisperAsr.process was called before open")
        return self._decoder


def _join(segment: Segment, parts: Sequence[_Part]) -> Keep:
    """Columns of a segment from its windows, of which there is one unless it is over 30 s."""
    text = " ".join(part.decoding.text for part in parts).strip()
    num_tokens = [len(part.decoding.tokens) + 1 for part in parts]
    avg_logprob = float(
        np.average([part.decoding.avg_logprob for part in parts], weights=num_tokens)
    )
    longest = max(parts, key=lambda part: part.window.end_sample - part.window.start_sample)
    return Keep(
        {
            "text": text,
            "words": [word for part in parts for word in _place(part, segment)],
            "num_words": len(spoken_units(text)),
            "asr_confidence": min(float(np.exp(avg_logprob)), 1.0) if text else 0.0,
            "asr_language": longest.code,
            "language": longest.detected.code if longest.detected else None,
            "language_probability": longest.detected.probability if longest.detected else None,
            "asr_avg_logprob": avg_logprob,
            "asr_no_speech_prob": float(np.mean([p.decoding.no_speech_prob for p in parts])),
            "asr_compression_ratio": compression_ratio(text),
            "asr_flags": sorted({sign for part in parts for sign in part.signs}),
        }
    )


def _place(part: _Part, segment: Segment) -> list[dict[str, object]]:
    """Its words on the timeline of the recording; none reaches over the window's ends."""
    start_sample, end_sample = part.window.start_sample, part.window.end_sample

    def sample_at(seconds: float) -> int:
        return min(start_sample + round(seconds * segment.sample_rate_hz), end_sample)

    return [
        {
            "word": word.word,
            "start_sample": sample_at(word.start_s),
            "end_sample": sample_at(word.end_s),
            "confidence": min(max(word.probability, 0.0), 1.0),
        }
        for word in part.words
    ]
