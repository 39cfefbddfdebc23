"""Waveforms to codes and back: 24 kHz to 25 frames a second of residual codebooks."""

from tokenizer.bundled import bundled_tokenizer
from tokenizer.codec import Tokenizer
from tokenizer.options import TokenizerOptions
from tokenizer.small import small_tokenizer

__all__ = ["Tokenizer", "TokenizerOptions", "bundled_tokenizer", "small_tokenizer"]
