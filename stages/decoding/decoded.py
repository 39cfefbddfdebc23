"""A file's samples at one rate, judged: what is missing, wrong or changed is spelled out."""

from dataclasses import dataclass, field

import numpy as np

from schemas.codes import Waveform
from schemas.errors import ItemError
from stages.decoding.contents import Contents
from stages.resample_blocks import resample_in_blocks


@dataclass
class Decoded:
    """What came out of a file. `samples` are mono, shape `[num_samples]`, at `sample_rate_hz`."""

    samples: Waveform
    sample_rate_hz: int
    channels: int
    container: str
    codec: str
    claimed_s: float | None
    downmix: str
    num_errors: int = 0
    damage: dict[str, str] = field(default_factory=dict)
    """Error class to a sentence with the figures."""

    @property
    def decoded_s(self) -> float:
        return self.samples.shape[0] / self.sample_rate_hz


def judged(contents: Contents, samples: Waveform, name: str) -> Decoded:
    """Stretches joined at the rate of the longest, and the damage spelled out.

    `samples` are those of all stretches, one behind the other. Raises `ItemError` where there is
    none, or none that is a number.
    """
    if not contents.stretches:
        promised = (
            f"its header promises {contents.claimed_s:.2f} s, so it was cut off (copy it again "
            "from its source) or is encrypted"
            if contents.claimed_s
            else "it holds none, or is encrypted"
        )
        raise ItemError(
            "DECODED_EMPTY",
            f"{name} ({contents.container}, {contents.codec}) gave no samples and "
            f"{contents.num_errors} decoder errors; {promised}",
        )
    longest = max(contents.stretches, key=lambda stretch: stretch.seconds)
    decoded = Decoded(
        samples=_joined(contents, samples, longest.sample_rate_hz),
        sample_rate_hz=longest.sample_rate_hz,
        channels=longest.channels,
        container=contents.container,
        codec=contents.codec,
        claimed_s=contents.claimed_s,
        downmix=longest.downmix,
        num_errors=contents.num_errors,
    )
    if sum(stretch.num_lost for stretch in contents.stretches) >= contents.num_samples:
        raise ItemError("NONFINITE", f"{name}: all {contents.num_samples} samples are NaN or inf")
    _spell_out_length(decoded, contents, name)
    _spell_out_content(decoded, contents, name)
    return decoded


def _joined(contents: Contents, samples: Waveform, rate_hz: int) -> Waveform:
    if len(contents.stretches) == 1:
        return samples
    pieces, start = [], 0
    for stretch in contents.stretches:
        piece = samples[start : start + stretch.num_samples]
        start += stretch.num_samples
        if stretch.sample_rate_hz != rate_hz:
            piece = resample_in_blocks(piece, stretch.sample_rate_hz, rate_hz)
        pieces.append(piece)
    return np.concatenate(pieces)


def _spell_out_length(decoded: Decoded, contents: Contents, name: str) -> None:
    found_s = decoded.decoded_s
    if contents.claimed_s is not None:
        missing_s = contents.claimed_s - found_s
        sentence = (
            f"{name}: {found_s:.2f} s decoded; its header promises {contents.claimed_s:.2f} s"
        )
        if missing_s > contents.tolerance_s:
            decoded.damage["TRUNCATED"] = f"{sentence}; copy it again from its source"
        elif -missing_s > contents.tolerance_s:
            decoded.damage["DURATION_MISMATCH"] = f"{sentence}; the header is wrong"
    if contents.bytes_of_other_audio:
        decoded.damage.setdefault(
            "DURATION_MISMATCH",
            f"{name}: {found_s:.2f} s decoded; behind its end stands another audio file of "
            f"{contents.bytes_of_other_audio} bytes, which was not read; split it in two",
        )
    if contents.bytes_of_no_chunk:
        decoded.damage.setdefault(
            "DURATION_MISMATCH",
            f"{name}: {found_s:.2f} s decoded, which is all that its header states; the "
            f"{contents.bytes_of_no_chunk} bytes behind belong to no chunk and were not read; if "
            "they are samples, mend the length in its header",
        )
    if contents.ends_inside_page and "TRUNCATED" not in decoded.damage:
        decoded.damage["TRUNCATED"] = (
            f"{name}: {found_s:.2f} s decoded; wanted a whole last Ogg page, but the file "
            "stops inside of it; copy it again from its source"
        )


def _spell_out_content(decoded: Decoded, contents: Contents, name: str) -> None:
    stretches = contents.stretches
    if len(stretches) > 1:
        kinds = " then ".join(f"{s.sample_rate_hz} Hz x {s.channels}" for s in stretches[:4])
        decoded.damage["FORMAT_CHANGE"] = f"{name} changes its format: {kinds}; wanted one"
    num_nonfinite = sum(stretch.num_nonfinite for stretch in stretches)
    if num_nonfinite:
        decoded.damage["NONFINITE"] = (
            f"{name}: {num_nonfinite} of {contents.num_samples} samples were NaN, infinite or "
            "absurdly large and are 0 now"
        )
    if contents.num_errors:
        decoded.damage["DECODE_ERROR"] = (
            f"{name}: {contents.num_errors} packets could not be decoded, "
            f"{decoded.decoded_s:.2f} s could"
        )
