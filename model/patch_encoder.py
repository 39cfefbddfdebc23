"""A group of audio frames to one vector for the backbone, seen as frames of code embeddings."""

# Shapes: N patches, G frames of a group, C channels, D width of the patch encoder.

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.backbone import Transformer


def embed_codes(tables: nn.ModuleList, codes_NGC: Tensor, empty_codes: Sequence[int]) -> Tensor:
    """Sum over channels of the codes' embeddings, `[N, G, D]`; an empty code adds nothing.

    The stored row of an empty code need not be zero, so it is masked. The sum is in the dtype of
    the tables, in the order of the channels.
    """
    total: Tensor | None = None
    for channel, (table, empty) in enumerate(zip(tables, empty_codes, strict=True)):
        codes_NG = codes_NGC[..., channel]
        embedded = table(codes_NG).masked_fill((codes_NG == empty).unsqueeze(-1), 0.0)
        total = embedded if total is None else total + embedded
    if total is None:
        raise ValueError("no channels")
    return total


class PatchEncoder(Transformer):
    """Each patch by itself at positions 0..G-1; bidirectional in the published model."""

    def encode(
        self, frames_NGD: Tensor, is_audio_N: Tensor | None = None, *, generating: bool = False
    ) -> Tensor:
        """The frames' vectors side by side, `[N, G*D]`; zero where a position is text."""
        if is_audio_N is None:
            encoded: Tensor = self(frames_NGD, generating=generating)
            return encoded.flatten(1)
        mask_N11 = is_audio_N[:, None, None]
        encoded_NGD = self(torch.where(mask_N11, frames_NGD, 0.0))
        return torch.where(mask_N11, encoded_NGD, 0.0).flatten(1)
