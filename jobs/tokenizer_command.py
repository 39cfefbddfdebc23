"""`audiomill tokenizer encode|decode`: files and folders to codes and back."""

import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
from rich.progress import track
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jobs.audio_files import AudioReader
from jobs.tokenizers import check_tokenizer, open_tokenizer
from pipeline.inputs import list_inputs
from schemas.codes import Codes, Waveform
from schemas.errors import ItemError, SpecError, TokenizerError
from schemas.job import InputsSpec, TokenizeSpec
from schemas.tokens import FINGERPRINT_KEY, NUM_CODEBOOKS_KEY

if TYPE_CHECKING:
    from tokenizer import Tokenizer

SUFFIX = ".codes.safetensors"
TENSOR = "codes"
FINGERPRINT = "tokenizer"


def tokenizer_spec(model: str | None, device: str, num_codebooks: int) -> TokenizeSpec:
    """The tokenizer of a folder, or the small untrained one where none is named."""
    engine = "mimo" if model else "small"
    spec = TokenizeSpec(engine=engine, model=model, device=device, num_codebooks=num_codebooks)
    check_tokenizer(spec)
    return spec


def encode(source: str, out: Path, spec: TokenizeSpec) -> tuple[int, list[str]]:
    """Writes `NAME.codes.safetensors` under `out` for every audio file; what failed is listed.

    The tensor `codes` is uint16 `[frames, codebooks]`; the metadata hold the tokenizer's
    fingerprint. The audio is decoded and resampled to the tokenizer's rate, and nothing else.
    """
    listing = list_inputs(InputsSpec(uri=source))
    tokenizer = open_tokenizer(spec)
    reader = AudioReader(tokenizer.sample_rate_hz)
    failed = []
    for item in track(listing.sources, description="encoding"):
        try:
            (codes,) = tokenizer.encode_numpy([reader.read(item)], spec.num_codebooks)
        except (ItemError, TokenizerError) as error:
            failed.append(f"{item.uri}: {error}")
            continue
        target = out / (relative_name(item.uri, source) + SUFFIX)
        target.parent.mkdir(parents=True, exist_ok=True)
        save_file({TENSOR: codes}, target, {FINGERPRINT: tokenizer.fingerprint()})
    return len(listing.sources) - len(failed), failed


def decode(source: str, out: Path, spec: TokenizeSpec) -> list[Path]:
    """Writes WAV files for a codes file, a folder of them, or `SHARD:ROW`; returns their paths.

    Codes of another tokenizer are refused: they would decode to noise.
    """
    tokenizer = open_tokenizer(spec)
    written = []
    for name, codes, fingerprint in _codes_of(source):
        _check_fingerprint(name, fingerprint, tokenizer)
        target = out if out.suffix.lower() == ".wav" else out / f"{name}.wav"
        write_wav(target, tokenizer.decode_numpy(codes), tokenizer.sample_rate_hz)
        written.append(target)
    return written


def write_wav(path: Path, waveform: Waveform, rate_hz: int) -> None:
    """Mono 16-bit WAV; samples beyond full scale are clipped."""
    pcm = (np.clip(waveform, -1.0, 1.0) * 32767).astype("<i2")
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm.tobytes())


def read_shard_row(path: Path, row: int) -> tuple[Codes, str]:
    """Codes `[frames, codebooks]` of a row and the file's fingerprint; reads one row group."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as shard:
            metadata = shard.schema_arrow.metadata or {}
            if FINGERPRINT_KEY not in metadata:
                raise TokenizerError(f"{path} is no token shard: it names no tokenizer")
            if not 0 <= row < shard.metadata.num_rows:
                raise TokenizerError(
                    f"{path} has rows 0 to {shard.metadata.num_rows - 1}, found row {row}"
                )
            layers = [f"q{layer}" for layer in range(int(metadata[NUM_CODEBOOKS_KEY]))]
            first = 0
            for group in range(shard.num_row_groups):
                size = shard.metadata.row_group(group).num_rows
                if row < first + size:
                    found = shard.read_row_group(group, columns=layers).slice(row - first, 1)
                    columns = [found[layer][0].values.to_numpy() for layer in layers]
                    return np.stack(columns, axis=1), metadata[FINGERPRINT_KEY].decode()
                first += size
    except OSError as error:
        raise TokenizerError(f"{path} cannot be read as a token shard: {error}") from error
    raise TokenizerError(f"{path}: row {row} is in no row group")


def _codes_of(source: str) -> Iterator[tuple[str, Codes, str]]:
    path, colon, row = source.rpartition(":")
    if colon and row.isdigit() and path.endswith(".parquet"):
        codes, fingerprint = read_shard_row(Path(path), int(row))
        yield f"{Path(path).stem}-{row}", codes, fingerprint
        return
    root = Path(source)
    files: Sequence[Path] = sorted(root.rglob(f"*{SUFFIX}")) if root.is_dir() else [root]
    if not files:
        raise SpecError(f"{source!r} holds no *{SUFFIX}; make some with 'tokenizer encode'")
    for file in track(files, description="decoding") if len(files) > 1 else files:
        name = file.relative_to(root).as_posix() if root.is_dir() else file.name
        yield name.removesuffix(SUFFIX), *_read_codes(file)


def _read_codes(path: Path) -> tuple[Codes, str]:
    try:
        with safe_open(path, framework="numpy") as file:
            fingerprint = (file.metadata() or {}).get(FINGERPRINT, "")
            codes: Codes = file.get_tensor(TENSOR)
    except (SafetensorError, OSError) as error:
        raise TokenizerError(
            f"{str(path)!r} is no codes file ({error}); wanted NAME{SUFFIX}, a folder of them, "
            "or SHARD.parquet:ROW"
        ) from error
    return codes, fingerprint


def _check_fingerprint(name: str, fingerprint: str, tokenizer: "Tokenizer") -> None:
    if fingerprint != tokenizer.fingerprint():
        raise TokenizerError(
            f"{name}: its codes were made by another tokenizer ({fingerprint or 'unnamed'}) than "
            f"the one opened ({tokenizer.fingerprint()}); name the right one with --model"
        )


def relative_name(uri: str, source: str) -> str:
    """An input's path under the folder that was asked for, or its file name."""
    path, root = Path(uri).resolve(), Path(source).resolve()
    return path.relative_to(root).as_posix() if root in path.parents else path.name
