"""Random prompts in the model's layout."""

import torch
from torch import Tensor

from model import ModelSpec, SpecialTokens


def make_ids(
    spec: ModelSpec, special_tokens: SpecialTokens, num_groups: int, seed: int = 0
) -> Tensor:
    """`[1 + C, num_groups * G]`: text and audio positions in random order, fillers where unread."""
    random = torch.Generator().manual_seed(seed)
    size = spec.group_size
    is_audio = torch.rand(num_groups, generator=random) < 0.6
    text = torch.randint(0, 256, (num_groups,), generator=random)
    ids = torch.full((1 + spec.num_channels, num_groups * size), -100)
    ids[0, ::size] = torch.where(is_audio, special_tokens.empty, text)
    for channel, empty in enumerate(spec.empty_codes):
        codes = torch.randint(0, empty, (num_groups * size,), generator=random)
        ids[1 + channel] = torch.where(is_audio.repeat_interleave(size), codes, empty)
    return ids
