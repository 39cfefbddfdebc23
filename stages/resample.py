"""Windowed-sinc resampling, the same kernel for every stage and for the tokenizer's input."""

import numpy as np

from schemas.codes import Waveform


def resample(samples: Waveform, from_hz: int, to_hz: int) -> Waveform:
    """`ceil(num_samples * to_hz / from_hz)` samples; torchaudio's default Hann-windowed sinc.

    The defaults (filter width 6, roll-off 0.99) are those that MiMo-Audio's tokenizer was fed with.
    """
    if from_hz == to_hz:
        return samples.copy()
    import torch
    from torchaudio.functional import resample as torch_resample

    with torch.inference_mode():
        # A copy, because torch must not be handed read-only memory.
        resampled = torch_resample(torch.from_numpy(samples.copy()), from_hz, to_hz)
    return np.ascontiguousarray(resampled.numpy())
