"""`audiomill tokenizer encode|decode`: files and folders to codes and back."""

import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import track
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jobs.audio_files import AudioReader
from jobs.tokenizers import check_device, check_tokenizer, open_tokenizer
from pipeline.inputs import list_inputs
from schemas.codes import Codes, Waveform
from schemas.errors import ItemError, SpecError, TokenizerError
from schemas.job import InputsSpec, TokenizeSpec
from schemas.source import Source
from schemas.tokens import FINGERPRINT_KEY, NUM_CODEBOOKS_KEY
from tokenizer.fingerprint import same_meaning
from tokenizer.intake import check_num_codebooks

if TYPE_CHECKING:
    from tokenizer import Tokenizer

SUFFIX = ".codes.safetensors"
TENSOR = "codes"
FINGERPRINT = "tokenizer"


def tokenizer_spec(model: str | None, device: str, num_codebooks: int) -> TokenizeSpec:
    """The tokenizer of a folder, or the bundled one where none is named."""
    check_device(device)
    engine = "mimo" if model else "small"
    spec = TokenizeSpec(engine=engine, model=model, device=device, num_codebooks=num_codebooks)
    check_tokenizer(spec)
    return spec


def encode(source: str, out: Path, spec: TokenizeSpec) -> tuple[int, list[str]]:
    """Writes `NAME.codes.safetensors` under `out` for every audio file; what failed is listed.

    The tensor `codes` is uint16 `[frames, codebooks]`; the metadata hold the tokenizer's
    fingerprint. The audio is decoded and resampled to the tokenizer's rate, and nothing else.
    """
    listing = list_inputs(InputsSpec(uri=source), "AUDIO")
    names = unique_names(listing.sources, source)
    tokenizer = open_tokenizer(spec)
    check_num_codebooks(spec.num_codebooks, tokenizer.num_codebooks)
    reader = AudioReader(tokenizer.sample_rate_hz)
    failed: list[str] = []
    batch: dict[str, Waveform] = {}

    def finish() -> None:
        for uri, codes in _encoded(tokenizer, batch, spec.num_codebooks, failed):
            target = out / (names[uri] + SUFFIX)
            target.parent.mkdir(parents=True, exist_ok=True)
            save_file({TENSOR: codes}, target, {FINGERPRINT: tokenizer.fingerprint()})
        batch.clear()

    for item in track(listing.sources, description="encoding"):
        try:
            batch[item.uri] = reader.read(item)
        except ItemError as error:
            failed.append(f"{item.uri}: {error}")
        samples = sum(waveform.size for waveform in batch.values())
        if samples >= spec.batch_frames * tokenizer.spec.samples_per_frame:
            finish()
    finish()
    return len(listing.sources) - len(failed), failed


def decode(source: str, out: Path, spec: TokenizeSpec) -> list[Path]:
    """Writes WAV files for a codes file, a folder of them, or `SHARD:ROW`; returns their paths.

    Codes of another tokenizer are refused: they would decode to noise.
    """
    found = list(_codes_of(source))
    if out.suffix.lower() == ".wav" and len(found) > 1:
        raise SpecError(
            f"{str(out)!r} is one WAV file, and {source!r} holds {len(found)} files of codes; "
            "name a folder"
        )
    tokenizer = open_tokenizer(spec)
    written = []
    for name, codes, fingerprint in track(found, description="decoding"):
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


def _encoded(
    tokenizer: "Tokenizer", batch: dict[str, Waveform], num_codebooks: int, failed: list[str]
) -> Iterator[tuple[str, Codes]]:
    """The codes of a batch; if something in it is refused, one by one, and `failed` names it."""
    try:
        yield from zip(
            batch, tokenizer.encode_numpy(list(batch.values()), num_codebooks), strict=True
        )
    except TokenizerError as error:
        if len(batch) == 1:
            failed.append(f"{next(iter(batch))}: {error}")
            return
        for uri, waveform in batch.items():
            yield from _encoded(tokenizer, {uri: waveform}, num_codebooks, failed)


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
    except (OSError, pa.ArrowInvalid) as error:
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
    for file in files:
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
    if not same_meaning(fingerprint, tokenizer.fingerprint()):
        raise TokenizerError(
            f"{name}: its codes were made by another tokenizer ({fingerprint or 'unnamed'}) than "
            f"the one opened ({tokenizer.fingerprint()}); name the right one with --model"
        )


def unique_names(sources: Sequence[Source], asked: str) -> dict[str, str]:
    """Each input's name in the output; raises `SpecError` where two would have the same."""
    names: dict[str, str] = {}
    owners: dict[str, str] = {}
    for source in sources:
        name = relative_name(source.uri, asked)
        if name in owners:
            raise SpecError(
                f"{owners[name]!r} and {source.uri!r} would both be written as {name!r}; name "
                "their common folder instead of a pattern"
            )
        owners[name] = source.uri
        names[source.uri] = name
    return names


def relative_name(uri: str, source: str) -> str:
    """An input's path under the folder that was asked for, or its file name."""
    path, root = Path(uri).resolve(), Path(source).resolve()
    return path.relative_to(root).as_posix() if root in path.parents else path.name
