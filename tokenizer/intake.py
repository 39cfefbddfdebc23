"""What may enter the tokenizer: each check names the value found and the range wanted."""

from collections.abc import Sequence

import torch
from torch import Tensor

from schemas.errors import TokenizerError
from tokenizer.spec import TokenizerSpec


def check_waveform(waveform: object, index: int, spec: TokenizerSpec) -> Tensor:
    """The waveform as float32 on its own device, unchanged otherwise."""
    where = f"waveform {index}"
    if not isinstance(waveform, Tensor):
        raise TokenizerError(f"{where} is a {type(waveform).__name__}, wanted a 1-D float tensor")
    if not waveform.is_floating_point():
        raise TokenizerError(
            f"{where} has dtype {waveform.dtype}, wanted float32 in [-1, 1]; "
            f"divide 16-bit samples by 32768"
        )
    if waveform.ndim != 1:
        raise TokenizerError(
            f"{where} has shape {list(waveform.shape)}, wanted [samples]; "
            f"take the mean over channels first"
        )
    if waveform.shape[0] < spec.min_samples:
        raise TokenizerError(
            f"{where} has {waveform.shape[0]} samples, wanted {spec.min_samples} or more "
            f"({1000 * spec.min_samples / spec.sample_rate_hz:g} ms); "
            f"pad it with silence if it is wanted"
        )
    waveform = waveform.to(torch.float32)
    # One infinity or NaN makes the sum one; a look at every sample is needed only then.
    if not bool(torch.isfinite(waveform.sum())):
        finite = torch.isfinite(waveform)
        if bool(finite.all()):
            return waveform
        first = int((~finite).int().argmax())
        raise TokenizerError(
            f"{where} has {waveform[first].item()} at sample {first} "
            f"({int((~finite).sum())} in all), wanted finite samples"
        )
    return waveform


def check_rate(sample_rate_hz: int | None, wanted_hz: int) -> None:
    if sample_rate_hz is not None and sample_rate_hz != wanted_hz:
        raise TokenizerError(
            f"the sample rate is {sample_rate_hz} Hz, wanted {wanted_hz} Hz; "
            f"tokenizer.resample.resample converts"
        )


def check_num_codebooks(num_codebooks: int, available: int) -> None:
    if isinstance(num_codebooks, bool) or not isinstance(num_codebooks, int):
        raise TokenizerError(f"num_codebooks is {num_codebooks!r}, wanted an integer")
    if not 1 <= num_codebooks <= available:
        raise TokenizerError(f"num_codebooks is {num_codebooks}, wanted 1..{available}")


def check_codes(codes: object, sizes: Sequence[int], where: str) -> Tensor:
    """The codes as int64, each known to be inside its codebook."""
    if not isinstance(codes, Tensor):
        raise TokenizerError(
            f"{where} is a {type(codes).__name__}, wanted an integer tensor [frames, codebooks]"
        )
    if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
        raise TokenizerError(f"{where} has dtype {codes.dtype}, wanted an integer dtype")
    if codes.ndim != 2 or codes.shape[0] == 0 or not 1 <= codes.shape[1] <= len(sizes):
        raise TokenizerError(
            f"{where} has shape {list(codes.shape)}, "
            f"wanted [frames, codebooks] with 1 or more frames and 1..{len(sizes)} codebooks"
        )
    codes = codes.to("cpu", torch.int64)
    limits = torch.tensor(sizes[: codes.shape[1]])
    outside = (codes < 0) | (codes >= limits)
    if bool(outside.any()):
        frame, book = (int(place) for place in outside.nonzero()[0])
        raise TokenizerError(
            f"{where} has code {int(codes[frame, book])} at frame {frame} of codebook {book}, "
            f"wanted 0..{sizes[book] - 1}"
        )
    return codes
