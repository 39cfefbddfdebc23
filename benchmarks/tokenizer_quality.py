"""How much of speech does the bundled tokenizer keep, on speech it was not trained on?

The English and Chinese utterances of `../shared/audio` go through encoder, 8 codebooks and decoder,
one by one, and are scored against themselves: PESQ, STOI, speaker similarity, mel distance; and how
much of each codebook they use. The anchor in the same run is what a telephone line makes of the
same clips (8 kHz, 8-bit mu-law, 64 kbit/s). Published rows come along for comparison; they were
measured on other clips. Clips too short or silent are dropped and named.

    python -m benchmarks.tokenizer_quality --json [--model FOLDER | --model small]
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from scipy.signal import resample_poly

from benchmarks.machine import ROOT, machine
from jobs.audio_files import AudioReader
from pipeline.inputs import list_inputs
from schemas.codes import Waveform
from schemas.job import InputsSpec
from tokenizer import Tokenizer, bundled_tokenizer, small_tokenizer
from tokenizer.evaluation import METRICS, ClipResult, Scorer, Scores, evaluate

AUDIO = ROOT.parent / "shared" / "audio"
LANGUAGES = {"en": "speech-en/", "zh": "speech-zh/"}
MU = 255.0


def measure(tokenizer: Tokenizer) -> dict[str, Any]:
    """All figures of one tokenizer and of the anchor."""
    clips = read_clips(tokenizer.sample_rate_hz)
    warm_up(tokenizer)
    found = evaluate(clips.items(), tokenizer)
    figures = found.summary() | {"num_utterances": found.num("kept")}
    kept = [clip for clip in found.clips if clip.outcome == "kept"]
    figures["by_language"] = {
        language: {
            metric: mean([clip.scores for clip in kept if clip.name.startswith(prefix)], metric)
            for metric in METRICS
        }
        for language, prefix in LANGUAGES.items()
    }
    figures["left_out"] = {clip.name: clip.cause for clip in found.clips if clip.outcome != "kept"}
    return figures | {"telephone_8khz_mu_law": measure_anchor(clips, kept, tokenizer)}


def measure_anchor(
    clips: dict[str, Waveform], kept: Sequence[ClipResult], tokenizer: Tokenizer
) -> dict[str, Any]:
    """The same metrics for the same clips over a telephone line."""
    scorer, rate_hz = Scorer(tokenizer.spec), tokenizer.sample_rate_hz
    scores = [scorer.score(clips[clip.name], telephone(clips[clip.name], rate_hz)) for clip in kept]
    return {metric: mean(scores, metric) for metric in METRICS} | {"bitrate_kbps": 64.0}


def telephone(samples: Waveform, rate_hz: int) -> Waveform:
    """Down to 8 kHz, through 8-bit mu-law (the curve of ITU-T G.711 without its segments), back."""
    narrow = np.clip(resample_poly(samples, 8_000, rate_hz), -1, 1)
    curved = np.sign(narrow) * np.log1p(MU * np.abs(narrow)) / np.log1p(MU)
    coded = np.clip(np.round(curved * 128), -128, 127) / 128
    decoded = np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(MU)) / MU
    wide: Waveform = resample_poly(decoded, rate_hz, 8_000).astype(np.float32)
    return wide[: samples.shape[0]]


def read_clips(rate_hz: int) -> dict[str, Waveform]:
    """Utterances by their path in the manifest."""
    manifest = AUDIO / "manifest.csv"
    with manifest.open(encoding="utf-8", newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    reader, prefixes = AudioReader(rate_hz), tuple(LANGUAGES.values())
    clips = {}
    for path in paths:
        if path.startswith(prefixes):
            (source,) = list_inputs(InputsSpec(uri=str(AUDIO / path))).sources
            clips[path] = reader.read(source)
    return clips


def warm_up(tokenizer: Tokenizer) -> None:
    """The first call tries out products; that is not a clip's time."""
    tokenizer.decode(tokenizer.encode([torch.zeros(tokenizer.sample_rate_hz)]))


def mean(scores: Sequence[Scores | None], metric: str) -> float | None:
    found = [getattr(score, metric) for score in scores if score is not None]
    defined = [value for value in found if value is not None]
    return fmean(defined) if defined else None


def open_model(model: str | None) -> Tokenizer:
    if model == "small":
        return small_tokenizer()
    if model:
        return Tokenizer.from_pretrained(Path(model))
    return bundled_tokenizer()


def rounded(value: Any) -> Any:
    """Four digits behind the point, all the way down."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON line last")
    parser.add_argument("--model", help="folder of a checkpoint, or 'small'; default: bundled")
    arguments = parser.parse_args(argv)
    report = {"benchmark": "tokenizer_quality", **rounded(measure(open_model(arguments.model)))}
    report |= {"threads": torch.get_num_threads(), **machine()}
    if not arguments.json:
        for key, value in report.items():
            print(f"{key:28} {value}")
    print(json.dumps(report, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
