"""English transcripts from pocketsphinx and the US-English model that its package carries."""

import math
import re
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from schemas.codes import Waveform
from schemas.errors import EngineMissingError
from schemas.verdict import Keep, Verdict
from stages.asr.sphinx_confidence import HeardWord, word_confidences
from stages.base import Resources, Segment, SegmentStage, StageSpec
from stages.weights import files_digest, package_folder

_RATE_HZ = 16_000  # of the model
_HOPS_PER_S = 100
_MODEL = Path("model", "en-us")
_LANGUAGE_MODEL = "en-us.lm.bin"
_DICTIONARY = "cmudict-en-us.dict"
_ACOUSTIC_MODEL = "en-us"  # a folder
_SMALLEST = 1e-300  # the decoder hands out probabilities, and a long word's underflows
_PRONUNCIATION = re.compile(r"\(\d+\)$")  # "read(2)": the dictionary's second way to say it


class PocketsphinxAsrSpec(StageSpec):
    """How hard the decoder searches."""

    max_active_states: int = Field(default=5000, ge=100, le=100_000)
    """HMM states followed per hop. 5000 runs at 5.0 x real time with 43.8 % word errors on 32 short
    English recordings, 30000 (the decoder's default) at 3.5 x with 43.6 %, 3000 at 7 x with
    45.7 %. Wider or narrower beams, other language weights and insertion penalties, warped
    frequencies and padding with silence changed the errors by less than a point, or for the worse.
    """


class PocketsphinxAsr(SegmentStage):
    """Text and word times of English speech; nothing else is understood.

    `asr_language` is always "en", because that is what it transcribes in. It does not detect
    languages: `language` stays unmeasured. On other languages it writes English nonsense, which
    `asr_confidence` shows (see `sphinx_confidence.py`); on clean read speech expect a word error
    rate of 10 to 40 %, on conversation worse.
    """

    name: ClassVar[str] = "asr"
    engine: ClassVar[str] = "pocketsphinx"
    Spec: ClassVar[type[StageSpec]] = PocketsphinxAsrSpec
    reads: ClassVar[frozenset[str]] = frozenset()
    writes: ClassVar[frozenset[str]] = frozenset(
        {"text", "words", "num_words", "asr_confidence", "asr_language"}
    )
    speed_x_real_time: ClassVar[float] = 5.0

    spec: PocketsphinxAsrSpec

    def __init__(self, spec: PocketsphinxAsrSpec) -> None:
        super().__init__(spec)
        package = package_folder("pocketsphinx")
        if package is None:
            raise EngineMissingError(
                "stages.asr: engine 'pocketsphinx' needs the package 'pocketsphinx', which is not "
                "installed; install it, or use the engine 'faster-whisper'"
            )
        self._folder = package / _MODEL
        for name in (_ACOUSTIC_MODEL, _LANGUAGE_MODEL, _DICTIONARY):
            if not (self._folder / name).exists():
                raise EngineMissingError(
                    f"stages.asr: engine 'pocketsphinx' wants {_MODEL / name} of its package, "
                    "which is not there; install pocketsphinx 5.1.1 again"
                )
        self._decoder: Any = None

    @cached_property
    def _digest(self) -> str:
        acoustic = sorted((self._folder / _ACOUSTIC_MODEL).iterdir())
        others = (self._folder / _LANGUAGE_MODEL, self._folder / _DICTIONARY)
        return files_digest(*acoustic, *others)

    def describe(self) -> str:
        return f"pocketsphinx {version('pocketsphinx')} en-us {self._digest}"

    def resources(self) -> Resources:
        return Resources(num_cpus=1.0, memory_mb=400)

    def open(self) -> None:
        from pocketsphinx import Decoder

        # By name, because a variable of the environment can put other files in their place.
        self._decoder = Decoder(
            hmm=str(self._folder / _ACOUSTIC_MODEL),
            lm=str(self._folder / _LANGUAGE_MODEL),
            dict=str(self._folder / _DICTIONARY),
            maxhmmpf=self.spec.max_active_states,
            loglevel="FATAL",
        )

    def close(self) -> None:
        self._decoder = None

    def process(self, batch: Sequence[Segment]) -> list[Verdict]:
        return [self._transcribe(segment) for segment in batch]

    def _transcribe(self, segment: Segment) -> Keep:
        heard = self._hear(segment.waveform(_RATE_HZ))
        confidences = word_confidences(heard)
        samples_per_hop = segment.sample_rate_hz / _HOPS_PER_S
        words = [
            {
                "word": word.word,
                "start_sample": segment.start_sample + round(word.start_hop * samples_per_hop),
                "end_sample": min(
                    segment.start_sample + round(word.end_hop * samples_per_hop),
                    segment.end_sample,
                ),
                "confidence": confidence,
            }
            for word, confidence in zip(heard, confidences, strict=True)
        ]
        return Keep(
            {
                "text": " ".join(word.word for word in heard),
                "words": words,
                "num_words": len(words),
                "asr_confidence": float(np.mean(confidences)) if confidences else 0.0,
                "asr_language": "en",
            }
        )

    def _hear(self, waveform: Waveform) -> list[HeardWord]:
        """Words of the best path, without silences, breaths and noises."""
        pcm = (np.clip(waveform, -1.0, 1.0) * 32767).round().astype(np.int16)
        if not pcm.any():
            return []  # the decoder hears a word in digital silence
        decoder = self._decoder
        # The cepstral mean of one utterance would otherwise be the start value of the next.
        decoder.reinit_feat()
        decoder.start_utt()
        decoder.process_raw(pcm.tobytes(), False, True)  # whole utterance: its own cepstral mean
        decoder.end_utt()
        if decoder.hyp() is None:
            return []
        heard = []
        for entry in decoder.seg():
            if entry.word[0] in "<[+":  # <s>, <sil>, [NOISE], ++BREATH++
                continue
            num_hops = entry.end_frame - entry.start_frame + 1
            heard.append(
                HeardWord(
                    word=_PRONUNCIATION.sub("", entry.word),
                    start_hop=entry.start_frame,
                    end_hop=entry.end_frame + 1,
                    acoustic_per_hop=math.log(max(entry.ascore, _SMALLEST)) / num_hops,
                    log_posterior=math.log(max(entry.prob, _SMALLEST)),
                )
            )
        return heard
