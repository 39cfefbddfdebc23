"""Encoder and decoder under the names of the published checkpoint."""

import torch
from torch import nn

from tokenizer.attention import Rope
from tokenizer.codebook import Codebook
from tokenizer.decoder import Decoder
from tokenizer.encoder import Encoder
from tokenizer.options import TokenizerOptions
from tokenizer.spec import TokenizerSpec
from tokenizer.vocoder import InverseStft


class TokenizerModel(nn.Module):
    """All parameters and buffers. `state_dict()` has the published keys and no others.

    Making one is cheap at any size: parameters are memory that nobody has written to.
    """

    def __init__(self, spec: TokenizerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = Encoder(spec)
        self.decoder = Decoder(spec)

    @classmethod
    def without_storage(cls, spec: TokenizerSpec) -> "TokenizerModel":
        """Names, shapes and counts of any size of model, on the meta device."""
        with torch.device("meta"):
            return cls(spec)

    def float32_names(self) -> frozenset[str]:
        """Entries of the state dict that stay float32 in any dtype."""
        return frozenset(
            f"{path}.{name}"
            for path, module in self.named_modules()
            if isinstance(module, Codebook | InverseStft)
            for name, _ in module.named_buffers(recurse=False)
        )

    def apply_rounding(self, options: TokenizerOptions) -> None:
        """Take over the roundings of `options`; the tables are changed for good."""
        for part, stack in (
            (self.encoder, self.spec.encoder),
            (self.decoder, self.spec.decoder),
            (self.decoder.vocoder, self.spec.vocoder),
        ):
            part.rope = Rope(
                stack.head_width, self.spec.rope_theta, round_to_bfloat16=options.round_rope
            )
        if options.round_tables:
            for module in self.modules():
                if isinstance(module, Codebook):
                    module.embed.copy_(module.embed.to(torch.bfloat16))
                elif isinstance(module, InverseStft):
                    module.window.copy_(module.window.to(torch.bfloat16))
