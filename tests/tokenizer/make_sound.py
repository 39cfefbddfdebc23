"""Seeded sounds for the tests of this folder."""

import numpy as np
import torch
from torch import Tensor


def make_sound(num_samples: int, seed: int = 0, level: float = 0.1) -> Tensor:
    """Noise under a slow envelope with a tone in it, float32."""
    random = np.random.default_rng(seed)
    time_s = np.arange(num_samples) / 24_000
    tone = np.sin(2 * np.pi * random.uniform(100, 2000) * time_s)
    envelope = 1.0 + np.sin(2 * np.pi * random.uniform(0.5, 4.0) * time_s)
    sound = level * envelope * (tone + 0.3 * random.standard_normal(num_samples))
    return torch.from_numpy(sound.astype(np.float32))
