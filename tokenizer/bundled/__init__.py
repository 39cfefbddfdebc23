"""The small trained tokenizer that comes with the package; README.md here is its model card."""

from pathlib import Path

import torch

from tokenizer.codec import Tokenizer
from tokenizer.options import TokenizerOptions

FOLDER = Path(__file__).parent


def bundled_tokenizer(
    device: str | torch.device = "cpu", *, options: TokenizerOptions | None = None
) -> Tokenizer:
    """24 kHz to 25 Hz x 8 codebooks and back, trained on synthetic voices."""
    return Tokenizer.from_pretrained(FOLDER, device, options=options)
