"""All waveform metrics of one clip at once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from schemas.codes import Waveform
from tokenizer.evaluation.metrics import (
    UnscorableError,
    cut_to_shorter,
    has_pesq,
    mel_distance,
    pesq,
    stoi,
)
from tokenizer.evaluation.speaker import SpeakerEncoder
from tokenizer.mel import LogMel
from tokenizer.spec import TokenizerSpec

METRICS = ("pesq_wb", "pesq_nb", "stoi", "speaker_similarity", "mel_distance")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """None where a metric is not defined for the clip, and a note says why."""

    pesq_wb: float | None
    pesq_nb: float | None
    stoi: float | None
    speaker_similarity: float
    mel_distance: float
    notes: tuple[str, ...] = field(default=())


class Scorer:
    """Scores waveforms of one tokenizer's rate. Without the package `pesq`, PESQ is None."""

    def __init__(self, spec: TokenizerSpec) -> None:
        self._rate_hz = spec.sample_rate_hz
        self._mel = LogMel(spec)
        self._speaker = SpeakerEncoder()
        self._has_pesq = has_pesq()

    def score(self, reference: Waveform, decoded: Waveform) -> Scores:
        """Both float32 `[num_samples]`, finite; the longer one is cut to the shorter one."""
        notes: list[str] = []
        pair = cut_to_shorter(reference, decoded)

        def scored(metric: Callable[[], float]) -> float | None:
            try:
                return metric()
            except UnscorableError as error:
                notes.append(str(error))
                return None

        rate_hz = self._rate_hz
        return Scores(
            pesq_wb=scored(partial(pesq, *pair, rate_hz, "wb")) if self._has_pesq else None,
            pesq_nb=scored(partial(pesq, *pair, rate_hz, "nb")) if self._has_pesq else None,
            stoi=scored(partial(stoi, *pair, rate_hz)),
            speaker_similarity=self._speaker.similarity(*pair, rate_hz),
            mel_distance=mel_distance(*pair, self._mel),
            notes=tuple(notes),
        )
