"""`audiomill tokenizer eval`: how good a tokenizer's round trip is on a folder of audio."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import track
from rich.table import Table

from jobs.audio_files import AudioReader
from jobs.tokenizer_command import relative_name, write_wav
from jobs.tokenizers import open_tokenizer
from pipeline.inputs import list_inputs
from schemas.codes import Waveform
from schemas.errors import ItemError
from schemas.job import InputsSpec, TokenizeSpec

if TYPE_CHECKING:
    from tokenizer.evaluation import ClipResult, Evaluation

SCORES_SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("outcome", pa.string()),
        ("cause", pa.string()),
        ("audio_s", pa.float64()),
        ("round_trip_s", pa.float64()),
        ("pesq_wb", pa.float64()),
        ("pesq_nb", pa.float64()),
        ("stoi", pa.float64()),
        ("speaker_similarity", pa.float64()),
        ("mel_distance", pa.float64()),
        ("notes", pa.list_(pa.string())),
    ]
)
"""One row per file; `outcome` is kept, dropped or failed, `cause` says why it was not kept."""


def evaluate(
    source: str, out: Path, spec: TokenizeSpec, *, keep_audio: bool = False
) -> "Evaluation":
    """Scores every audio file and writes `scores.json` (means) and `scores.parquet` under `out`.

    With `keep_audio`, what was decoded goes to `out/audio/NAME.wav`. A file that cannot be read is
    failed with its cause and the rest goes on; raises `SpecError` where there is no file.
    """
    from tokenizer.evaluation import ClipResult
    from tokenizer.evaluation import evaluate as evaluate_clips

    listing = list_inputs(InputsSpec(uri=source), "AUDIO")
    tokenizer = open_tokenizer(spec)
    reader = AudioReader(tokenizer.sample_rate_hz)
    unread: list[ClipResult] = []

    def clips() -> Iterator[tuple[str, Waveform]]:
        for item in track(listing.sources, description="evaluating"):
            try:
                waveform = reader.read(item)
            except ItemError as error:
                unread.append(ClipResult(name=item.uri, outcome="failed", cause=str(error)))
                continue
            yield item.uri, waveform

    def keep(uri: str, decoded: Waveform) -> None:
        target = out / "audio" / (relative_name(uri, source) + ".wav")
        write_wav(target, decoded, tokenizer.sample_rate_hz)

    found = evaluate_clips(
        clips(),
        tokenizer,
        num_codebooks=spec.num_codebooks,
        on_decoded=keep if keep_audio else None,
    )
    in_order = sorted([*found.clips, *unread], key=lambda clip: clip.name)
    found = replace(found, clips=tuple(in_order))
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found.summary(), indent=2, ensure_ascii=False)
    (out / "scores.json").write_text(text + "\n", encoding="utf-8")
    rows = [_row(clip) for clip in found.clips]
    pq.write_table(pa.Table.from_pylist(rows, SCORES_SCHEMA), out / "scores.parquet")
    return found


def scores_table(found: "Evaluation") -> Table:
    """The means, beside the published rows."""
    from tokenizer.evaluation import ENCODER_NAME, PUBLISHED

    table = Table(
        title=f"{found.num('kept')} clips, {found.audio_s:.1f} s",
        caption=f"published: two rows of the report's, on other clips; speaker: {ENCODER_NAME}",
    )
    table.add_column("tokenizer")
    for heading in ("kbit/s", "PESQ-WB", "PESQ-NB", "STOI", "speaker", "mel distance"):
        table.add_column(heading, justify="right")
    figures = [
        found.mean(metric)
        for metric in ("pesq_wb", "pesq_nb", "stoi", "speaker_similarity", "mel_distance")
    ]
    name = "this one" if found.tokenizer["trained"] else "this one, untrained"
    table.add_row(name, _shown(found.bitrate_kbps), *map(_shown, figures))
    for row in PUBLISHED:
        shown = (_shown(row.bitrate_kbps), _shown(row.pesq_wb), "", _shown(row.stoi), "", "")
        table.add_row(f"{row.name} (published)", *shown)
    return table


def codebooks_table(found: "Evaluation") -> Table:
    """Of each codebook: its size, share of entries used, perplexity."""
    table = Table(title="codebooks")
    for heading in ("layer", "entries", "used", "perplexity"):
        table.add_column(heading, justify="right")
    books = found.codebooks
    columns = (books.sizes, books.shares, books.perplexities)
    for layer, (size, share, perplexity) in enumerate(zip(*columns, strict=True)):
        table.add_row(str(layer), str(size), f"{share:.1%}", f"{perplexity:.1f}")
    return table


def _row(clip: "ClipResult") -> dict[str, object]:
    scores = asdict(clip.scores) if clip.scores else {"notes": ()}
    return {
        "uri": clip.name,
        "outcome": clip.outcome,
        "cause": clip.cause or None,
        "audio_s": clip.audio_s,
        "round_trip_s": clip.round_trip_s,
        **scores,
    }


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
