"""Any sample rate to the tokenizer's, by the resampler that the fingerprint names."""

from torch import Tensor

from schemas.errors import TokenizerError


def resample(waveform: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """The same sound at another rate, `ceil(samples * to_hz / from_hz)` samples.

    Windowed-sinc interpolation with torchaudio's defaults, as for the published tokenizer: squared
    cosine window six zero crossings wide, cut off at 0.99 of the lower Nyquist frequency.
    """
    for name, rate_hz in (("from_hz", from_hz), ("to_hz", to_hz)):
        if rate_hz < 1:
            raise TokenizerError(f"{name} is {rate_hz}, wanted 1 or more")
    if from_hz == to_hz:
        return waveform
    from torchaudio.functional import resample as sinc_resample

    out: Tensor = sinc_resample(waveform, from_hz, to_hz)
    return out
