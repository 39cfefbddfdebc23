"""A tokenizer's round trip over many clips: every clip is kept, dropped or failed."""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from schemas.codes import Waveform
from schemas.errors import TokenizerError
from tokenizer.codec import Tokenizer
from tokenizer.evaluation.codebooks import CodebookUse, bitrate_kbps
from tokenizer.evaluation.metrics import PESQ_MISSING, has_pesq
from tokenizer.evaluation.published import PUBLISHED
from tokenizer.evaluation.scores import METRICS, Scorer, Scores
from tokenizer.evaluation.speaker import ENCODER_NAME
from tokenizer.intake import check_num_codebooks

MIN_S = 0.3
"""PESQ and STOI need about as much, and a speaker cannot be told from less."""
SILENT_BELOW = 1e-3
"""Peak, -60 dB under full scale: what is left is noise, whose likeness says nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipResult:
    """What became of one clip; `cause` says why it was dropped or failed."""

    name: str
    outcome: Literal["kept", "dropped", "failed"]
    cause: str = ""
    audio_s: float = 0.0
    round_trip_s: float = 0.0
    scores: Scores | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Results of all clips. Means count every kept clip once, whatever its length."""

    clips: tuple[ClipResult, ...]
    codebooks: CodebookUse
    bitrate_kbps: float
    tokenizer: dict[str, Any]

    def num(self, outcome: Literal["kept", "dropped", "failed"]) -> int:
        return sum(clip.outcome == outcome for clip in self.clips)

    def mean(self, metric: str) -> float | None:
        """Mean of one of `METRICS` over the clips that have it; None where none has."""
        found = [getattr(clip.scores, metric) for clip in self.clips if clip.scores]
        defined = [value for value in found if value is not None]
        return float(np.mean(defined)) if defined else None

    @property
    def audio_s(self) -> float:
        return sum(clip.audio_s for clip in self.clips if clip.outcome == "kept")

    @property
    def note(self) -> str:
        """One line about what could not be measured on this machine; empty if nothing."""
        return "" if has_pesq() else PESQ_MISSING

    def summary(self) -> dict[str, Any]:
        """JSON-ready means, codebook use per layer, bitrate, counts and the published rows."""
        spent_s = sum(clip.round_trip_s for clip in self.clips)
        return {
            **{metric: self.mean(metric) for metric in METRICS},
            "bitrate_kbps": self.bitrate_kbps,
            "codebook_sizes": list(self.codebooks.sizes),
            "codebook_use": self.codebooks.shares,
            "codebook_perplexity": self.codebooks.perplexities,
            "num_kept": self.num("kept"),
            "num_dropped": self.num("dropped"),
            "num_failed": self.num("failed"),
            "audio_s": self.audio_s,
            "audio_seconds_per_second": self.audio_s / spent_s if spent_s else None,
            "speaker_encoder": ENCODER_NAME,
            "tokenizer": self.tokenizer,
            "note": self.note,
            "published": [asdict(row) for row in PUBLISHED],
        }


def evaluate(
    clips: Iterable[tuple[str, Waveform]],
    tokenizer: Tokenizer,
    *,
    num_codebooks: int = 8,
    on_decoded: Callable[[str, Waveform], None] | None = None,
) -> Evaluation:
    """Encodes and decodes each `(name, waveform)` at the tokenizer's rate, and scores it.

    Clips under 0.3 s or with a peak under -60 dB of full scale are dropped. `on_decoded` gets the
    name and decoded samples of each kept clip, cut to its length. Raises `TokenizerError` for a
    number of codebooks that the tokenizer does not have; a clip it cannot take has failed.
    """
    check_num_codebooks(num_codebooks, tokenizer.num_codebooks)
    sizes = tokenizer.codebook_sizes[:num_codebooks]
    use, scorer = CodebookUse(sizes), Scorer(tokenizer.spec)
    results = []
    for name, waveform in clips:
        audio_s = waveform.shape[0] / tokenizer.sample_rate_hz
        cause = _unfit(waveform, audio_s)
        if cause:
            results.append(ClipResult(name=name, outcome="dropped", cause=cause, audio_s=audio_s))
            continue
        started = time.perf_counter()
        try:
            (codes,) = tokenizer.encode_numpy([waveform], num_codebooks)
            decoded = tokenizer.decode_numpy(codes)[: waveform.shape[0]]
            round_trip_s = time.perf_counter() - started
            _check_finite(decoded)
        except TokenizerError as error:
            results.append(
                ClipResult(name=name, outcome="failed", cause=str(error), audio_s=audio_s)
            )
            continue
        use.add(codes)
        results.append(
            ClipResult(
                name=name,
                outcome="kept",
                audio_s=audio_s,
                round_trip_s=round_trip_s,
                scores=scorer.score(waveform, decoded),
            )
        )
        if on_decoded is not None:
            on_decoded(name, decoded)
    return Evaluation(
        clips=tuple(results),
        codebooks=use,
        bitrate_kbps=bitrate_kbps(sizes, tokenizer.frame_rate_hz),
        tokenizer=tokenizer.describe(),
    )


def _unfit(waveform: Waveform, audio_s: float) -> str:
    if audio_s < MIN_S:
        return f"too short: {audio_s:.3f} s, wanted {MIN_S} s or more"
    peak = float(np.abs(waveform).max())
    if peak < SILENT_BELOW:
        return f"silent: peak {peak:.2g}, wanted {SILENT_BELOW} or more"
    return ""


def _check_finite(decoded: Waveform) -> None:
    if not np.isfinite(decoded).all():
        raise TokenizerError("decoded samples are not finite; try device cpu or another dtype")
