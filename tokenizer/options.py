"""Choices beside the weights that change codes or samples; all of them are recorded."""

from dataclasses import dataclass

from schemas.errors import TokenizerError

RELEASED_SEGMENT_HOPS = 6000
"""60 s. The published evaluation and fine-tuning tools cut at 3000."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerOptions:
    """What a run of the tokenizer is, apart from the checkpoint."""

    segment_hops: int = RELEASED_SEGMENT_HOPS
    """The mel of a longer clip is cut here, each part encoded by itself; decoding cuts alike."""
    reference_padding: bool = False
    """Encode the segments of a clip as one zero-padded batch, as the published tool does: the last
    frames of its last segment then depend on the padding."""
    round_rope: bool = False
    """Round rotary frequencies to bfloat16, as happens when the published model is cast whole."""
    round_tables: bool = False
    """Round codebooks and the vocoder's window to bfloat16, which happens by the same cast."""

    def __post_init__(self) -> None:
        if self.segment_hops < 1:
            raise TokenizerError(f"segment_hops is {self.segment_hops}, wanted 1 or more")
